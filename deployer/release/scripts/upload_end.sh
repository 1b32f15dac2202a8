# DIGEST: verifies what was uploaded and makes it the archive.
archive=$base/archives/$1.tar.gz
digest() {
  if command -v sha256sum >/dev/null; then sha256sum
  elif command -v shasum >/dev/null; then shasum -a 256
  elif command -v openssl >/dev/null; then openssl dgst -sha256 -r
  else never "the host has no sha256sum, shasum or openssl to verify archives with"; fi
}
# Another upload of the same archive may have been faster.
[ ! -f "$archive" ] || [ -f "$archive.part" ] || exit 0
is=$(digest <"$archive.part")
if [ "${is%% *}" != "$1" ]; then
  rm -f "$archive.part"
  later "what arrived has the digest ${is%% *} instead of $1; it was removed"
fi
mv "$archive.part" "$archive"
