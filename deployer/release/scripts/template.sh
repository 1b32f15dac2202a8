# NODE DIGEST PATH: prints the template as the archive has it. It is kept
# aside before its place is first written to.
kept=$base/nodes/$1/templates/$2/$3 file=$base/nodes/$1/current/$3
if [ ! -f "$kept" ]; then
  [ -f "$file" ] || never "the release has no template $3"
  mkdir -p "${kept%/*}"
  cp "$file" "$kept.new"
  mv "$kept.new" "$kept"
fi
cat "$kept"
