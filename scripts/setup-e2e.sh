#!/usr/bin/env bash
# Makes what the end-to-end tests need under ${ERLOPS_CACHE:-~/.cache/erlops}:
#
#   otp-23, otp-27, otp-29   Debian folders (bullseye, trixie, sid) with that OTP;
#                            trixie's with RabbitMQ 4 and Elixir too
#   servers                  a Debian folder (bookworm) with RabbitMQ, ejabberd,
#                            Alertmanager 0.25 and rsyslog
#   graphite                 a Debian folder (bookworm) with Carbon and graphite-web
#   prometheus               prometheus and promtool 3 from Debian's unstable
#   compose                  docker compose 2 from Debian's trixie, to check files
#   alertmanager             Alertmanager and amtool, a current version, built
#   loki                     Loki 3.7, built; only where it is asked for, because that
#                            takes two cores ten minutes and 2.4 GB of memory
#   goreleaser               goreleaser and cyclonedx-gomod, built; only where it is
#                            asked for
#   preview                  Grafana's panels from npm, for `make dashboards-preview`;
#                            only where it is asked for
#   images                   a Debian folder (bookworm) that container images are made
#                            of where no registry is asked, and what runs them: buildah
#                            and podman on the machine; only where it is asked for
#
# Each is made once; a folder without .complete is made anew, and one that lacks
# packages named here gets them. The machine itself
# gets debootstrap, libfaketime and tmux, and no service is started.
#
#   setup-e2e.sh [NAME...]   only these; without names, all but the last four
#   setup-e2e.sh --clean     removes all
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

otp_packages=(
  erlang-base erlang-crypto erlang-ssl erlang-public-key erlang-asn1 erlang-runtime-tools
  erlang-os-mon erlang-tools erlang-mnesia erlang-inets erlang-syntax-tools
)

# in_root ROOT COMMAND...: runs in the folder with /proc and /dev, mounted in a
# namespace of its own, so that nothing stays mounted however this ends.
in_root() {
  local root=$1
  shift
  # shellcheck disable=SC2016 # the inner shell expands these
  as_root unshare --mount --propagation private bash -euc '
    root=$1
    shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 chroot "$root" "$@"
  ' in_root "$root" "$@"
}

# folder NAME SUITE PACKAGE...: a minimal Debian of that suite with the packages,
# which .complete lists.
folder() {
  local name=$1 suite=$2 root=$cache/$1
  shift 2
  if [ -e "$root/.complete" ]; then
    [ "$(<"$root/.complete")" = "$*" ] || extend "$root" "$@"
    return 0
  fi
  say "making $root (Debian $suite: about a minute)"
  as_root rm -rf --one-file-system "$root"
  local log=$cache/$name.log
  as_root debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$log" 2>&1 ||
    die "debootstrap $suite failed, see $log"
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$root/usr/sbin/policy-rc.d" >/dev/null
  as_root chmod 755 "$root/usr/sbin/policy-rc.d"
  in_root "$root" apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1 ||
    die "apt-get install $* in $root failed, see $log"
  in_root "$root" apt-get clean
  as_root touch "$root/etc/hosts" # the machine's hosts file is mounted over it
  completed "$root" "$@"
}

# extend ROOT PACKAGE...: adds to a folder what it lacks. Tests may run in it
# meanwhile.
extend() {
  local root=$1
  shift
  if in_root "$root" dpkg-query -W "$@" >/dev/null 2>&1; then
    completed "$root" "$@"
    return 0
  fi
  say "adding packages to $root"
  {
    in_root "$root" apt-get update -qq &&
      in_root "$root" apt-get install -y -qq --no-install-recommends --no-upgrade "$@" &&
      in_root "$root" apt-get clean
  } >>"$root.log" 2>&1 || die "apt-get install $* in $root failed, see $root.log"
  completed "$root" "$@"
}

completed() {
  local root=$1
  shift
  printf '%s\n' "$*" | as_root tee "$root/.complete" >/dev/null
}

# unpacked NAME SUITE PACKAGE...: the files of packages of another suite, for
# programs that need nothing else of it. The private apt folders keep the machine's
# own lists as they are.
unpacked() {
  local name=$1 suite=$2 root=$cache/$1
  shift 2
  [ ! -e "$root/.complete" ] || return 0
  say "making $root"
  rm -rf "$root"
  mkdir -p "$root/apt/lists/partial" "$root/apt/cache/partial"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" >"$root/apt/sources.list"
  local apt=(
    apt-get -qq -o "Dir::Etc::sourcelist=$root/apt/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$root/apt/lists" -o "Dir::Cache=$root/apt/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root
  )
  "${apt[@]}" update || die "apt-get update of Debian's $suite failed"
  (cd "$root/apt" && "${apt[@]}" download "$@") || die "apt-get download $* failed"
  local deb
  for deb in "$root"/apt/*.deb; do dpkg -x "$deb" "$root"; done
  rm -rf "$root/apt"
  touch "$root/.complete"
}

# alertmanager: the last version that builds from its module alone; later ones
# embed a user interface that the module does not have.
alertmanager_version=v0.31.1
alertmanager() {
  local root=$cache/alertmanager
  [ "$(cat "$root/.complete" 2>/dev/null || true)" != "$alertmanager_version" ] || return 0
  say "building $root (Alertmanager $alertmanager_version: some minutes)"
  GOBIN=$root GOFLAGS=-mod=mod go install \
    "github.com/prometheus/alertmanager/cmd/alertmanager@$alertmanager_version" \
    "github.com/prometheus/alertmanager/cmd/amtool@$alertmanager_version" ||
    die "go install of Alertmanager $alertmanager_version failed"
  printf '%s\n' "$alertmanager_version" >"$root/.complete"
}

# goreleaser: what `make release-snapshot` builds packages and their SBOMs with.
goreleaser_version=v2.14.0 cyclonedx_version=v1.10.0
goreleaser() {
  local root=$cache/goreleaser
  [ "$(cat "$root/.complete" 2>/dev/null || true)" != "$goreleaser_version $cyclonedx_version" ] || return 0
  say "building $root (goreleaser $goreleaser_version: some minutes)"
  GOBIN=$root GOFLAGS=-mod=mod go install "github.com/goreleaser/goreleaser/v2@$goreleaser_version" ||
    die "go install of goreleaser $goreleaser_version failed"
  GOBIN=$root GOFLAGS=-mod=mod go install "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$cyclonedx_version" ||
    die "go install of cyclonedx-gomod $cyclonedx_version failed"
  printf '%s\n' "$goreleaser_version $cyclonedx_version" >"$root/.complete"
}

# loki: out of a module of its own, internal/tools/loki, which has its version.
loki() {
  local root=$cache/loki module version
  module=$(cd "$(dirname "$0")/../internal/tools/loki" && pwd)
  version=$(awk '$1 == "github.com/grafana/loki/v3" { print $2 }' "$module/go.mod")
  [ "$(cat "$root/.complete" 2>/dev/null || true)" != "$version" ] || return 0
  say "building $root (Loki $version: ten minutes and more)"
  mkdir -p "$root"
  (cd "$module" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$root/loki.new" github.com/grafana/loki/v3/cmd/loki) ||
    die "go build of Loki $version failed"
  mv "$root/loki.new" "$root/loki"
  printf '%s\n' "$version" >"$root/.complete"
}

# preview: dashboards/preview with what it needs. Its own files are brought anew
# each time, the modules only when the lock file is another.
preview() {
  local root=$cache/preview source
  source=$(cd "$(dirname "$0")/../dashboards/preview" && pwd)
  command -v npm >/dev/null || install_packages nodejs npm
  if ! cmp -s "$source/package-lock.json" "$root/.complete"; then
    say "making $root (Grafana's panels from npm: some minutes, 480 MB)"
    rm -rf "$root"
    mkdir -p "$root"
    cp "$source/package.json" "$source/package-lock.json" "$root"
    (cd "$root" && npm ci --ignore-scripts --no-audit --no-fund --legacy-peer-deps --loglevel error) || die "npm ci in $root failed"
    cp "$source/package-lock.json" "$root/.complete"
  fi
  cp -r "$source/src" "$source"/*.mjs "$root"
}

# images: what base images are made of, and programs that need no daemon.
images() {
  install_packages buildah podman runc catatonit netavark aardvark-dns iptables
  folder images bookworm ca-certificates make git wget
}

make_one() {
  case $1 in
    otp-23) folder otp-23 bullseye "${otp_packages[@]}" ;;
    otp-27) folder otp-27 trixie "${otp_packages[@]}" rabbitmq-server elixir ;;
    otp-29) folder otp-29 sid "${otp_packages[@]}" ;;
    servers) folder servers bookworm "${otp_packages[@]}" rabbitmq-server ejabberd prometheus-alertmanager rsyslog rsyslog-openssl ;;
    graphite) folder graphite bookworm graphite-carbon graphite-web python3-whisper ;;
    prometheus) unpacked prometheus sid prometheus promtool ;;
    compose) unpacked compose trixie docker-compose ;;
    alertmanager) alertmanager ;;
    loki) loki ;;
    goreleaser) goreleaser ;;
    preview) preview ;;
    images) images ;;
    *) die "unknown name '$1': want otp-23, otp-27, otp-29, servers, graphite, prometheus, compose, alertmanager, loki, goreleaser, preview or images" ;;
  esac
}

if [ "${1:-}" = --clean ]; then
  as_root rm -rf --one-file-system "$cache"/{otp-23,otp-27,otp-29,servers,graphite,prometheus,compose,alertmanager,loki,goreleaser,preview,images}
  exit 0
fi
[ "$#" -gt 0 ] || set -- servers otp-27 otp-23 otp-29 graphite prometheus compose alertmanager

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9 # one at a time: two would make the same folder
install_packages debootstrap debian-archive-keyring libfaketime tmux
mirror=$(debian_mirror)
for name in "$@"; do
  make_one "$name"
done
