# Process 1 of a host: makes its file system, then keeps sshd running.
# shellcheck shell=bash
set -eu
dir=$1 name=$2 user=$3 size=$4
# /proc is still the machine's, and so is the number in it.
read -r outside _ </proc/self/stat
disk=$dir/disk root=$dir/disk/root
mkdir -p "$disk"
mount --make-rprivate /
mount -t tmpfs -o "size=$size,mode=755" disk "$disk"
mkdir "$disk/up" "$disk/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$disk/up,workdir=$disk/work" overlay "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=700 tmpfs root
mkdir run/sshd
ip link set lo up
hostname "$name"
echo "$name" >etc/hostname
printf '127.0.0.1 localhost\n' >etc/hosts
rm -f etc/nologin etc/ssh/ssh_host_*
cp "$dir/hostkey" etc/ssh/ssh_host_ed25519_key
chmod 600 etc/ssh/ssh_host_ed25519_key
# A password that is no hash lets nobody in, but does not lock the account.
if [ "$user" = root ]; then
  home=root
  chroot . usermod -p '*' root
else
  home=home/$user
  chroot . useradd -m -s /bin/bash -p '*' "$user"
fi
mkdir -p "$home/.ssh"
cp "$dir/authorized_keys" "$home/.ssh/authorized_keys"
[ ! -e "$dir/profile" ] || cp "$dir/profile" "$home/.bashrc"
chroot . chown -R "$user:" "/$home"
chmod 700 "$home/.ssh"
cp "$dir/sshd_config" etc/ssh/sshd_config
if [ -e "$dir/machine" ]; then
  mv usr/bin/uname usr/bin/uname.real
  # shellcheck disable=SC2016 # expanded when the script runs
  printf '#!/bin/sh\nif [ "$*" = -m ]; then echo %s; else exec /usr/bin/uname.real "$@"; fi\n' "$(cat "$dir/machine")" >usr/bin/uname
  chmod 755 usr/bin/uname
fi
echo "$outside" >"$dir/pid.new"
mv "$dir/pid.new" "$dir/pid"
set +e
while :; do
  while [ -e "$dir/down" ]; do sleep 0.02; done
  chroot . /usr/sbin/sshd -D -e &
  wait $!
done
