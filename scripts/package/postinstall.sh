#!/bin/sh
# Runs when the files of the package are there: makes the users, and lets them read
# their configurations. Services that run are started anew, others are not started.
set -e
for name in erl-exporter erl-deploy; do
  getent passwd "$name" >/dev/null ||
    useradd --system --user-group --home-dir "/var/lib/$name" --no-create-home --shell /usr/sbin/nologin "$name"
  chgrp "$name" "/etc/$name" "/etc/$name/$name.yml"
done
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart erl-exporter.service erl-deploy.service
fi
