# NODE NAME GRACE: ends a node's processes, kindly for GRACE tenths of a second.
# NAME is what epmd knows it as.
pause() { sleep 0.1 2>/dev/null || sleep 1; }
pids=$(marked "$1") rounds=0
# shellcheck disable=SC2086 # a list of numbers
[ -z "$pids" ] || kill -TERM $pids 2>/dev/null || :
while [ -n "$pids" ]; do
  rounds=$((rounds + 1))
  [ "$rounds" -lt $(($3 + 100)) ] || later "processes do not end: $pids"
  # shellcheck disable=SC2086 # a list of numbers
  [ "$rounds" -le "$3" ] || kill -KILL $pids 2>/dev/null || :
  pause
  pids=$(marked "$1")
done
# An epmd that one of our nodes has started ends with the last node that it
# knows, whoever started that one. /proc has its program even when the node's
# files are gone. epmd refuses to end while it knows a node.
for pid in $(with ERL_DEPLOY_NODE=); do
  called "$pid" epmd || continue
  port=$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^ERL_EPMD_PORT=//p')
  rounds=0
  while [ $rounds -lt 30 ] && called "$pid" epmd; do
    names=$("/proc/$pid/exe" -port "${port:-4369}" -names 2>/dev/null || :)
    case $names in
      *"name $2 at "*) ;; # has not noticed yet
      *"
name "*) break ;;
      *) "/proc/$pid/exe" -port "${port:-4369}" -kill >/dev/null 2>&1 || : ;;
    esac
    rounds=$((rounds + 1))
    pause
  done
done
