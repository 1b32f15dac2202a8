#!/bin/bash
# Runs inside the Debian folder of scripts/openstack.sh, as the first process of
# a namespace of processes: what it starts ends with it.
#
#   inside.sh prepare   configures all services and fills their databases
#   inside.sh run       starts them, and stays until one ends or it is told to
set -euo pipefail

here=/opt/openstack
ready=/var/lib/openstack-ready # on the disk: /run is of this namespace alone
logs=/var/log/openstack
export OPENSTACK_HOST=${OPENSTACK_HOST:?is set by openstack.sh}
export OS_CLIENT_CONFIG_FILE=/etc/openstack/clouds.yaml
mkdir -p "$logs" /run/mysqld /run/lock
hostname openstack # of a namespace of its own: Nova and RabbitMQ are called after it

say() { printf '%s\n' "$*"; }

# await LIMIT WHAT COMMAND...: waits for as many seconds until the command succeeds.
await() {
  local limit=$1 what=$2 end
  shift 2
  end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      say "error: $what does not answer after $limit seconds; its log is in $logs"
      exit 1
    fi
    sleep 0.3
  done
}

listens() { (exec 3<>"/dev/tcp/$OPENSTACK_HOST/$1") 2>/dev/null; }

# start NAME COMMAND...
declare -A services=()
start() {
  local name=$1
  shift
  "$@" >>"$logs/$name.log" 2>&1 &
  services[$!]=$name
}

# program NAME MODULE CONFIGURATION: a program of a Python package that Debian has
# in a package of its own, which would want a hypervisor or to be a system service.
program() {
  start "$1" python3 -c "
import sys
from $2 import main
sys.argv[0] = '$1'
sys.exit(main())" --config-file "$3"
}

# wsgi NAME PORT MODULE: behind uWSGI; two processes, since services ask each other.
wsgi() {
  start "$1" uwsgi --plugin python3 --http-socket "$OPENSTACK_HOST:$2" --module "$3" --master --need-app --die-on-term \
    --processes 2 --lazy-apps --enable-threads --buffer-size 65535 --add-header 'Connection: close' --pyargv '' --disable-logging
}

databases() {
  chown mysql: /run/mysqld
  # A crash may lose what tests made: nothing is waited for on the disk.
  start mariadb mariadbd --user=mysql --skip-networking --socket=/run/mysqld/mysqld.sock \
    --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --max-connections=400
  await 120 MariaDB mariadb -e 'select 1'
}

prepare() {
  umask 077
  if [ ! -e /etc/openstack/secrets ]; then
    mkdir -p /etc/openstack
    local name
    for name in SERVICE_PASSWORD ADMIN_PASSWORD USER_PASSWORD; do
      printf 'export %s=%s\n' "$name" "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
    done >/etc/openstack/secrets
  fi
  # shellcheck source=/dev/null
  . /etc/openstack/secrets
  # shellcheck source=scripts/openstack/configure.sh
  . "$here/configure.sh"
  databases
  mariadb <<SQL
$(for db in keystone glance placement nova_api nova nova_cell0 neutron; do
    printf "DROP DATABASE IF EXISTS %s; CREATE DATABASE %s CHARACTER SET utf8mb3;\n" "$db" "$db"
    printf "GRANT ALL ON %s.* TO openstack@localhost IDENTIFIED BY '%s';\n" "$db" "$SERVICE_PASSWORD"
  done)
SQL
  keystone-manage db_sync
  keystone-manage fernet_setup --keystone-user root --keystone-group root
  keystone-manage credential_setup --keystone-user root --keystone-group root
  OS_BOOTSTRAP_PASSWORD=$ADMIN_PASSWORD keystone-manage bootstrap --bootstrap-region-id RegionOne \
    --bootstrap-public-url "http://$OPENSTACK_HOST:5000/v3/" --bootstrap-internal-url "http://$OPENSTACK_HOST:5000/v3/"
  glance-manage db_sync
  placement-manage db sync
  nova-manage api_db sync
  nova-manage cell_v2 map_cell0
  nova-manage cell_v2 create_cell --name=cell1
  nova-manage db sync
  neutron-db-manage --config-file /etc/neutron/neutron.conf upgrade heads
  end
}

run() {
  # shellcheck source=/dev/null
  . /etc/openstack/secrets
  BEGUN=$(date -u +%FT%T)
  export BEGUN
  trap 'end; exit 0' TERM INT
  databases
  start rabbitmq rabbitmq-server
  wsgi keystone 5000 'keystone.server.wsgi:initialize_public_application()'
  await 120 RabbitMQ listens 5672
  printf '%s' "$SERVICE_PASSWORD" | rabbitmqctl -q add_user openstack 2>/dev/null || true
  rabbitmqctl -q set_permissions openstack '.*' '.*' '.*'
  await 120 Keystone listens 5000
  python3 "$here/provision.py" identity
  wsgi placement 8778 'placement.wsgi:init_application()'
  program glance-api glance.cmd.api /etc/glance/glance-api.conf
  program neutron-server neutron.cmd.eventlet.server /etc/neutron/neutron.conf
  program nova-api nova.cmd.api /etc/nova/nova.conf
  program nova-conductor nova.cmd.conductor /etc/nova/nova.conf
  program nova-scheduler nova.cmd.scheduler /etc/nova/nova.conf
  await 120 Placement listens 8778
  program nova-compute nova.cmd.compute /etc/nova/nova.conf
  python3 "$here/provision.py" resources
  touch "$ready"
  say "all services run"
  local ended
  wait -n -p ended "${!services[@]}" || true
  say "error: ${services[$ended]} ended; its log is $logs/${services[$ended]}.log"
  end
  exit 1
}

end() {
  rm -f "$ready"
  kill "${!services[@]}" 2>/dev/null || true
  wait "${!services[@]}" 2>/dev/null || true
}

rm -f "$ready"
"$1"
