#!/bin/sh
# Runs when the files are gone. Only a purge, which rpm does not know, takes what the
# services have written, and their users.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
[ "$1" = purge ] || exit 0
for name in erl-exporter erl-deploy; do
  rm -rf "/var/lib/${name:?}" "/var/log/${name:?}" "/etc/${name:?}"
  if getent passwd "$name" >/dev/null; then
    userdel "$name"
  fi
done
