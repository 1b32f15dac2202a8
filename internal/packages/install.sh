# shellcheck shell=bash
# Installs a Debian package into a copy of a Debian, runs the services of its units
# as their users, and purges it. usage: install.sh ROOT UPPER WORK MERGED DEB
# The folders are on one file system; only the mount namespace sees the copy.
set -eu
root=$1 upper=$2 work=$3 copy=$4 deb=$5
ip link set lo up # the ports are those of a machine of its own
mount -t overlay overlay -o "lowerdir=$root,upperdir=$upper,workdir=$work" "$copy"
mount -t proc proc "$copy/proc"
mount --rbind /dev "$copy/dev"

in_copy() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 chroot "$copy" "$@"; }

# snapshot lists files, users and groups; what dpkg says of itself is no leftover.
snapshot() {
  in_copy find / -xdev \( -path /proc -o -path /dev -o -path /var/lib/dpkg -o -path /var/log -o -path /tmp \) -prune -o ! -name '*-' ! -name .pwd.lock -print | LC_ALL=C sort
  in_copy getent passwd | LC_ALL=C sort
  in_copy getent group | LC_ALL=C sort
}

# key UNIT NAME: the value of a key of a unit.
key() { in_copy sed -n "s/^$2=//p" "/usr/lib/systemd/system/$1.service"; }

# service NAME URL: runs a unit's command as its user, in the folders that systemd
# would make, until the page is there.
service() {
  name=$1 url=$2
  user=$(key "$name" User)
  state=/var/lib/$(key "$name" StateDirectory)
  in_copy install -d -m 700 -o "$user" -g "$user" "$state"
  command=$(key "$name" ExecStart)
  environment=$(key "$name" Environment)
  # shellcheck disable=SC2086 # a command and its arguments
  in_copy setpriv --reuid "$user" --regid "$user" --init-groups --no-new-privs env $environment $command >"/$copy/$name.log" 2>&1 &
  pid=$!
  tries=0
  until in_copy python3 -c "import urllib.request; urllib.request.urlopen('$url', timeout=2)" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$pid" 2>/dev/null; then
      cat "/$copy/$name.log"
      echo "$name does not answer at $url"
      exit 1
    fi
    sleep 0.1
  done
  [ "$(ps -o user:32= -p "$(pgrep -f "^${command%% *} ")" | sort -u | wc -l)" = 1 ]
  echo "running $name as $(in_copy id -nu "$(ps -o uid= -p "$(pgrep -n -f "^${command%% *} ")" | tr -d ' ')")"
  pkill -TERM -f "^${command%% *} "
  wait "$pid" || true
}

before=$(snapshot)
cp "$deb" "$copy/erlops.deb"
in_copy dpkg -i /erlops.deb
in_copy erl-exporter --version
in_copy erl-deploy --version
in_copy erl-exporter --config.file /etc/erl-exporter/erl-exporter.yml --config.check
service erl-exporter http://127.0.0.1:9198/metrics
service erl-deploy http://127.0.0.1:9199/metrics
in_copy dpkg -i /erlops.deb # again, as an upgrade
in_copy dpkg --purge erlops
rm -f "$copy/erlops.deb" "$copy"/erl-exporter.log "$copy"/erl-deploy.log
after=$(snapshot)
if [ "$before" != "$after" ]; then
  echo "left behind, or taken away:"
  printf '%s\n' "$before" >"$work.before"
  printf '%s\n' "$after" | diff "$work.before" - || true
  exit 1
fi
echo "nothing is left"
