# NODE: writes standard input down as the reservation of a node, unless there is
# one, and prints the one that there is.
set -eu
cd
umask 022
dir=.erl-deploy/reservations
mkdir -p "$dir"
cat >"$dir/.$1.$$"
ln "$dir/.$1.$$" "$dir/$1" 2>/dev/null || :
rm -f "$dir/.$1.$$"
printf '\036erl-deploy\036\n'
cat "$dir/$1"
