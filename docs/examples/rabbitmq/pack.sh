#!/usr/bin/env bash
# Packs Debian's or Ubuntu's RabbitMQ, with the Erlang that it needs, into a
# release that erl-deploy takes to hosts without either: it runs from whatever
# folder it is unpacked in, as whatever user.
#
#   pack.sh FILE.tar.gz [ROOT]
#
# ROOT is a folder with another system, such as debootstrap makes; by default
# the packages of this machine are packed (apt-get install rabbitmq-server).
# Hosts must have the same architecture and as new a C library.
set -euo pipefail

out=${1:?usage: pack.sh FILE.tar.gz [ROOT]} root=${2:-/}
root=${root%/}
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

dpkg_query() { dpkg-query --admindir="$root/var/lib/dpkg" "$@"; }

# What rabbitmq-server needs of Erlang, and what that needs.
# shellcheck disable=SC2016 # dpkg-query expands these
erlang_packages() {
  local known=' ' next=rabbitmq-server all name
  while [ -n "$next" ]; do
    # shellcheck disable=SC2086 # names, one a word
    all=$(dpkg_query -W -f '${Depends}\n' $next | grep -o 'erlang-[a-z0-9-]*' | sort -u)
    next=
    for name in $all; do
      case $known in *" $name "*) continue ;; esac
      known+="$name "
      [ "$(dpkg_query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ] || next+="$name "
    done
    # shellcheck disable=SC2086 # as above
    [ -z "$next" ] || printf '%s\n' $next
  done
}

copy() { # the files of packages below a folder, to another
  local from=$1 to=$2
  shift 2
  mkdir -p "$to"
  dpkg_query -L "$@" | grep "^$from/." | sort -u | sed "s|^$from/||" |
    tar -C "$root$from" -c --no-recursion -T - | tar -C "$to" -x
}

mapfile -t packages < <(erlang_packages)
copy /usr/lib/erlang "$tree/erlang" "${packages[@]}"
server=$(dpkg_query -L rabbitmq-server | grep '/rabbitmq_server-[^/]*$')
copy "$server" "$tree/rabbitmq" rabbitmq-server

# Debian's erl knows only its own place. This one finds itself.
erts=$(cd "$tree/erlang" && echo erts-*)
rm -f "$tree/erlang/bin/erl" "$tree/erlang/$erts/bin/erl"
install -m 755 "$here/bin/erl" "$tree/erlang/bin/erl"
install -m 755 "$here/bin/erl" "$tree/erlang/$erts/bin/erl"
ln -sf "../$erts/bin/epmd" "$tree/erlang/bin/epmd"

mkdir "$tree/bin" "$tree/etc"
install -m 755 -t "$tree/bin" "$here"/bin/{env,start,stop,ping,join,leave,rabbitmqctl}
install -m 644 -t "$tree/etc" "$here"/etc/*
tar -C "$tree" --owner=0 --group=0 --numeric-owner -czf "$out.part" .
mv "$out.part" "$out"
