# Everything there is to know about some jobs, in one go. Slurm is asked before the files are read: a job that has ended
# has then said its last word.
command -v squeue >/dev/null 2>&1 || . /etc/profile >/dev/null 2>&1
IDS=
line=
queued=

# first FILE: its first line; fails when there is none.
first() { line= && [ -r "$1" ] && { IFS= read -r line <"$1" || [ -n "$line" ]; }; }

# job FOLDER ID: collects the ids to ask for.
job() {
  if first "$1/job_id"; then IDS=$IDS,$line; elif [ -n "$2" ]; then IDS=$IDS,$2; fi
}

queue() {
  IDS=${IDS#,}
  [ -n "$IDS" ] || return 0
  if queued=$(squeue -h -t all -j "$IDS" -o '%i|%T|%S|%e|%M|%l|%N|%U|%j|%r' 2>&1); then
    printf '%s\n' "$queued" | sed 's/^/@Q /'
  else
    case $queued in
      *'nvalid job id'*) queued= ;;
      *) printf '@queue-failed %s\n' "$(printf '%s' "$queued" | tr '\n' ' ')" && queued= ;;
    esac
  fi
  case $queued in *'|PENDING|'*) rank ;; esac
  account
}

# rank: the place of our pending jobs among all that wait in their partition.
rank() {
  squeue -h -t PD -S P,-p,i -o '%P %A' 2>/dev/null |
    awk -v ids=",$IDS," '
      { place[$1]++; if (index(ids, "," $2 ",") && !($2 in seen)) { seen[$2] = place[$1]; part[$2] = $1 } }
      END { for (id in seen) print "@R " id " " seen[id] " " place[part[id]] }'
}

# account: sacct about those that squeue does not list (any more).
account() {
  missing=$(printf '%s\n' "$queued" | awk -F'|' -v ids="$IDS" '
    { known[$1] = 1 }
    END { n = split(ids, id, ","); for (i = 1; i <= n; i++) if (!(id[i] in known)) out = out "," id[i]; print substr(out, 2) }')
  [ -n "$missing" ] || return 0
  if answer=$(sacct -n -X -P -j "$missing" -o JobIDRaw,State,ExitCode,Start,End,NodeList,UID,JobName 2>&1); then
    printf '%s\n' "$answer" | sed -n 's/^[0-9]/@A &/p'
  else
    printf '@account-failed %s\n' "$(printf '%s' "$answer" | tr '\n' ' ')"
  fi
}

# listed ID: whether squeue has said something about it.
listed() {
  case "
$queued" in *"
$1|"*) ;; *) return 1 ;; esac
}

# files I FOLDER ROOT NAME SERVER STEP...: the words of job I and of its steps; SERVER is the folder of its server.
files() {
  i=$1 folder=$2 root=$3 server=$5
  shift 5
  k=0 trace='' id=''
  for word in job_id why begun; do
    first "$folder/$word" || continue
    printf '@J %s %s %s\n' "$i" "$word" "$line"
    if [ "$word" = job_id ]; then id=$line; else trace=1; fi
  done
  for step in "$@"; do
    ran=
    for stage in pre-start waiting running exit; do
      first "$root/$step/stage.$stage" || continue
      printf '@S %s %s %s %s\n' "$i" "$k" "$stage" "$line"
      trace=1
      [ "$stage" != running ] || ran=1
    done
    [ -z "$ran" ] || ! { first "$root/$step/progress" || first "$root/$step/.proctor/requests"; } ||
      printf '@C %s %s %s\n' "$i" "$k" "$line"
    ! first "$folder/digest.$step" || printf '@D %s %s %s\n' "$i" "$k" "$line"
    [ ! -e "$root/$step/server-models.json" ] || printf '@M %s %s\n' "$i" "$k"
    k=$((k + 1))
  done
  # of a job that wrote nothing ten minutes after its submission only Slurm can know
  [ -n "$trace" ] || listed "$id" || [ -z "$(find "$folder/job_id" -mmin +10 2>/dev/null)" ] ||
    printf '@J %s silent 1\n' "$i"
  [ -e "$folder/server" ] || return 0
  printf '@V %s here\n' "$i"
  for stage in pre-start preparing running exit; do
    ! first "$root/$server/stage.$stage" || printf '@V %s %s %s\n' "$i" "$stage" "$line"
  done
  ! first "$folder/digest.$server" || printf '@V %s digest %s\n' "$i" "$line"
  [ ! -e "$root/$server/stage.exit" ] ||
    tail -c 4000 "$root/$server/harness.log" 2>/dev/null | tail -n 20 | sed "s/^/@L $i /"
}
