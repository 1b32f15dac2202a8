# [NODE]: prints all reservations, or that of one node.
set -eu
cd
printf '\036erl-deploy\036\n'
for file in .erl-deploy/reservations/${1:-*}; do
  [ ! -f "$file" ] || cat "$file"
done
