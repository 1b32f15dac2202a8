# shellcheck shell=bash
# Read by inside.sh: writes the configuration of all services. Each has one
# worker, since the tests are one client.

: "${here:?}" "${SERVICE_PASSWORD:?is in /etc/openstack/secrets}" "${ADMIN_PASSWORD:?}" "${USER_PASSWORD:?}" "${OPENSTACK_HOST:?}"
host=$OPENSTACK_HOST

database() { printf 'mysql+pymysql://openstack:%s@localhost/%s?unix_socket=/run/mysqld/mysqld.sock&charset=utf8' "$SERVICE_PASSWORD" "$1"; }

# as_service USER: how a service logs in with Keystone.
as_service() {
  printf '%s\n' "auth_url = http://$host:5000/v3" 'auth_type = password' 'project_domain_id = default' 'user_domain_id = default' \
    'project_name = service' "username = $1" "password = $SERVICE_PASSWORD" 'region_name = RegionOne'
}

# as_user NAME PASSWORD PROJECT: an entry of clouds.yaml.
as_user() {
  cat <<END
  $1:
    region_name: RegionOne
    auth:
      auth_url: http://$host:5000/v3
      username: $1
      password: $2
      project_name: $3
      user_domain_name: Default
      project_domain_name: Default
END
}

printf '127.0.0.1 localhost openstack\n' >/etc/hosts
mkdir -p /etc/openstack /etc/keystone /etc/placement /var/lib/glance/images /var/lib/nova/lock /var/lib/neutron/lock

cat >/etc/keystone/keystone.conf <<END
[database]
connection = $(database keystone)
[token]
provider = fernet
END

cat >/etc/glance/glance-api.conf <<END
[DEFAULT]
bind_host = $host
workers = 1
[database]
connection = $(database glance)
[glance_store]
stores = file
default_store = file
filesystem_store_datadir = /var/lib/glance/images
[keystone_authtoken]
$(as_service glance)
[paste_deploy]
flavor = keystone
config_file = /usr/share/glance-common/glance-api-paste.ini
END

cat >/etc/placement/placement.conf <<END
[placement_database]
connection = $(database placement)
[api]
auth_strategy = keystone
[keystone_authtoken]
$(as_service placement)
END

# The fake driver's servers become ACTIVE and are no machines. Nobody plugs
# ports in that Neutron could tell of.
cat >/etc/nova/nova.conf <<END
[DEFAULT]
host = openstack
my_ip = $host
state_path = /var/lib/nova
compute_driver = fake.FakeDriver
transport_url = rabbit://openstack:$SERVICE_PASSWORD@$host:5672/
enabled_apis = osapi_compute
osapi_compute_listen = $host
osapi_compute_workers = 1
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
[api]
auth_strategy = keystone
[api_database]
connection = $(database nova_api)
[database]
connection = $(database nova)
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 3
[oslo_concurrency]
lock_path = /var/lib/nova/lock
[keystone_authtoken]
$(as_service nova)
[placement]
$(as_service nova)
[glance]
$(as_service nova)
[neutron]
$(as_service nova)
[service_user]
send_service_user_token = true
$(as_service nova)
END

# loopback: see binder/.
cat >/etc/neutron/neutron.conf <<END
[DEFAULT]
host = openstack
bind_host = $host
state_path = /var/lib/neutron
core_plugin = ml2
service_plugins = router
transport_url = rabbit://openstack:$SERVICE_PASSWORD@$host:5672/
api_workers = 1
rpc_workers = 0
rpc_state_report_workers = 0
dhcp_agent_notification = false
api_paste_config = /usr/share/neutron-common/api-paste.ini
[database]
connection = $(database neutron)
[oslo_concurrency]
lock_path = /var/lib/neutron/lock
[keystone_authtoken]
$(as_service neutron)
[nova]
$(as_service nova)
[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers = loopback
extension_drivers = port_security
END

cat >/etc/rabbitmq/rabbitmq.conf <<END
listeners.tcp.1 = $host:5672
vm_memory_high_watermark.absolute = 512MB
END

# Ports of its own, besides those of another RabbitMQ on the machine.
cat >/etc/rabbitmq/rabbitmq-env.conf <<END
NODENAME=openstack@localhost
DIST_PORT=45672
export ERL_EPMD_PORT=45369
export ERL_EPMD_ADDRESS=127.0.0.1
END
chmod a+r /etc/hosts /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/rabbitmq-env.conf

# What the tests log in with.
{
  printf 'clouds:\n'
  as_user user "$USER_PASSWORD" project
  as_user admin "$ADMIN_PASSWORD" admin
} >/etc/openstack/clouds.yaml

# Neutron finds its drivers by the entry points of packages.
packages=/usr/lib/python3/dist-packages
cp "$here/binder/loopback_binder.py" "$packages/"
mkdir -p "$packages/loopback_binder-1.egg-info"
printf 'Metadata-Version: 1.1\nName: loopback-binder\nVersion: 1\n' >"$packages/loopback_binder-1.egg-info/PKG-INFO"
printf '[neutron.ml2.mechanism_drivers]\nloopback = loopback_binder:Binder\n' >"$packages/loopback_binder-1.egg-info/entry_points.txt"
chmod -R a+rX "$packages/loopback_binder.py" "$packages/loopback_binder-1.egg-info"
