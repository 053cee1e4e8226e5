umask 022

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# stage NAME WORDS: write a stage file whole, by rename.
stage() {
  stage_name=$1
  shift
  printf '%s %s\n' "$(now)" "$*" >"$OUT/.stage.$stage_name.tmp" &&
    mv -f "$OUT/.stage.$stage_name.tmp" "$OUT/stage.$stage_name"
}

say() { printf 'proctor: %s\n' "$*"; }

# claim: only the first process of this job name may run this step; a second one leaves without a trace. An engine that
# starts again what it took off its machine says who it is by PROCTOR_CLAIMANT, and finds its own claim.
claim() {
  mkdir -p "$OUT/.proctor" || exit 73
  if mkdir "$OUT/.proctor/claim-$JOB" 2>/dev/null; then
    [ -z "${PROCTOR_CLAIMANT:-}" ] || echo "$PROCTOR_CLAIMANT" >"$OUT/.proctor/claim-$JOB/owner"
  elif [ ! -d "$OUT/.proctor/claim-$JOB" ]; then
    say "cannot write to $OUT" >&2
    exit 73
  elif [ -n "${PROCTOR_CLAIMANT:-}" ] && [ "$(cat "$OUT/.proctor/claim-$JOB/owner" 2>/dev/null)" = "$PROCTOR_CLAIMANT" ]; then
    say "this job lost its machine and starts again"
  else
    exit 0
  fi
  echo $$ >"$OUT/.proctor/claim-$JOB/pid"
  echo "$JOB" >"$OUT/.proctor/owner"
  rm -f "$OUT/stage.running" "$OUT/stage.waiting" "$OUT/stage.exit"
}

# overtaken: a later attempt has taken the step up, while this one ran on a node that nobody could reach.
overtaken() {
  latest=$JOB
  [ ! -r "$OUT/.proctor/owner" ] || read -r latest <"$OUT/.proctor/owner"
  [ "$latest" != "$JOB" ]
}

finish() {
  finish_code=$1
  shift
  trap '' TERM INT USR1 USR2
  [ -z "$DOG" ] || kill "$DOG" 2>/dev/null
  ! overtaken || exit "$finish_code"
  [ -z "$*" ] || say "$*"
  stage exit "$finish_code $JOB $*"
  # where the folders of the steps are separate volumes, the next in line looks here
  [ -z "$ALL" ] || [ -d "$ALL/$STEP" ] ||
    { mkdir "$ALL/$STEP" && cp "$OUT/stage.exit" "$ALL/$STEP/.exit" && mv "$ALL/$STEP/.exit" "$ALL/$STEP/stage.exit"; }
  exit "$finish_code"
}

# interrupted: somebody told us to end. Who cancels a step says so in a file; a reboot or an administrator does not.
interrupted() {
  if [ -e "$OUT/.proctor/cancel-$JOB" ]; then finish 143 "cancelled"; else finish 143 "interrupted by TERM"; fi
}

# pause SECONDS: a sleep that a signal can end.
pause() {
  sleep "$1" 2>/dev/null &
  wait $! || true
  [ -z "$STOPPED" ] || interrupted
}

# watchdog SECONDS SIGNAL: send ourselves a signal later; `kill "$DOG"` calls it off.
watchdog() {
  [ -z "$DOG" ] || kill "$DOG" 2>/dev/null
  (
    trap 'kill "$nap" 2>/dev/null; exit 0' TERM
    sleep "$1" &
    nap=$!
    wait "$nap" && kill -s "$2" $$
  ) &
  DOG=$!
}

# end_child SIGNAL
end_child() { [ -z "$CHILD" ] || kill -s "$1" "$CHILD" 2>/dev/null; }

# told_before_it_began: a signal that came while the child was being started reached nobody.
told_before_it_began() {
  [ -n "$STOPPED" ] || return 0
  end_child TERM
  watchdog "$GRACE" USR2
}

# sweep: kill what the child left behind, also in other sessions (harnesses use pseudo terminals); elsewhere than on Linux nothing.
sweep() {
  [ -n "$PROCTOR_STEP" ] || return 0
  found=$(grep -lsF "PROCTOR_STEP=$JOB/$STEP/" /proc/[0-9]*/environ)
  for entry in $found; do
    pid=${entry#/proc/}
    pid=${pid%/environ}
    [ "$pid" = "$$" ] || [ "$pid" = 1 ] || kill -s KILL "$pid" 2>/dev/null
  done
  return 0
}

# run_child: CHILD runs; wait for its end through any number of signals. Sets CODE.
run_child() {
  while :; do
    wait "$CHILD"
    CODE=$?
    kill -0 "$CHILD" 2>/dev/null || break
  done
}

SHELL_PATH=$(command -v bash || command -v sh)
CHILD='' DOG='' STOPPED='' TIMED_OUT='' CODE=0
# STOPPED: when we were told to end, in seconds since the epoch
trap 'STOPPED=$(date +%s); end_child TERM; [ -z "$CHILD" ] || watchdog "$GRACE" USR2' TERM INT
trap 'TIMED_OUT=1; end_child TERM; watchdog "$GRACE" USR2' USR1
trap 'end_child KILL' USR2
trap '' HUP
