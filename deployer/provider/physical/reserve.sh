# NODE: writes standard input down as the reservation of a node, unless there is
# one, and prints the one that there is.
set -eu
cd
umask 022
dir=.erl-deploy/reservations
text=$(cat)
# The last other node may go just now, and the folder with it.
tries=0
until mkdir -p "$dir" && printf '%s\n' "$text" 2>/dev/null >"$dir/.$1.$$"; do
  tries=$((tries + 1))
  [ "$tries" -lt 10 ] || exit 1
done
ln "$dir/.$1.$$" "$dir/$1" 2>/dev/null || :
rm -f "$dir/.$1.$$"
printf '\036erl-deploy\036\n'
cat "$dir/$1"
