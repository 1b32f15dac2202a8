# DIGEST: tells what is there of an archive, and what space is left.
archive=$base/archives/$1.tar.gz
if [ -f "$archive" ]; then
  echo there
  exit
fi
mkdir -p "$base/archives"
have=0
[ ! -f "$archive.part" ] || have=$(($(wc -c <"$archive.part")))
free=$(df -Pk "$base" | { read -r _; read -r _ _ _ free _; printf '%s\n' "$free"; })
echo missing "$have" "$free"
