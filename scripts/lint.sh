#!/usr/bin/env bash
# All checks of `make lint`. Every check runs, and each failure is told, before
# the script fails.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

failed=()

# check NAME COMMAND...
check() {
  local name=$1
  shift
  say "$name"
  "$@" || failed+=("$name")
}

go_files() { git ls-files --cached --others --exclude-standard '*.go'; }

check_gofmt() {
  local bad
  bad=$(go_files | xargs -r gofmt -l)
  [ -z "$bad" ] || {
    printf 'gofmt -w these:\n%s\n' "$bad" >&2
    return 1
  }
}

check_vet() { go vet ./... && go vet -tags e2e,e2e_full,e2e_openstack,bench ./...; }

# Warnings of the Erlang compiler are errors in what we ship; nothing is kept of
# what it writes.
check_erlang() {
  local out sources
  mapfile -t sources < <(git ls-files --cached --others --exclude-standard 'exporter/*.erl' 'deployer/*.erl' 'internal/demo/*.erl')
  [ "${#sources[@]}" -gt 0 ] || return 0
  out=$(mktemp -d)
  local status=0
  erlc -Werror +warn_unused_vars +warn_export_vars +warn_obsolete_guard -o "$out" "${sources[@]}" || status=1
  rm -rf "$out"
  return "$status"
}

# Generates in a copy: the check must not change the files it looks at.
check_generated() {
  local copy status=0
  copy=$(mktemp -d)
  git ls-files -z --cached --others --exclude-standard | xargs -0 -r cp --parents -t "$copy" 2>/dev/null || true
  (cd "$copy" && go generate ./...) || status=1
  git ls-files --cached --others --exclude-standard | while read -r file; do
    [ ! -f "$file" ] || cmp -s "$file" "$copy/$file" || {
      printf '%s is not what its source gives: run make generate\n' "$file" >&2
      exit 1
    }
  done || status=1
  rm -rf "$copy"
  return "$status"
}

# Scripts without a first line of their own are parts: what runs them puts a
# prelude before them, so that variables come from and go to elsewhere.
check_scripts() {
  install_packages shellcheck
  local file whole=() parts=()
  while read -r file; do
    if [ "$(head -c 2 "$file")" = '#!' ] || grep -q '^# shellcheck shell=' "$file"; then
      whole+=("$file")
    else
      parts+=("$file")
    fi
  done < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
  shellcheck -x "${whole[@]}" &&
    { [ "${#parts[@]}" -eq 0 ] || shellcheck -s sh -e SC2034,SC2154 "${parts[@]}"; }
}

check golangci-lint "${GOLANGCI_LINT:?is set by make lint}" run --allow-parallel-runners ./...
check gofmt check_gofmt
check "go vet" check_vet
check "go mod tidy" go mod tidy -diff
check "Erlang warnings" check_erlang
check "generated files" check_generated
check scripts check_scripts

if [ "${#failed[@]}" -gt 0 ]; then
  printf 'lint: failed: %s\n' "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')" >&2
  exit 1
fi
