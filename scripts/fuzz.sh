#!/bin/bash
# Runs each fuzz target of the repository for a while, one after the other, and
# goes on after one that found something; Go keeps what it found in testdata/fuzz.
# usage: fuzz.sh TIME [PATTERN of targets]
set -euo pipefail
cd "$(dirname "$0")/.."

time=$1 pattern=${2:-.}
failed=()
while IFS=: read -r file line; do
  target=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/' <<<"$line")
  package=./$(dirname "$file")
  [[ $target =~ $pattern || $package =~ $pattern ]] || continue
  echo "==> $package $target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || failed+=("$package $target")
done < <(grep -rE --include='*_test.go' '^func Fuzz' cmd dashboards deployer exporter internal | sort)

if ((${#failed[@]})); then
  printf 'error: %s found something\n' "${failed[@]}" >&2
  exit 1
fi
