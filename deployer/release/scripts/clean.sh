# NODE: removes a node's files, archives that no node needs, and with the last
# node everything.
remove() { [ ! -e "$1" ] || { chmod -R u+rwX "$1"; rm -rf "$1"; }; }
[ ! -h "$1" ] || rm -f "$1"
rm -f "$1.new"
remove "$base/nodes/$1"
[ -d "$base" ] || exit 0
# A node that is expected here and has nothing installed yet may just be having
# its archive uploaded.
expected=
for file in "$base"/reservations/*; do
  other=${file##*/}
  [ "$other" = '*' ] || [ "$other" = "$1" ] || [ -h "$base/nodes/$other/current" ] || expected=$other
done
if [ -z "$expected" ]; then
  for file in "$base"/archives/*; do
    digest=${file##*/}
    digest=${digest%%.*}
    set -- "$base"/nodes/*/releases/"$digest"
    [ -e "$1" ] || rm -f "$file"
  done
fi
rmdir "$base/archives" "$base/nodes" "$base" 2>/dev/null || :
