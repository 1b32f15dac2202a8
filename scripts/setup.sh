#!/usr/bin/env bash
# Installs what `make test` and `make run` need beside Go: Erlang/OTP, and a C
# compiler for the race detector. Does nothing where all of it is there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# A machine that is not Debian may have everything from elsewhere.
if ! command -v apt-get >/dev/null && command -v erl >/dev/null && command -v "${CC:-cc}" >/dev/null; then
  exit 0
fi

install_packages gcc libc6-dev procps iproute2 openssh-server openssh-sftp-server \
  erlang-base erlang-crypto erlang-ssl erlang-public-key erlang-asn1 erlang-runtime-tools \
  erlang-os-mon erlang-tools erlang-mnesia erlang-inets erlang-syntax-tools
