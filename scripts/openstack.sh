#!/usr/bin/env bash
# A real OpenStack for `make e2e-openstack`: Keystone, Glance, Placement, Nova
# with its fake driver (servers become ACTIVE and are no machines) and Neutron,
# with MariaDB and RabbitMQ, of Debian 12. All of it is in one Debian folder,
# ${ERLOPS_CACHE:-~/.cache/erlops}/openstack (2.2 GB), and listens on 127.0.45.1
# alone; the machine itself gets debootstrap, and no service of it is touched.
#
#   openstack.sh setup     make the folder, configure it, fill the databases; once
#   openstack.sh start     that, then start all services and wait until they answer
#   openstack.sh stop      end them
#   openstack.sh status    tell whether they run
#   openstack.sh --clean   end them and remove the folder
#
# Services run in namespaces of their own for processes, mounts and the host's
# name: whatever ends the first of their processes ends them all.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
source_dir=$(cd "$(dirname "$0")/openstack" && pwd)
root=$cache/openstack
log=$cache/openstack.log
pid_file=$cache/openstack.pid
clouds_file=$cache/openstack.yaml # what the tests log in with
ready=$root/var/lib/openstack-ready
host=127.0.45.1
ports=(5000 5672 8774 8778 9292 9696 45369 45672)

packages=(
  python3-keystone glance-common placement-common nova-common neutron-common
  mariadb-server rabbitmq-server uwsgi-core uwsgi-plugin-python3 python3-pymysql iproute2
)

# enter is what `inside` runs: notes its process when it is given a file for that,
# and becomes unshare, which ends all within when it ends.
# shellcheck disable=SC2016 # the inner shells expand these
enter='
[ -z "$2" ] || echo $$ >"$2"
exec unshare --mount --uts --pid --fork --kill-child --propagation private bash -euc '"'"'
  root=$1 host=$3
  shift 3
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/run"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 HOME=/root \
    OPENSTACK_HOST="$host" chroot "$root" "$@"
'"'"' erlops-openstack "$@"'

# inside PID_FILE COMMAND...: runs in the folder, with processes and a host name of
# its own. The file may be empty.
inside() { as_root setsid --wait bash -euc "$enter" enter "$root" "$1" "$host" "${@:2}"; }

# running prints the process of unshare that the services run under.
running() {
  local pid
  pid=$(cat "$pid_file" 2>/dev/null) || return 1
  grep -qz '^erlops-openstack$' "/proc/$pid/cmdline" 2>/dev/null || return 1
  printf '%s\n' "$pid"
}

setup() {
  local text
  # Another configuration is made anew in the folder that is there.
  text="${packages[*]} $(cat "$source_dir"/*.* "$source_dir"/binder/* | sha256sum)"
  if [ "$(cat "$root/.complete" 2>/dev/null || true)" != "$text" ]; then
    stop
    install_packages debootstrap debian-archive-keyring
    [ -e "$root/.installed" ] || install
    as_root rm -rf "$root/opt/openstack"
    as_root cp -r "$source_dir" "$root/opt/openstack"
    say "configuring OpenStack and filling its databases (two minutes)"
    inside "" bash /opt/openstack/inside.sh prepare >>"$log" 2>&1 9>&- || die "OpenStack's databases could not be made, see the end of $log"
    printf '%s\n' "$text" | as_root tee "$root/.complete" >/dev/null
  fi
}

install() {
  say "making $root (OpenStack of Debian 12: five minutes)"
  as_root rm -rf --one-file-system "$root"
  as_root debootstrap --variant=minbase bookworm "$root" "$(debian_mirror)" >"$log" 2>&1 9>&- || die "debootstrap bookworm failed, see $log"
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$root/usr/sbin/policy-rc.d" >/dev/null
  as_root chmod 755 "$root/usr/sbin/policy-rc.d"
  inside "" apt-get install -y -qq --no-install-recommends "${packages[@]}" >>"$log" 2>&1 9>&- || die "apt-get install ${packages[*]} in $root failed, see $log"
  inside "" apt-get clean
  as_root touch "$root/.installed"
}

# free tells which port somebody else has: services that cannot listen say so
# only in their logs.
free() {
  local port
  for port in "${ports[@]}"; do
    ! (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null ||
      die "something listens on $host:$port already; OpenStack needs that port: end it (ss -ltnp 'sport = :$port' names it), then try again"
  done
}

start() {
  if running >/dev/null; then
    say "OpenStack runs already; its clouds.yaml is $clouds_file"
    return 0
  fi
  free
  say "starting OpenStack (a minute)"
  as_root rm -f "$ready" "$pid_file"
  trap stop EXIT # also when this is interrupted
  local starting before=$SECONDS
  inside "$pid_file" bash /opt/openstack/inside.sh run </dev/null >>"$log" 2>&1 9>&- &
  starting=$!
  until as_root test -e "$ready"; do
    kill -0 "$starting" 2>/dev/null || die "OpenStack did not start, see the end of $log and the logs in $root/var/log/openstack"
    sleep 0.3
  done
  (umask 077 && as_root cat "$root/etc/openstack/clouds.yaml" >"$clouds_file")
  trap - EXIT
  say "OpenStack runs after $((SECONDS - before)) seconds; its clouds.yaml is $clouds_file"
}

# stop asks the first process within to end the services, and ends them all
# where that takes too long.
stop() {
  local pid first i
  pid=$(running) || return 0
  say "ending OpenStack"
  first=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true)
  # shellcheck disable=SC2086 # there is one, with a space behind it
  [ -z "$first" ] || as_root kill -TERM $first
  for ((i = 0; i < 300; i++)); do
    running >/dev/null || break
    sleep 0.1
  done
  ! pid=$(running) || as_root kill -KILL "$pid"
  rm -f "$clouds_file"
}

if [ "${1:-}" = status ]; then
  if running >/dev/null; then echo running; else echo stopped; fi
  exit 0
fi
mkdir -p "$cache"
exec 9>"$cache/.openstack.lock"
flock 9 # one at a time: two would make the same folder
case ${1:-} in
  setup) setup ;;
  start) setup && start ;;
  stop) stop ;;
  --clean)
    stop
    as_root rm -rf --one-file-system "$root" "$log" "$pid_file" "$clouds_file"
    ;;
  *) die "unknown command '${1:-}': want setup, start, stop, status or --clean" ;;
esac
