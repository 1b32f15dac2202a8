# Shared by the scripts in this folder: installing Debian packages without
# starting what is in them, and finding the mirror this machine uses.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for the scripts that read this file
cache=${ERLOPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/erlops}

say() { printf '==> %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# as_root COMMAND...: as it is for root, through sudo for others.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "'$*' needs root and there is no sudo; run it as root, then try again"
  fi
}

# missing_packages NAME...: those that dpkg does not know as installed.
missing_packages() {
  local name
  for name in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || printf '%s\n' "$name"
  done
}

# install_packages NAME...: installs what is missing and starts no service. A
# machine that already says what packages may start (policy-rc.d) gets its own
# answer back afterwards.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "this machine has no apt-get; install the equivalents of: ${missing[*]}"
  say "installing ${missing[*]}"
  # shellcheck disable=SC2016 # the inner shell expands these
  as_root env DEBIAN_FRONTEND=noninteractive bash -euc '
    policy=/usr/sbin/policy-rc.d saved=
    if [ -e "$policy" ]; then saved=$(mktemp "$policy.XXXXXX"); cp -p "$policy" "$saved"; fi
    restore() { if [ -n "$saved" ]; then mv "$saved" "$policy"; else rm -f "$policy"; fi; }
    trap restore EXIT
    printf "#!/bin/sh\nexit 101\n" >"$policy"
    chmod 755 "$policy"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  ' install "${missing[@]}" || die "apt-get could not install ${missing[*]}"
}

# debian_mirror: the mirror of this machine's own Debian packages.
debian_mirror() {
  local mirror
  # shellcheck disable=SC2016 # apt-get expands these
  mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
  [ -n "$mirror" ] || die "apt knows no Debian mirror here (apt-get indextargets); end-to-end tests need Debian 12 or later"
  printf '%s\n' "$mirror"
}
