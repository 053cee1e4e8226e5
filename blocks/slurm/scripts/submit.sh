# Submits every job of one upload, each exactly once, and answers a line for each: `@proctor VERB NAME WORDS`.
# A job's folder is claimed by renaming it into place; who finds it there asks Slurm for a job of that name first.
umask 022
command -v sbatch >/dev/null 2>&1 || . /etc/profile >/dev/null 2>&1
say() { printf '@proctor %s\n' "$(printf '%s' "$*" | tr '\n' ' ')"; }

# find_job NAME: sets ID to the newest job of this name that Slurm knows, ended or not; fails when it cannot be asked.
find_job() {
  ID=$(squeue -h -t all -u "$(id -un)" -n "$1" -o %i) || return 1
  ID=$(printf '%s\n' "$ID" | sort -n | tail -n 1)
  [ -z "$ID" ] || return 0
  ID=$(sacct -n -X -P -S now-30days -u "$(id -un)" --name "$1" -o JobIDRaw 2>/dev/null | tail -n 1)
  return 0
}

# keep FOLDER ID: remember the job's id, whole.
keep() { printf '%s\n' "$2" >"$1/job_id.tmp" && mv -f "$1/job_id.tmp" "$1/job_id"; }

# submit NAME FOLDER UPLOADED STEP...
submit() {
  name=$1 folder=$2 new=$3
  shift 3
  for step in "$@"; do mkdir -p "$step"; done
  fresh=
  if mv -T "$new" "$folder" 2>/dev/null; then fresh=1; else rm -rf "$new"; fi
  exec 8>>"$folder/lock"
  flock -w 60 8 || { say "unsure $name another submission of it is under way"; return; }
  submit_locked "$name" "$folder"
  exec 8>&-
  rmdir "${new%/*}" 2>/dev/null
}

submit_locked() {
  if [ -s "$2/job_id" ]; then
    read -r ID <"$2/job_id"
    say "adopted $1 $ID"
    return
  fi
  if [ -z "$fresh" ]; then
    find_job "$1" || { say "unsure $1 Slurm cannot be asked for it"; return; }
    if [ -n "$ID" ]; then
      keep "$2" "$ID"
      say "adopted $1 $ID"
      return
    fi
  fi
  if answer=$(cd "$2" && sbatch --parsable job.sh 2>&1); then
    ID=$(printf '%s\n' "$answer" | sed -n 's/^\([0-9][0-9]*\)\(;.*\)\{0,1\}$/\1/p' | tail -n 1)
    if [ -n "$ID" ]; then
      keep "$2" "$ID"
      say "submitted $1 $ID"
      return
    fi
  fi
  case $answer in
    *[Uu]'nable to contact'* | *'imed out'* | *'onnection refused'* | *'Zero Bytes'* | *'emporarily'* | *'onnection reset'* | \
      *'standby mode'* | *'ransport endpoint'* | *'authentication error'* | *'send/recv'*) say "unsure $1 $answer" ;;
    *)
      rm -rf "$2"
      say "refused $1 $answer"
      ;;
  esac
}
