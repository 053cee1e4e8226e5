# The frame of benchmarks on Lepton: it writes what the wrapper reads, runs it, and sends the results home.

PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
CURRENT='' ENDING='' END=0
trap 'ENDING=1; [ -z "$CURRENT" ] || kill -s TERM "$CURRENT" 2>/dev/null' TERM INT

say() { printf 'proctor: %s\n' "$*"; }

# until_ended PID: wait for a child's end through any number of signals. Sets CODE.
until_ended() {
  while :; do
    wait "$1"
    CODE=$?
    kill -0 "$1" 2>/dev/null || break
  done
}

# run BENCHMARK: one benchmark in a shell of its own, unless we were told to end. The first bad end is the job's.
run() {
  [ -z "$ENDING" ] || return 0
  ("$1") &
  CURRENT=$!
  [ -z "$ENDING" ] || kill -s TERM "$CURRENT" 2>/dev/null
  until_ended "$CURRENT"
  CURRENT=''
  [ "$CODE" = 0 ] || [ "$END" != 0 ] || END=$CODE
}

# alone FOLDER: of two jobs of one name that see the same volume the first may run; one that starts again finds its claim.
alone() {
  mkdir -p "$1/.proctor" || exit 73
  if mkdir "$1/.proctor/claim-$NAME" 2>/dev/null; then
    echo "${LEPTON_JOB_NAME:-}" >"$1/.proctor/claim-$NAME/owner"
  else
    [ "$(cat "$1/.proctor/claim-$NAME/owner" 2>/dev/null)" = "${LEPTON_JOB_NAME:-}" ]
  fi
}

# manifest FILES...: what must have arrived, with checksums
manifest() { find "$@" -type f ! -path './cache/*' ! -name "$JOB.sha256" -exec sha256sum {} + >"$ALL/manifest" && mv "$ALL/manifest" "$KEPT/$JOB.sha256"; }

upload() {
  if command -v curl >/dev/null 2>&1; then
    printf 'url = "%s"\n' "$PROCTOR_RESULTS_URL" | curl -fsS --retry 5 --retry-connrefused -T "$ALL/results.tar.gz" -K - >/dev/null
  elif command -v python3 >/dev/null 2>&1; then
    python3 -I -c "$PUT" "$ALL/results.tar.gz"
  else
    say 'no curl or python3 here, so the results cannot be uploaded'
    return 1
  fi
}

PUT='
import os, sys, time, urllib.request
for pause in (1, 2, 4, 8, None):
    try:
        with open(sys.argv[1], "rb") as archive:
            size = os.fstat(archive.fileno()).st_size
            ask = urllib.request.Request(os.environ["PROCTOR_RESULTS_URL"], archive, {"Content-Length": str(size), "Content-Type": ""}, method="PUT")
            urllib.request.urlopen(ask, timeout=600).read()
        break
    except OSError as error:
        if pause is None:
            sys.exit(f"proctor: the results cannot be uploaded: {type(error).__name__}")
        time.sleep(pause)
'

# print_archive: the archive as lines of text, each with its number, then the checksum of the whole
print_archive() {
  digest=$(sha256sum "$ALL/results.tar.gz")
  base64 -w 6000 "$ALL/results.tar.gz" >"$ALL/results.txt"
  parts=$(grep -c '' "$ALL/results.txt")
  part=0
  while read -r text; do
    part=$((part + 1))
    printf '@proctor-part %s %s/%s %s\n' "$KEY" "$part" "$parts" "$text"
  done <"$ALL/results.txt"
  printf '@proctor-sum %s %s %s\n' "$KEY" "$parts" "${digest%% *}"
}

# has_ended: whether this benchmark ended before its job lost its machine. Sets CODE.
has_ended() {
  owner=''
  [ ! -r "$OUT/stage.exit" ] || read -r _ CODE owner _ <"$OUT/stage.exit"
  [ "$owner" = "$JOB" ] || return 1
  case $CODE in '' | *[!0-9]*) CODE=1 ;; esac
}

# heed: end a benchmark that shares its job when somebody leaves the word that it is to be cancelled.
heed() {
  until [ -e "$KEPT/cancel-$JOB" ]; do
    sleep 1
  done
  kill -s TERM "$CHILD" 2>/dev/null
}

# run_wrapper: what it prints goes to the log and the folder. Sets CODE.
run_wrapper() {
  rm -f "$ALL/pipe"
  mkfifo "$ALL/pipe" || exit 73
  tee -a "$OUT/harness.log" <"$ALL/pipe" &
  TEE=$!
  # the mark is the wrapper's alone: it kills whatever else carries it when the benchmark has ended
  PROCTOR_STEP=$MARK PROCTOR_CLAIMANT=${LEPTON_JOB_NAME:-} /bin/sh "$KEPT/$JOB.sh" >"$ALL/pipe" 2>&1 &
  CHILD=$!
  [ -z "$STOPPED" ] || kill -s TERM "$CHILD" 2>/dev/null
  HEED=''
  if [ -n "$TOGETHER" ] && [ "$VIA" = mount ]; then
    heed &
    HEED=$!
  fi
  until_ended "$CHILD"
  [ -z "$HEED" ] || kill "$HEED" 2>/dev/null
  # who still holds the pipe is not waited for
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 "$TEE" 2>/dev/null || break
    sleep 0.2
  done
  kill "$TEE" 2>/dev/null
}

# send_home: the output as the section says, and the scores through the log where nothing else goes.
send_home() {
  cd "$OUT" || exit 73
  manifest .
  [ "$VIA" != mount ] || return 0
  tar -czf "$ALL/results.tar.gz" --exclude=./cache . 2>/dev/null || say 'the results cannot be packed'
  if [ "$VIA" = object ] && upload; then
    say 'the results are uploaded'
  elif [ "$(wc -c <"$ALL/results.tar.gz")" -le "$LOG_LIMIT" ]; then
    print_archive
  else
    say "the packed results have more than $LOG_LIMIT bytes, so only the scores go through the log"
    tail -n 500 harness.log >"$ALL/tail" && cp "$ALL/tail" harness.log
    set -- .proctor harness.log
    for file in results.yml run_config.yml eval_factory_metrics.json stage.pre-start stage.running stage.exit; do
      [ ! -e "$file" ] || set -- "$@" "$file"
    done
    manifest "$@"
    tar -czf "$ALL/results.tar.gz" "$@" && print_archive
  fi
}

# frame: the benchmark STEP in the folder OUT, from claim to the way home of its results.
frame() {
  CHILD='' STOPPED=''
  trap 'STOPPED=1; [ -z "$CHILD" ] || kill -s TERM "$CHILD" 2>/dev/null' TERM INT
  KEPT=$OUT/.proctor
  mkdir -p "$KEPT" "$ALL/.proctor" || exit 73
  printf '%s\n' "$STEP" >"$ORDER"
  printf '%s' "$RUN_CONFIG" >"$RUN_CONFIG_FILE"
  printf '%s%s' "$HEAD" "$BODY" >"$KEPT/$JOB.sh"
  printf '@proctor-begin %s\n' "$KEY"
  has_ended || run_wrapper
  send_home
  printf '@proctor-end %s\n' "$KEY"
  exit "$CODE"
}
