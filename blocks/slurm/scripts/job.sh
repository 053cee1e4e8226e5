# From here on the same for every job. Each step and the server is a function above; nothing here needs the orchestrator.
WORK=$ROOT/.proctor/$JOB
export PROCTOR_EVALUATION=$EVALUATION PROCTOR_JOB=$JOB
unset SLURM_EXPORT_ENV SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
say() { printf '%s proctor: %s\n' "$(now)" "$*"; }

# put FILE TEXT: write a file whole, by rename.
put() { printf '%s\n' "$2" >"$1.tmp$BASHPID" && mv -f "$1.tmp$BASHPID" "$1"; }

# ended NAME: sets CODE when this step (or the server) left a last word in this job.
ended() {
  local owner
  CODE=
  [ -r "$ROOT/$1/stage.exit" ] && read -r _ CODE owner _ <"$ROOT/$1/stage.exit" && [ "$owner" = "$JOB" ]
}

all_ended() {
  local name
  for name in "${STEPS[@]}"; do ended "$name" || return 1; done
}

# last_word NAME CODE WORDS: stage.exit for one that could not write it, so that the next in line can start.
last_word() {
  local owner=$JOB
  ended "$1" && return
  # a later attempt has taken the step up, while nobody could reach this node
  [ ! -r "$ROOT/$1/.proctor/owner" ] || read -r owner <"$ROOT/$1/.proctor/owner"
  [ "$owner" = "$JOB" ] || return
  put "$ROOT/$1/stage.exit" "$(now) $2 $JOB $3"
  say "$1: $3"
}

# once LOCK COMMAND...: one of all jobs at a time; the others wait.
once() {
  local lock=$1
  shift
  ( flock -w 7200 9 || exit 75; "$@" ) 9>>"$lock"
}

read_secrets() {
  # shellcheck disable=SC1091
  . "$WORK/private/env" || {
    say "the variables of this job are gone"
    [ ! -e "$WORK/begun" ] || put "$WORK/why" FORGOTTEN
    exit 78
  }
  [ -n "$REQUEUE" ] || rm -f "$WORK/private/env"
}

# after_requeue: Slurm started this job again; what is done stays done, the rest may be claimed again.
after_requeue() {
  [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] || return 0
  rm -f "$WORK/why" "$WORK/stopping" "$SERVER_DIR/stage.exit"
  for name in "${STEPS[@]}"; do
    if ended "$name"; then case $CODE in 143 | lost) ;; *) continue ;; esac fi
    rm -rf "$ROOT/$name/.proctor/claim-$JOB" "$ROOT/$name/stage.exit"
  done
}

# interrupt_steps: all at once, as a busy controller may take a second for each command; the last one first, or those that
# wait would begin when the one before them has been told to end.
interrupt_steps() {
  local i id name ids=()
  local -A known=()
  while IFS='|' read -r id name; do known[$name]+=" $id"; done < <(squeue -h -s -j "$SLURM_JOB_ID" -o '%i|%j')
  for ((i = ${#STEPS[@]} - 1; i >= 0; i--)); do
    ended "${STEPS[i]}" || read -ra ids <<<"${ids[*]} ${known[step-$i]:-}"
  done
  [ "${#ids[@]}" -eq 0 ] || scancel -s TERM "${ids[@]}"
}

# why_stopped: Slurm's own word, kept for when it has forgotten the job. While a job ends Slurm only says COMPLETING, but
# it has a time of preemption for those that were preempted, and no end for those that were requeued. Where nothing is
# ever preempted it does not say that time at all.
why_stopped() {
  local said
  said=$(scontrol show job -o "$SLURM_JOB_ID" 2>/dev/null)
  case $said in
    *' JobState=COMPLETING '*' EndTime=Unknown '*) ;;
    *' JobState=COMPLETING '*' PreemptTime='[!N]*) echo PREEMPTED ;;
    *' JobState=COMPLETING '*) [ "${#NODES[@]}" -gt 1 ] || echo CANCELLED ;;
    *) sed -n 's/.* JobState=\([A-Z_]*\) .*/\1/p' <<<"$said" |
      grep -xE 'CANCELLED|TIMEOUT|PREEMPTED|NODE_FAIL|DEADLINE|OUT_OF_MEMORY' ;;
  esac
}

on_term() {
  local why
  TOLD=1
  rm -f "$WORK/begun"
  : >"$WORK/stopping"
  [ ! -e "$WORK/why" ] || return 0
  why=$(why_stopped)
  [ -z "$why" ] || put "$WORK/why" "$why"
}

on_warning() {
  : >"$WORK/stopping"
  put "$WORK/why" TIMEOUT
  say "the walltime is nearly over: the benchmarks are told to end"
  interrupt_steps
}

# one_node NAME ARGS...: a step of one task beside everything else on the first node.
one_node() {
  local name=$1
  shift
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$HEAD" --cpu-bind=none --job-name="$name" "$@"
}

# patiently LOG COMMAND...: again while it only fails because Slurm's controller is away; a step cannot begin without it.
patiently() {
  local log=$1 code
  shift
  for _ in $(seq 200); do
    "$@"
    code=$?
    [ "$code" -ne 0 ] && [ ! -e "$WORK/stopping" ] || return "$code"
    tail -n 3 "$log" | grep -qE 'srun: error: .*(slurm controller|create step|onnection (refused|failure|timed out)|Socket timed out)' ||
      return "$code"
    sleep 3
  done
  return "$code"
}

# begun: what Slurm does not know any more when its controller was killed right after it had started this job.
begun() { [ -n "$REQUEUE" ] || put "$WORK/begun" "$(now)"; }

has_engine() { [ "$RUNTIME" = docker ] || [ "$RUNTIME" = podman ]; }

# remove_container NAME SECONDS: end it in peace within the seconds, then for good.
remove_container() {
  has_engine || return 0
  [ "$2" -eq 0 ] || "$RUNTIME" stop -t "$2" "$1" >/dev/null 2>&1
  "$RUNTIME" rm -f "$1" >/dev/null 2>&1
}

# remove_containers BEGINNING: end all of this node whose names begin so, for good.
remove_containers() { "$RUNTIME" ps -aq --filter "name=^$1" 2>/dev/null | xargs -r "$RUNTIME" rm -f >/dev/null 2>&1; }

# end_earlier: what an earlier attempt has left on this node, which Slurm gave up or forgot before it could end it.
end_earlier() {
  end_marked "${JOB%-*}-"
  has_engine || return 0
  remove_containers "${JOB%-*}-"
}

# last_lines NAME: the end of what this step (or the server) has written in this job, which began at byte LOG_START.
last_lines() { tail -c "+$((LOG_START + 1))" "$ROOT/$1/harness.log" | tail -n 20; }

# out_of_memory NAME CONTAINER: whether the kernel killed it for its memory.
out_of_memory() {
  has_engine && [ "$("$RUNTIME" inspect -f '{{.State.OOMKilled}}' "$2" 2>/dev/null)" = true ] && return 0
  last_lines "$1" | grep -qiE 'oom[_-]kill|srun: error: .*Out Of Memory|exceeded (job )?memory limit'
}

# node_failed NAME: whether Slurm has given up a node that this step (or the server) ran on.
node_failed() { last_lines "$1" | grep -q 'srun: error: Node failure on'; }

# forgotten NAME: whether no step could begin because a controller that was killed has forgotten that this job runs.
forgotten() { last_lines "$1" | grep -qE 'Unable to confirm allocation|Expired or invalid job'; }

# end_marked MARK: the processes on this node whose mark begins so.
end_marked() {
  local entry
  for entry in $(grep -lsF "PROCTOR_STEP=$1" /proc/[0-9]*/environ); do
    entry=${entry#/proc/}
    kill -s KILL "${entry%/environ}" 2>/dev/null
  done
}

# end_here: on a node that Slurm has given up nobody ends what still runs, and it is about to run elsewhere.
end_here() { end_marked "$JOB/"; }

# wordless I CODE: the end of a step whose wrapper could not write it.
wordless() {
  local name=${STEPS[$1]}
  if out_of_memory "$name" "$CONTAINER-$1"; then
    last_word "$name" 137 "out of memory: the kernel killed it; ask for more with execution.memory"
  elif [ -e "$ROOT/$name/.proctor/cancel-$JOB" ]; then
    last_word "$name" 143 "cancelled"
  elif node_failed "$name"; then
    end_here
    # where Slurm requeues the job, the same one runs it again
    [ -n "$REQUEUE" ] || last_word "$name" lost "its node failed"
  elif forgotten "$name"; then
    last_word "$name" lost "Slurm's controller was killed and has forgotten this job"
  elif [ -e "$WORK/stopping" ]; then
    remove_container "$CONTAINER-$1" "$GRACE"
    last_word "$name" 143 "interrupted by TERM"
  else
    case $2 in
      0 | 9 | 137 | 143 | 255) last_word "$name" lost "killed from outside (exit code $2)" ;;
      *) last_word "$name" "$2" "it ended with exit code $2 before its harness ran" ;;
    esac
  fi
}

run_step() {
  local i=$1 name=${STEPS[$1]} code
  trap '' TERM USR1
  exec >>"$ROOT/$name/harness.log" 2>&1 </dev/null
  LOG_START=$(wc -c <"$ROOT/$name/harness.log")
  [ -z "$SERVER" ] || unset SLURM_GPUS SLURM_GPUS_PER_NODE SLURM_GPUS_PER_TASK SLURM_GRES
  if ! "prepare_$i"; then
    last_word "$name" 125 "$PROBLEM"
    return
  fi
  if ! "env_$i"; then
    last_word "$name" 78 "$PROBLEM"
    return
  fi
  patiently "$ROOT/$name/harness.log" "step_$i"
  code=$?
  ended "$name" || wordless "$i" "$code"
  remove_container "$CONTAINER-$i" 0
}

# finish: whatever happens, no container of this job survives it.
finish() {
  trap '' TERM USR1
  : >"$WORK/stopping"
  has_engine || return 0
  # all at once: Slurm waits for no more than its KillWait
  remove_containers "$CONTAINER-"
  [ -n "$SERVER" ] && [ "${#NODES[@]}" -gt 1 ] || return 0
  srun --overlap --nodes="${#NODES[@]}" --ntasks-per-node=1 \
    "$RUNTIME" rm -f "$CONTAINER-server" "$CONTAINER-proxy" >/dev/null 2>&1
}

look_around() {
  mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
  HEAD=${NODES[0]}
  PER_INSTANCE=$((${#NODES[@]} / INSTANCES))
  CONTAINER=$JOB-$SLURM_JOB_ID
  GRACE=$(scontrol show config | sed -n 's/^KillWait *= *\([0-9]*\).*/\1/p')
  GRACE=$((${GRACE:-30} > 6 ? ${GRACE:-30} - 4 : 2))
  # an engine outside of this job's cgroup numbers GPUs as the node does
  ! command -v nvidia-smi >/dev/null 2>&1 || GPUS=${SLURM_JOB_GPUS:-${CUDA_VISIBLE_DEVICES-}}
  mapfile -t GPU_DEVICES < <(tr ',' '\n' <<<"$GPUS" | sed -n 's|^..*|--device=nvidia.com/gpu=&|p')
  say "job $JOB is Slurm job $SLURM_JOB_ID on ${NODES[*]}"
}

main() {
  local pids=() pid i bad=0
  exec >>"$WORK/job.log" 2>&1 || exit 73
  read_secrets
  trap on_term TERM
  trap on_warning USR1
  begun
  look_around
  after_requeue
  end_earlier
  trap finish EXIT
  [ -z "$SERVER" ] || start_servers
  for i in "${!STEPS[@]}"; do
    ended "${STEPS[i]}" || { run_step "$i" & pids+=("$!"); }
  done
  for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do wait "$pid"; done
  done
  for i in "${!STEPS[@]}"; do
    ended "${STEPS[i]}"
    [ "$CODE" = 0 ] || bad=1
  done
  # a job that Slurm told to end may be requeued, and would need its variables again
  [ -n "$TOLD" ] || ! all_ended || rm -rf "$WORK/private"
  exit "$bad"
}

SERVER_DIR=$ROOT/$SERVER_NAME
GPUS='' GPU_DEVICES=() PROBLEM='' HELD='' TOLD='' LOG_START=0
main
