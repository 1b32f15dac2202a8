# NODE DIGEST: unpacks the archive for the node and makes it the current one.
# Standard input is a description for people.
node=$base/nodes/$1 release=$base/nodes/$1/releases/$2 archive=$base/archives/$2.tar.gz
mkdir -p "$node/releases" "$node/home" "$node/runs"
chmod 700 "$node/home" "$node/runs"
cat >"$node/node.json.new"
mv "$node/node.json.new" "$node/node.json"
remove() { [ ! -e "$1" ] || { chmod -R u+rwX "$1"; rm -rf "$1"; }; }
if [ ! -d "$release" ]; then
  [ -f "$archive" ] || later "the archive $2 is not on the host"
  remove "$release.new"
  mkdir "$release.new"
  # Not every tar says why it could not write.
  tar -xzof "$archive" -C "$release.new" || {
    status=$? free=$(df -Pk "$base" | { read -r _; read -r _ _ _ free _; printf '%s\n' "$free"; })
    [ "$free" -ge 1024 ] || never "the disk is full"
    exit $status
  }
  mv "$release.new" "$release"
fi
# An archive often has all that it holds in one folder of the release's name.
root=
entries=$(ls -A "$release")
case $entries in
  '') never "the archive is empty" ;;
  *'
'*) ;;
  bin | lib | etc | releases | erts-*) ;;
  *) [ ! -d "$release/$entries" ] || root=/$entries ;;
esac
# link TARGET NAME: replaces a link at once, where mv can.
link() {
  [ -h "$2" ] || [ ! -e "$2" ] || never "$2 is there and is no link"
  rm -f "$2.new"
  ln -s "$1" "$2.new"
  mv -fT "$2.new" "$2" 2>/dev/null || { rm -f "$2"; mv "$2.new" "$2"; }
}
link "releases/$2$root" "$node/current"
link "$node/current" "$1"
