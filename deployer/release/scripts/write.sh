# NODE PATH: replaces a file of the release with standard input, its mode kept.
file=$base/nodes/$1/current/$2
cp -p "$file" "$file.erl-deploy"
chmod u+w "$file.erl-deploy"
cat >"$file.erl-deploy"
mv -f "$file.erl-deploy" "$file"
