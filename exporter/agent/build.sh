#!/bin/sh
# Compiles the agent twice: ebin/otp23 is loaded by OTP 23 and 24, ebin/otp25 by
# OTP 25 to 29. Needs the erlc of OTP 25, whose output is committed; the
# compilation is deterministic. `make agents` runs it; with an argument the
# beams go to that folder instead of ebin.
set -eu
here=$(dirname "$(readlink -f "$0")")
out=${1:-$here/ebin}
release=$(erl -noinput -eval 'io:put_chars(erlang:system_info(otp_release)), halt().')
if [ "$release" != 25 ]; then
    echo "build.sh: the agent is compiled with OTP 25, this is OTP $release" >&2
    exit 1
fi
mkdir -p "$out/otp23" "$out/otp25"
cd "$here/erl_exporter_agent/src"
erlc -Werror +deterministic +r23 -o "$out/otp23" erl_exporter_agent.erl
erlc -Werror +deterministic -o "$out/otp25" erl_exporter_agent.erl
