# marked NODE: the processes of a node, found by what they have inherited
# wherever they moved to; epmd, which other nodes may use, is left out.
[ -r /proc/self/environ ] || never "the host has no /proc to find processes in"
with() { grep -lsF "$1" /proc/[0-9]*/environ | while read -r file; do file=${file#/proc/}; echo "${file%/environ}"; done; }
called() { [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]; }
marked() { for pid in $(with "ERL_DEPLOY_NODE=$1"); do called "$pid" epmd || echo "$pid"; done; }
