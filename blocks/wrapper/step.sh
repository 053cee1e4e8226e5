
# unfinished: how many predecessors of this step have not ended yet in this job.
unfinished() {
  left=0
  while read -r other; do
    [ "$other" != "$STEP" ] || break
    owner=''
    [ ! -r "$ALL/$other/stage.exit" ] || read -r _ _ owner _ <"$ALL/$other/stage.exit"
    [ "$owner" = "$JOB" ] || left=$((left + 1))
  done <"$ORDER"
}

# wait_for_turn: who is next looks often, at first; who has many before it seldom.
wait_for_turn() {
  unfinished
  [ "$left" -lt "$MAX" ] || stage waiting "$JOB waits for its turn"
  looked=0
  while [ "$left" -ge "$MAX" ]; do
    ahead=$((left - MAX))
    [ "$ahead" -ge "$MAX" ] || look_ahead
    if [ "$ahead" -ge 10 ]; then
      pause 2
    elif [ "$ahead" -ge "$MAX" ]; then
      pause 0.5
    elif [ "$looked" -lt 100 ]; then
      pause 0.05
    else
      pause 0.3
    fi
    looked=$((looked + 1))
    unfinished
  done
}

# look_ahead: whoever comes next asks once whether the endpoint is there, so that its turn begins at once.
look_ahead() {
  [ -z "$ASKED" ] && [ -n "$MODELS_URL" ] || return 0
  ASKED=$(date +%s)
  ! probes_pass || ANSWERED=$ASKED
}

# ready: the endpoint has answered within the last half minute.
ready() { [ -n "$ANSWERED" ] && [ "$(date +%s)" -lt "$((ANSWERED + 30))" ]; }

PROBE='
import sys, urllib.error, urllib.request
url, body = sys.argv[1:3]
try:
    with urllib.request.urlopen(url, timeout=10) as answer:
        open(body, "wb").write(answer.read())
        print(answer.status)
except urllib.error.HTTPError as error:
    print(error.code)
except Exception as error:
    print("000", getattr(error, "reason", error))
'

# probe URL: sets STATUS to the HTTP status, or to 000 and the reason; the answer is in $OUT/.probe.
probe() {
  rm -f "$OUT/.probe"
  if command -v curl >/dev/null 2>&1; then
    STATUS=$(curl -sS -m 10 -o "$OUT/.probe" -w '%{http_code}' "$1" 2>"$OUT/.probe.err") ||
      STATUS="000 $(head -n 1 "$OUT/.probe.err")"
  elif command -v python3 >/dev/null 2>&1; then
    STATUS=$(python3 -I -S -c "$PROBE" "$1" "$OUT/.probe")
  elif command -v wget >/dev/null 2>&1; then
    STATUS=$(wget -S -T 10 -O "$OUT/.probe" "$1" 2>&1 | sed -n 's|^ *HTTP/[0-9.]* \([0-9]*\).*|\1|p' | tail -n 1)
    [ -n "$STATUS" ] || STATUS='000 wget got no answer'
  else
    say "no curl, python3 or wget here, so $1 is not probed"
    STATUS=skipped
  fi
  rm -f "$OUT/.probe.err"
}

server_dead() {
  owner=''
  [ ! -r "$ALL/$SERVER/stage.exit" ] || read -r _ _ owner _ <"$ALL/$SERVER/stage.exit"
  [ "$owner" = "$JOB" ]
}

# preparing: the server is not even about to start, so whatever answers at its port is another one; sets WHY.
preparing() {
  owner=''
  [ ! -r "$ALL/$SERVER/stage.preparing" ] || read -r _ owner words <"$ALL/$SERVER/stage.preparing"
  [ "$owner" = "$JOB" ] && WHY=$words
}

# until_ready WHAT: call probes_pass until it succeeds or the time is up.
until_ready() {
  deadline=$(($(date +%s) + READY_TIMEOUT))
  told=''
  until probes_pass; do
    ! server_dead || finish 69 "server died before it answered"
    ! preparing || deadline=$(($(date +%s) + READY_TIMEOUT))
    [ "$(date +%s)" -lt "$deadline" ] || finish 69 "$1 did not answer within $READY_TIMEOUT s: $WHY"
    [ "$told" = "$WHY" ] || stage waiting "$JOB waits for the $1: $WHY"
    told=$WHY
    pause 1
  done
  stage waiting "$JOB"
}

probes_pass() {
  if [ -n "$HEALTH_URL" ]; then
    ! preparing || return 1
    probe "$HEALTH_URL"
    WHY="$HEALTH_URL answers $STATUS"
    case $STATUS in 200 | skipped) ;; *) return 1 ;; esac
    probe "$MODELS_URL"
    WHY="$MODELS_URL does not list the model $MODEL"
    [ "$STATUS" != skipped ] || return 0
    [ "$STATUS" = 200 ] && grep -qF "$MODEL_AS_JSON" "$OUT/.probe" || return 1
    mv -f "$OUT/.probe" "$OUT/server-models.json"
    return 0
  fi
  probe "$MODELS_URL"
  case $STATUS in 000*) WHY="$MODELS_URL: ${STATUS#000 }" ;; *) WHY="$MODELS_URL answers $STATUS" ;; esac
  # a gateway answers also while nothing is behind it; any other answer is one of the endpoint (501: it knows no such route)
  case $STATUS in 000* | 50[02-9] | 5[1-9]?) return 1 ;; esac
  if [ "$STATUS" = 200 ] && [ -s "$OUT/.probe" ]; then mv -f "$OUT/.probe" "$OUT/server-models.json"; fi
  rm -f "$OUT/.probe"
}

# own_adapter_port: nemo-evaluator takes the first free port from 3825 on; two of them that start together on one network
# take the same, and the second then asks through the adapter (and the cache) of the first. So every step draws its own.
own_adapter_port() {
  [ -z "${ADAPTER_PORT:-}" ] || return 0
  for _ in 1 2 3 4 5 6 7 8; do
    drawn=$(od -An -N2 -tu2 /dev/urandom 2>/dev/null | tr -d ' ')
    [ -n "$drawn" ] || return 0
    ADAPTER_PORT=$((10240 + drawn % 20000))
    grep -qs ":$(printf '%04X' "$ADAPTER_PORT") " /proc/net/tcp /proc/net/tcp6 || break
  done
  export ADAPTER_PORT
}

COUNTER='
import os, pathlib, sqlite3, sys, time
out, parent, last = pathlib.Path(sys.argv[1]), os.getppid(), None
cache, told, fresh = out / "cache/responses/cache.db", out / ".proctor/requests", out / ".proctor/.requests"
while os.getppid() == parent:
    time.sleep(float(sys.argv[2]))
    try:
        if not cache.exists():
            continue
        base = sqlite3.connect(cache.absolute().as_uri() + "?mode=ro", uri=True, timeout=1)
        count = int(base.execute("select value from Settings where key = \"count\"").fetchone()[0])
        base.close()
        if count != last:
            fresh.write_text("%d\n" % count)
            fresh.rename(told)
            last = count
    except Exception:
        pass
'

# count_answers: keep the number of answers in the response cache in .proctor/requests. Only here, where the harness
# writes it, may its database be opened.
count_answers() {
  [ -n "$COUNT" ] && command -v python3 >/dev/null 2>&1 || return 0
  python3 -I -S -c "$COUNTER" "$OUT" "$COUNT" </dev/null >/dev/null 2>&1 &
  COUNTING=$!
}

# seconds_for_post: sets LEFT to the seconds that post_cmd may take (empty for any number), and SIGNAL to what ends it.
seconds_for_post() {
  LEFT='' SIGNAL=USR2
  if [ -n "$STOPPED" ]; then
    LEFT=$((STOPPED + GRACE - $(date +%s)))
  elif [ -n "$TIMED_OUT" ]; then
    LEFT=$GRACE
  elif [ -n "$TIMEOUT" ]; then
    LEFT=$((BEGUN + TIMEOUT - $(date +%s)))
    SIGNAL=USR1
  fi
}

# run_post: post_cmd has what is left of the limit or, after its harness was told to end, of the grace. The harness's end counts.
run_post() {
  [ -n "$POST" ] || return 0
  seconds_for_post
  if [ -n "$LEFT" ] && [ "$LEFT" -le 0 ]; then
    say "no time is left for post_cmd"
    return 0
  fi
  harness_code=$CODE harness_late=$TIMED_OUT
  "$SHELL_PATH" -c "$POST" &
  CHILD=$!
  [ -z "$LEFT" ] || watchdog "$LEFT" "$SIGNAL"
  run_child
  [ "$CODE" = 0 ] || say "post_cmd ended with $CODE$([ "$TIMED_OUT" = "$harness_late" ] || echo ": the limit of $TIMEOUT s is over")"
  [ -z "$DOG" ] || kill "$DOG" 2>/dev/null
  DOG=''
  sweep
  CHILD='' CODE=$harness_code TIMED_OUT=$harness_late
}

# memory_kills: how many processes of our memory group the kernel has killed so far; nothing where it does not say.
memory_kills() {
  for file in "/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup 2>/dev/null)/memory.oom_control" \
    /sys/fs/cgroup/memory/memory.oom_control \
    "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup 2>/dev/null)/memory.events" /sys/fs/cgroup/memory.events; do
    [ -r "$file" ] && sed -n 's/^oom_kill //p' "$file" && return 0
  done
}

judge() {
  if [ -n "$TIMED_OUT" ]; then
    finish 124 "timed out after $TIMEOUT s"
  elif [ -n "$STOPPED" ]; then
    interrupted
  elif [ "$CODE" = 0 ] && [ -f "$OUT/.nemo_evaluator_interrupted" ]; then
    finish 143 "the harness was interrupted"
  elif [ "$CODE" = 0 ] && [ ! -s "$OUT/results.yml" ]; then
    finish 65 "the harness ended with 0 and left no results.yml"
  elif [ "$CODE" != 0 ] && [ "$(memory_kills)" != "$KILLED" ]; then
    finish "$CODE" "out of memory: the kernel killed a process of it"
  fi
  finish "$CODE"
}

# What is asked on this machine never goes through a proxy, by us or by the harness.
NO_PROXY=${no_proxy:-${NO_PROXY:-}}
NO_PROXY=${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost
no_proxy=$NO_PROXY
export NO_PROXY no_proxy

claim
rm -f "$OUT/results.yml" "$OUT/.nemo_evaluator_interrupted" "$OUT/.nemo_evaluator_server_error" "$OUT/server-models.json"
stage pre-start "$JOB"
ASKED='' ANSWERED=''
wait_for_turn
# its turn may have come because the whole job is told to end
[ ! -e "${ORDER%/*}/stopping" ] || interrupted
[ -z "$MODELS_URL" ] || ready || if [ -n "$HEALTH_URL" ]; then until_ready server; else until_ready endpoint; fi
! overtaken || exit 0
own_adapter_port
stage running "$JOB"
COUNTING=''
count_answers
BEGUN=$(date +%s) KILLED=$(memory_kills)
"$SHELL_PATH" -c "$COMMAND" &
CHILD=$!
[ -z "$TIMEOUT" ] || watchdog "$TIMEOUT" USR1
told_before_it_began
run_child
[ -z "$DOG" ] || kill "$DOG" 2>/dev/null
DOG=''
[ -z "$COUNTING" ] || kill "$COUNTING" 2>/dev/null
sweep
CHILD=''
run_post
judge
