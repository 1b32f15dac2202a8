# NODE TOKEN KEEP RUNNER TIMEOUT AFLAGS EPMD LINE [ARG...]: runs a command line
# in the release's directory, once for each token, and prints how it ended and
# the end of its output. It is run by a process of its own, which goes on when
# the connection is lost; KEEP is empty for commands that then must end.
id=$1 token=$2 keep=$3 runner=$4 timeout=$5 aflags=$6 epmd=$7
shift 7
node=$HOME/$base/nodes/$id
[ -d "$node/current/." ] || never "node $id is not installed on the host"
[ -r /proc/self/environ ] || never "the host has no /proc to find processes in"
command -v setsid >/dev/null || never "the host has no setsid (util-linux)"
run=$node/runs/$token repeated=0 guard=$$
[ -z "$keep" ] || guard=
if [ -e "$run.pid" ]; then
  repeated=1
else
  unset LC_ALL
  HOME=$node/home ERL_DEPLOY_RUN=$token setsid sh -c "$runner" runner \
    "$run" "$id" "$node/current" "$timeout" "$guard" "$aflags" "$epmd" "$@" </dev/null >/dev/null 2>&1 &
fi
alive() { [ -e "$run.pid" ] && grep -qsF "ERL_DEPLOY_RUN=$token" "/proc/$(cat "$run.pid")/environ"; }
rounds=0
until [ -e "$run.status" ]; do
  rounds=$((rounds + 1))
  if [ $((rounds % 20)) = 0 ] && ! alive; then
    # It may have ended between the two looks.
    [ ! -e "$run.status" ] || break
    if [ -e "$run.pid" ]; then
      echo "lost" 0 0 $repeated
      tail -c 8192 "$run.out" 2>/dev/null || :
      exit
    fi
    [ $rounds -lt 200 ] || later "the command could not be started"
  fi
  sleep 0.05 2>/dev/null || sleep 1
done
echo "ended" "$(cat "$run.status")" $repeated
tail -c 8192 "$run.out"
[ -n "$keep" ] || rm -f "$run".*
