# follow FILE FROM TAIL STAGE NAME FOLLOW IDFILE ID: prints `@from BYTES` and then the file from there; with FOLLOW until
# the step ends, and never longer than somebody listens.
follow() {
  file=$1 from=$2 wanted=$3 stage=$4 name=$5 idfile=$7 id=$8 looks=0 tail='' watcher=''
  [ -z "$6" ] || listen
  while [ -n "$6" ] && [ ! -e "$file" ] && ! over; do sleep 0.3; done
  [ -e "$file" ] || exit 0
  [ -n "$from" ] || from=$(($(wc -c <"$file") - $(tail -n "$wanted" "$file" | wc -c)))
  printf '\n@from %s\n' "$from"
  if [ -z "$6" ]; then
    tail -c +$((from + 1)) "$file"
    return
  fi
  # it reads once more when this process is gone, so nothing is lost where it is slow
  (while ! over; do sleep 0.3; done; sleep 0.5) &
  watcher=$!
  tail -c +$((from + 1)) -s 0.3 --pid="$watcher" -f "$file" &
  tail=$!
  wait "$tail"
}

# listen: end when our standard input does.
listen() {
  trap 'exit 0' TERM
  trap 'kill $tail $watcher "$listener" 2>/dev/null' EXIT
  (cat >/dev/null; kill "$$") <&3 2>/dev/null &
  listener=$!
}

# over: the step has written its last word, or Slurm does not know its job any more, which is asked every 15 seconds.
over() {
  owner=
  [ ! -r "$stage" ] || read -r _ _ owner _ <"$stage"
  [ "$owner" != "$name" ] || return 0
  looks=$((looks + 1))
  [ $((looks % 50)) -eq 0 ] && left
}

# left: Slurm has nothing to run of this job any more; a controller that is away says nothing about it.
left() {
  command -v squeue >/dev/null 2>&1 || . /etc/profile >/dev/null 2>&1
  [ ! -s "$idfile" ] || read -r id <"$idfile"
  [ -n "$id" ] || return 1
  if states=$(squeue -h -j "$id" -o %T 2>&1); then
    [ -z "$states" ]
  else
    case $states in *'nvalid job id'*) return 0 ;; *) return 1 ;; esac
  fi
}
