#!/usr/bin/env bash
# Writes into dist.files/ what archives and packages have that the programs print
# themselves: manual pages and scripts for the shells. `make release-snapshot` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf dist.files
mkdir -p dist.files/man dist.files/completion
for program in erl-exporter erl-deploy; do
  CGO_ENABLED=0 go build -o "dist.files/$program" "./cmd/$program"
  "dist.files/$program" man | gzip -9n >"dist.files/man/$program.1.gz"
  for shell in bash zsh fish; do
    "dist.files/$program" completion "$shell" >"dist.files/completion/$program.$shell"
  done
  rm "dist.files/$program"
done
