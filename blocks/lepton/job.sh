# The frame of a benchmark on Lepton: it writes what the wrapper reads, runs it, and sends the results home.

say() { printf 'proctor: %s\n' "$*"; }

PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
KEPT=/results/.proctor
mkdir -p "$KEPT" "$ALL/.proctor" || exit 73
printf '%s\n' "$STEP" >"$ORDER"
printf '%s' "$RUN_CONFIG" >"$RUN_CONFIG_FILE"
printf '%s' "$WRAPPER" >"$KEPT/$JOB.sh"

CHILD=''
trap '[ -z "$CHILD" ] || kill -s TERM "$CHILD" 2>/dev/null' TERM INT
rm -f "$ALL/pipe"
mkfifo "$ALL/pipe" || exit 73
tee -a /results/harness.log <"$ALL/pipe" &
TEE=$!
# the mark is the wrapper's alone: it kills whatever else carries it when the benchmark has ended
PROCTOR_STEP=$MARK PROCTOR_CLAIMANT=${LEPTON_JOB_NAME:-} /bin/sh "$KEPT/$JOB.sh" >"$ALL/pipe" 2>&1 &
CHILD=$!
while :; do
  wait "$CHILD"
  CODE=$?
  kill -0 "$CHILD" 2>/dev/null || break
done
# who still holds the pipe is not waited for
for _ in 1 2 3 4 5 6 7 8 9 10; do
  kill -0 "$TEE" 2>/dev/null || break
  sleep 0.2
done
kill "$TEE" 2>/dev/null

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
  set -- $(sha256sum "$ALL/results.tar.gz")
  base64 -w 6000 "$ALL/results.tar.gz" >"$ALL/results.txt"
  parts=$(grep -c '' "$ALL/results.txt")
  part=0
  while read -r text; do
    part=$((part + 1))
    printf '@proctor-part %s %s/%s %s\n' "$KEY" "$part" "$parts" "$text"
  done <"$ALL/results.txt"
  printf '@proctor-sum %s %s %s\n' "$KEY" "$parts" "$1"
}

cd /results || exit 73
manifest .
case $VIA in
mount) ;;
*)
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
  ;;
esac
exit "$CODE"
