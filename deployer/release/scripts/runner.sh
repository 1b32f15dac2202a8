# Runs a command line and writes down how it ended. Whoever makes the link first
# is the one that runs it.
run=$1 id=$2 dir=$3 timeout=$4 guard=$5 aflags=$6 epmd=$7 line=$8
shift 8
printf '%s\n' "$$" >"$run.$$"
ln "$run.$$" "$run.pid" 2>/dev/null || { rm -f "$run.$$"; exit 0; }
rm -f "$run.$$"
trap '' HUP
unset ERL_DEPLOY_RUN
cd -P "$dir" || exit 0
[ -z "$aflags" ] || export ERL_AFLAGS="$aflags${ERL_AFLAGS:+ $ERL_AFLAGS}"
[ -z "$epmd" ] || export ERL_EPMD_PORT="$epmd"
[ $# = 0 ] || line="$line \"\$@\""
: >"$run.out"
(
  # The redirection has a shell of its own, because some shells say there that
  # a command was killed.
  # shellcheck disable=SC2016 # expanded by the inner shell
  (
    exec >>"$run.out" 2>&1
    export ERL_DEPLOY_NODE="$id"
    exec setsid sh -c 'printf "%s\n" "$$" >"$1.child"; shift; line=$1; shift; exec sh -c "$line" sh "$@"' sh "$run" "$line" "$@"
  )
  echo $? >"$run.exit.new"
  mv "$run.exit.new" "$run.exit"
) &
now() { date +%s; }
begin=$(now) late=0
until [ -e "$run.exit" ]; do
  sleep 0.05 2>/dev/null || sleep 1
  if [ "$timeout" -gt 0 ] && [ $(($(now) - begin)) -ge "$timeout" ]; then late=1; fi
  if [ -n "$guard" ] && ! kill -0 "$guard" 2>/dev/null; then late=1; fi
  # It leads a session of its own: all that has not left it ends with it.
  if [ $late = 1 ] && [ -s "$run.child" ]; then kill -KILL "-$(cat "$run.child")" 2>/dev/null; fi
done
printf '%s %s\n' "$(cat "$run.exit")" $late >"$run.status.new"
rm -f "$run.exit" "$run.child"
mv "$run.status.new" "$run.status"
# Nobody is left to remove what a command without a token wrote.
if [ -n "$guard" ] && ! kill -0 "$guard" 2>/dev/null; then rm -f "$run".*; fi
