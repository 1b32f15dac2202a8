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

# OTP 29 does not load what matching a binary against a prefix compiles to when
# nobody reads the rest, as in f(<<"a", _/binary>>).
asm=$(mktemp -d)
trap 'rm -rf "$asm"' EXIT
erlc -S -o "$asm" erl_exporter_agent.erl
if grep -q bs_test_unit "$asm/erl_exporter_agent.S"; then
    echo "build.sh: OTP 29 refuses to load these functions; compare with binary:longest_common_prefix/1 instead:" >&2
    awk '/^{function/ { f = $2 $3 } /bs_test_unit/ { print "  " f }' "$asm/erl_exporter_agent.S" >&2
    exit 1
fi
