#!/bin/sh
# Runs before the files go. An upgrade leaves the services as they are: dpkg says
# so with a word, rpm with the number of versions that stay.
set -e
case $1 in upgrade | 1) exit 0 ;; esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now erl-exporter.service erl-deploy.service
fi
