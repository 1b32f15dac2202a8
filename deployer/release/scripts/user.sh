# USER KEY SUDO: creates a login user which KEY lets in, with sudo when SUDO is true.
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
# shellcheck disable=SC2016 # expanded by the inner shell
as_root sh -euc '
  if ! id "$1" >/dev/null 2>&1; then
    shell=/bin/sh
    [ ! -x /bin/bash ] || shell=/bin/bash
    if command -v useradd >/dev/null; then useradd -m -s "$shell" "$1"; else adduser -D -s "$shell" "$1"; fi
    # No password fits, and the account is not locked.
    if command -v usermod >/dev/null; then usermod -p "*" "$1"; fi
  fi
  home=$(getent passwd "$1" | cut -d: -f6)
  [ -n "$home" ] || { echo "user $1 has no home" >&2; exit 1; }
  group=$(id -gn "$1")
  umask 077
  mkdir -p "$home/.ssh"
  keys=$home/.ssh/authorized_keys
  grep -qsxF "$2" "$keys" || printf "%s\n" "$2" >>"$keys"
  chown "$1:$group" "$home/.ssh" "$keys"
  rules=/etc/sudoers.d/erl-deploy-$1
  if [ "$3" != true ]; then
    rm -f "$rules"
  elif [ "$1" != root ] && [ -d /etc/sudoers.d ]; then
    if [ ! -e "$rules" ]; then
      printf "%s ALL=(ALL) NOPASSWD:ALL\n" "$1" >"$rules.new~"
      chmod 440 "$rules.new~"
      mv "$rules.new~" "$rules"
    fi
  fi' sh "$1" "$2" "$3"
