# shellcheck shell=bash
# A machine on which the README is followed: sourced by bash in namespaces of its
# own for the network, the mounts, the processes and the host name, before the
# README's lines. It has Erlang nodes at the names that the README uses, SSH servers
# at its addresses, and /etc and /var/lib that forget what is written to them.
# usage: . readme.sh TOP WORK ARCHIVE
set -euo pipefail
top=$1 work=$2 archive=$3

mount -t proc proc /proc
hostname broker
ip link set lo up
mount -t tmpfs tmpfs /run
ip link add fleet type bridge
ip addr add 10.0.0.254/24 dev fleet
ip link set fleet up
for host in mq1=10.0.0.11 mq2=10.0.0.12 mq3=10.0.0.13 server1=10.0.0.1 server2=10.0.0.2; do
  name=${host%=*}
  ip netns add "$name"
  ip link add "to-$name" type veth peer name eth0 netns "$name"
  ip link set "to-$name" master fleet up
  ip -n "$name" link set lo up
  ip -n "$name" addr add "${host#*=}/24" dev eth0
  ip -n "$name" link set eth0 up
done
mount -t tmpfs tmpfs "$work"
for folder in etc var/lib; do
  mkdir -p "$work/upper/$folder" "$work/work/$folder"
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$work/upper/$folder,workdir=$work/work/$folder" "/$folder"
done
printf '%s\n' '127.0.0.1 localhost broker' '10.0.0.11 mq1' '10.0.0.12 mq2' '10.0.0.13 mq3' >"$work/hosts"
if mountpoint -q /etc/hosts; then mount --bind "$work/hosts" /etc/hosts; else cp "$work/hosts" /etc/hosts; fi
chmod 755 "$work"

export USER=root HOME=$work/home
mkdir "$HOME"
if ! command -v sudo >/dev/null; then sudo() { "$@"; }; fi

# The cookies of RabbitMQ and ejabberd, and nodes that have them.
umask 077
install -d /var/lib/rabbitmq /etc/erl-exporter
for file in /var/lib/rabbitmq/.erlang.cookie /etc/erl-exporter/cookie "$HOME/.erlang.cookie"; do printf %s readme >"$file"; done
printf %s chat >/etc/erl-exporter/chat.cookie
chmod 400 "$HOME/.erlang.cookie"
umask 022
for host in broker mq1 mq2 mq3; do
  space=()
  [ "$host" = broker ] || space=(ip netns exec "$host")
  "${space[@]}" erl -noinput -sname "rabbit@$host" -eval 'ok = application:start(sasl),
    [alarm_handler:set_alarm({disk_full, "/var"}) || node() =:= list_to_atom("rabbit@mq1")],
    F = fun L() -> [net_adm:ping(list_to_atom("rabbit@mq1")) || node() =/= list_to_atom("rabbit@broker")], logger:error("the disk is nearly full"), timer:sleep(500), L() end, F()' >/dev/null 2>&1 &
done

# Two servers that the user deploy reaches by SSH with the key of this user.
useradd --create-home --home-dir /var/lib/deploy --shell /bin/bash --password '*' deploy # not locked
ssh-keygen -q -t ed25519 -N '' -f "$work/hostkey"
install -d -m 700 "$HOME/.ssh"
ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519"
install -d -m 700 -o deploy -g deploy /var/lib/deploy/.ssh
install -m 600 -o deploy -g deploy "$HOME/.ssh/id_ed25519.pub" /var/lib/deploy/.ssh/authorized_keys
mkdir -p /run/sshd
for server in server1 server2; do
  cp -a /var/lib/deploy "$work/$server"
  # shellcheck disable=SC2016 # the inner shell expands these
  ip netns exec "$server" bash -euc 'mount --bind "$1/$2" /var/lib/deploy
    exec /usr/sbin/sshd -f /dev/null -h "$1/hostkey" -o UsePAM=no -o PidFile=none -o "Subsystem=sftp /usr/lib/openssh/sftp-server"
  ' sshd "$work" "$server"
done
ssh-keyscan 10.0.0.1 10.0.0.2 >"$HOME/.ssh/known_hosts" 2>/dev/null

# The checkout, the release and the cookie that the README names.
git config --global --add safe.directory '*' # whoever owns the checkout
git clone --quiet "$top" "$work/erlops"
cd "$work/erlops"
git -C "$top" diff --binary HEAD | git apply --allow-empty
cp "$work/../erl-exporter.yml" .
mkdir kv
tar -xzf "$archive" -C kv
# shellcheck disable=SC2016 # the script that is written expands it
printf '#!/bin/sh\nexec "$(dirname "$0")/$1"\n' >kv/bin/kv
chmod 755 kv/bin/kv
tar -czf kv-1.0.tar.gz -C kv .
printf %s readme >cookie
export PATH=$work/erlops/bin:$PATH

# until_true SECONDS COMMAND: waits for it.
until_true() {
  local tries=$(($1 * 5))
  until bash -c "$2" >"$work/last" 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { cat "$work/last" "$work/background"; echo "never: $2"; exit 1; }
    sleep 0.2
  done
}

# in_terminal COMMAND SECONDS TEXT: runs it in a terminal until it shows the text,
# and ends it as a person does, with Ctrl-C.
in_terminal() {
  local keys session
  rm -f "$work/keys" "$work/screen"
  mkfifo "$work/keys"
  TERM=xterm script -qfc "stty cols 120 rows 40; $1" "$work/screen" <"$work/keys" >/dev/null 2>&1 &
  session=$!
  exec {keys}>"$work/keys"
  until_true "$2" "grep -aq '$3' '$work/screen' || ! kill -0 $session"
  grep -aq "$3" "$work/screen" || { cat "$work/screen"; exit 1; }
  printf '\003' >&"$keys" || { cat "$work/screen"; exit 1; } # it ended by itself
  wait "$session" || true
  exec {keys}>&-
}

# background COMMAND: leaves it running; the one before ends.
background() {
  if [ -n "${running:-}" ]; then
    kill "$running"
    wait "$running" || true
  fi
  bash -c "exec $1" >"$work/background" 2>&1 &
  running=$!
}
