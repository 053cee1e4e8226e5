# Ends jobs, or one step of them, and waits until they are gone.
command -v scancel >/dev/null 2>&1 || . /etc/profile >/dev/null 2>&1
IDS=

# id_of FOLDER ID NAME: sets ID; a job that was submitted by somebody who died before writing its id is found by name.
id_of() {
  ID=$2
  if [ -s "$1/job_id" ]; then read -r ID <"$1/job_id"; fi
  [ -n "$ID" ] || ID=$(squeue -h -t all -u "$(id -un)" -n "$3" -o %i | tail -n 1)
}

# look ID: sets SAID to what Slurm says about it, `user|state|name`; empty when it says nothing.
look() { SAID=$(squeue -h -j "$1" -o '%U|%T|%j' 2>/dev/null | head -n 1); }

# another NAME: it is not the job that we know by this id: a controller that was killed gives an id a second time. A
# name that is not ours is no proof, for a cluster may rename what is submitted.
another() {
  case $SAID in
    '') return 1 ;;
    *"|proctor-"*) [ "${SAID##*|}" != "$1" ] ;;
    *) [ "${SAID%%|*}" != "$(id -u)" ] ;;
  esac
}

# live: Slurm still has something to end.
live() { case $SAID in '' | *'|COMPLETING|'*) return 1 ;; esac }

# meant STEP_FOLDER NAME: the step is ended on purpose, and its wrapper may know.
meant() { [ ! -d "$1/.proctor/claim-$2" ] || : >"$1/.proctor/cancel-$2"; }

# job FOLDER ID NAME WHY STEP_FOLDER...
job() {
  id_of "$1" "$2" "$3"
  rm -rf "$1/private"
  name=$3
  [ -n "$ID" ] || return 0
  look "$ID"
  ! another "$name" || return 0
  IDS=$IDS,$ID
  live || return 0
  [ -e "$1/why" ] || printf '%s\n' "$4" >"$1/why"
  shift 4
  for step in "$@"; do meant "$step" "$name"; done
}

# end_jobs SECONDS: a word to Slurm, and then until it has ended them.
end_jobs() {
  IDS=${IDS#,}
  [ -n "$IDS" ] || return 0
  # shellcheck disable=SC2046
  scancel $(printf %s "$IDS" | tr , ' ') 2>&1 | grep -v 'nvalid job id' | sed 's/^/@failed /'
  n=$(($1 * 4))
  while [ "$n" -gt 0 ] && squeue -h -j "$IDS" -o %T 2>/dev/null | grep -q .; do
    sleep 0.25
    n=$((n - 1))
  done
  # on a node that does not answer a job is ending for ever
  left=$(squeue -h -j "$IDS" -o '%i %T' 2>&1 | grep -v -e COMPLETING -e 'nvalid job id' | tr '\n' ' ')
  [ -z "$left" ] || printf '@failed %s\n' "after $1 s Slurm still says: $left"
}

# step FOLDER ID NAME STEP_FOLDER NUMBER SECONDS: a step that has not begun never will; one that runs is told to end.
step() {
  id_of "$1" "$2" "$3"
  mkdir -p "$4/.proctor"
  if mkdir "$4/.proctor/claim-$3" 2>/dev/null; then
    printf '%s 143 %s cancelled before it started\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$3" >"$4/stage.exit.tmp"
    mv -f "$4/stage.exit.tmp" "$4/stage.exit"
    return 0
  fi
  [ -n "$ID" ] || return 0
  look "$ID"
  ! another "$3" || return 0
  meant "$4" "$3"
  signal "$5" TERM || return 0
  n=$(($6 * 4))
  while [ "$n" -gt 0 ] && ! said "$4" "$3"; do
    sleep 0.25
    n=$((n - 1))
  done
  said "$4" "$3" || signal "$5" KILL
}

# signal NUMBER SIGNAL: to one step of the job ID; a controller that is away is no success.
signal() {
  if ! steps=$(squeue -h -s -j "$ID" -o '%i|%j' 2>&1); then
    case $steps in *'nvalid job id'*) return 0 ;; esac
    printf '@failed %s\n' "$(printf '%s' "$steps" | tr '\n' ' ')"
    return 1
  fi
  printf '%s\n' "$steps" | while IFS='|' read -r sid called; do
    [ "$called" != "step-$1" ] || scancel -s "$2" "$sid" 2>&1 | grep -v 'nvalid job id' | sed 's/^/@failed /'
  done
}

# said FOLDER NAME: the step has written its last word.
said() {
  owner=
  [ ! -r "$1/stage.exit" ] || read -r _ _ owner _ <"$1/stage.exit"
  [ "$owner" = "$2" ]
}
