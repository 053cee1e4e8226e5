# follow FILE FROM TAIL STAGE NAME FOLLOW: prints `@from BYTES` and then the file from there; with FOLLOW until the step
# ends, and never longer than somebody listens.
follow() {
  file=$1 from=$2 wanted=$3 stage=$4 name=$5
  while [ -n "$6" ] && [ ! -e "$file" ] && ! over; do sleep 0.3; done
  [ -e "$file" ] || exit 0
  [ -n "$from" ] || from=$(($(wc -c <"$file") - $(tail -n "$wanted" "$file" | wc -c)))
  printf '@from %s\n' "$from"
  if [ -z "$6" ]; then
    tail -c +$((from + 1)) "$file"
    return
  fi
  tail -c +$((from + 1)) -f "$file" &
  tail=$!
  (cat >/dev/null; kill "$tail") <&3 2>/dev/null &
  listener=$!
  trap 'kill "$tail" "$listener" 2>/dev/null' EXIT
  while kill -0 "$tail" 2>/dev/null && ! over; do sleep 0.3; done
  sleep 0.5
}

# over: the step has written its last word, or Slurm does not know its job any more.
over() {
  owner=
  [ ! -r "$stage" ] || read -r _ _ owner _ <"$stage"
  [ "$owner" = "$name" ]
}
