#!/usr/bin/env bash
# Installs what `make run` needs beside Go: Erlang/OTP, Folsom, with which the demo
# counts, and a C compiler for the race detector. Does nothing where all of it is there.
#
#   setup.sh --tests   installs what the tests need besides: Lager, shells that
#                      complete and, for root, an SSH server in the hosts that they
#                      make, off on this machine
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# ssh_server: a server that is there already stays as it is. Only tests that run
# as root make hosts, and a machine that is not Debian has its own ways.
ssh_server() {
  local service
  if [ -x /usr/sbin/sshd ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    return 0
  fi
  install_packages openssh-server openssh-sftp-server
  # Installing enables it for the next start of the machine. The helper, which
  # works where systemd does not run too, wants to know for which package.
  for service in ssh.service ssh.socket; do
    env DPKG_MAINTSCRIPT_PACKAGE=openssh-server deb-systemd-helper disable "$service"
  done
  update-rc.d ssh disable
}

# A machine that is not Debian may have everything from elsewhere.
if command -v apt-get >/dev/null || ! command -v erl >/dev/null || ! command -v "${CC:-cc}" >/dev/null; then
  install_packages gcc libc6-dev procps iproute2 \
    erlang-base erlang-crypto erlang-ssl erlang-public-key erlang-asn1 erlang-runtime-tools \
    erlang-os-mon erlang-tools erlang-mnesia erlang-inets erlang-syntax-tools erlang-folsom
fi

# libraries: what Erlang applications log with.
libraries() {
  if command -v apt-get >/dev/null; then
    install_packages erlang-lager
  fi
}

# shells: those with scripts for completion.
shells() {
  if ! command -v zsh >/dev/null || ! command -v fish >/dev/null; then
    install_packages zsh fish
  fi
}

case ${1:-} in
  '') ;;
  --tests)
    libraries
    shells
    ssh_server
    ;;
  *) die "usage: $0 [--tests]" ;;
esac
