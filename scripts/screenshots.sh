#!/usr/bin/env bash
# Takes the pictures of the README anew (`make screenshots`): the demo runs until its
# curves have a past, and Chromium looks at it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

install_packages chromium fonts-dejavu-core
scripts/setup-e2e.sh servers prometheus alertmanager graphite preview
go build -o bin/demo ./internal/demo
log=$(mktemp)
bin/demo -whole -preview -cache "$cache" -exporter bin/erl-exporter >"$log" 2>&1 &
demo=$!
trap 'kill "$demo" 2>/dev/null; wait "$demo" 2>/dev/null || true; rm -f "$log"' EXIT
until grep -q 'Five things' "$log"; do
  kill -0 "$demo" || die "the demo did not start: $(<"$log")"
  sleep 1
done

# address NAME: where a server of the demo is.
address() { awk -v name="$1" '$1 == name { print $2 }' "$log"; }

say "waiting six minutes for curves to look at"
sleep 360
shoot() { node "$cache/preview/shoot.mjs" "$@"; }
shoot "$(address exporter)" docs/img/nodes.png 1100 520
shoot "$(address dashboards)d/erlops-fleet?from=now-5m" docs/img/fleet.png 1300 1150
shoot "$(address dashboards)d/erlops-node?from=now-5m&var-node=shop@localhost" docs/img/node.png 1300 1150
say "recording a session of top with RabbitMQ"
go test -tags e2e -count 1 -run TestRecordTop ./cmd/erl-exporter -record
