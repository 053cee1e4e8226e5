# The model server of a job: its port, its instances, and the load balancer in front of them.

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# lock PORT: whether no other job of Proctor on this node has the port. The second place is for nodes where every job has
# a /tmp of its own.
lock() {
  local file fd
  for file in "/tmp/proctor-port-$1" "$CACHE/.port-$1-$HEAD"; do
    [ -e "$file" ] || (umask 0 && : >>"$file") 2>/dev/null
    { exec {fd}<"$file"; } 2>/dev/null || continue
    LOCKS+=("$fd")
    flock -n "$fd"
    [ "$?" -ne 1 ] || return 1
  done
}

# hold PORT: whether this job has the port, and that of the instances, for itself; then until its end.
hold() {
  local port fd
  LOCKS=()
  for port in "$1" "$(($1 + INSTANCE_PORT - SERVER_PORT))"; do
    [ "$port" != "$1" ] || [ "${#LOCKS[@]}" -eq 0 ] || continue
    if ! lock "$port" || listens "$port"; then
      for fd in "${LOCKS[@]}"; do exec {fd}<&-; done
      return 1
    fi
  done
}

# choose_port: a port that is free on this node. Where the server's command says its port in a way that we understand, it
# is another one if need be; everything that names it is changed before anything has started.
choose_port() {
  local port=$SERVER_PORT
  HELD=1
  mkdir -p "$CACHE"
  if [ -s "$WORK/port" ]; then
    read -r port <"$WORK/port"
    use_port "$port"
  fi
  for _ in $(seq 50); do
    ! hold "$port" || break
    [ -n "$MOVABLE" ] || { HELD=; return; }
    port=$((20000 + RANDOM % 10000))
  done
  [ "$port" != "$SERVER_PORT" ] || return 0
  say "port $SERVER_PORT of $HEAD is taken; the server gets $port"
  move "$WORK"/[0-9]*.sh "$WORK"/[0-9]*.yaml "$WORK/haproxy.cfg" \
    "s/\(127\.0\.0\.1\|localhost\):$SERVER_PORT\([^0-9]\|\$\)/\1:$port\2/g"
  move "$WORK/server.sh" "s/\(--port[ =]\)$INSTANCE_PORT\([^0-9]\|\$\)/\1$((port + INSTANCE_PORT - SERVER_PORT))\2/g"
  put "$WORK/port" "$port"
  use_port "$port"
}

use_port() { INSTANCE_PORT=$(($1 + INSTANCE_PORT - SERVER_PORT)) SERVER_PORT=$1; }

# move FILE... SED: changes those of the files that are there.
move() {
  local file
  for file in "${@:1:$#-1}"; do [ ! -e "$file" ] || sed -i "${!#}" "$file"; done
}

# preparing WORDS: until the server is about to start, its time to load has not begun and nobody may ask its port.
preparing() { put "$SERVER_DIR/stage.preparing" "$(now) $JOB $1"; }

# wait_for_port: for a server whose port only its user can change.
wait_for_port() {
  local end=$((SECONDS + READY_TIMEOUT))
  [ -z "$HELD" ] || return 0
  preparing "waits for port $SERVER_PORT of $HEAD, which another program has"
  until hold "$SERVER_PORT"; do
    [ "$SECONDS" -lt "$end" ] && [ ! -e "$WORK/stopping" ] || return 1
    sleep 1
  done
}

# server_ended CODE [WORDS]: a server that ends before the benchmarks is why they end. One that was told to end was told by
# Slurm, which does not tell the batch script in every case.
server_ended() {
  local code=$1 words=${2:-}
  for _ in 1 2 3 4 5 6 7 8; do
    [ ! -e "$WORK/stopping" ] || return 0
    sleep 0.25
  done
  if node_failed "$SERVER_NAME"; then
    end_here
    code=lost words="a node of the server failed"
  elif forgotten "$SERVER_NAME"; then
    code=lost words="Slurm's controller was killed and has forgotten this job"
  elif out_of_memory "$SERVER_NAME" "$CONTAINER-server"; then
    words="out of memory: the kernel killed the server; ask for more with execution.memory"
  fi
  case $code in
    143) last_word "$SERVER_NAME" lost "the server was told to end" ;;
    *) last_word "$SERVER_NAME" "$code" "${words:-the server ended with exit code $code}" ;;
  esac
  interrupt_steps
}

# run_server NODES: one instance.
run_server() {
  export MASTER=${1%%,*}
  patiently "$SERVER_DIR/harness.log" launch_server "$1"
  server_ended "$?"
}

# serve: everything from the image to the end of the last instance.
serve() {
  local k nodes
  trap '' TERM USR1
  exec >>"$SERVER_DIR/harness.log" 2>&1 </dev/null
  LOG_START=$(wc -c <"$SERVER_DIR/harness.log")
  if ! wait_for_port; then
    [ -e "$WORK/stopping" ] || last_word "$SERVER_NAME" lost \
      "port $SERVER_PORT of $HEAD is taken by another program; set deployment.port or execution.exclusive"
    return
  fi
  preparing "its image is being imported"
  if ! prepare_server || ! env_server; then
    server_ended 125 "$PROBLEM"
    return
  fi
  [ "$SERVER" != nim ] || export NIM_HTTP_API_PORT=$INSTANCE_PORT NIM_SERVER_PORT=$INSTANCE_PORT
  rm -f "$SERVER_DIR/stage.preparing"
  put "$SERVER_DIR/stage.running" "$(now) $JOB"
  for ((k = 0; k < INSTANCES; k++)); do
    nodes=$(printf '%s\n' "${NODES[@]:k * PER_INSTANCE:PER_INSTANCE}" | paste -sd, -)
    run_server "$nodes" &
  done
  [ "$INSTANCES" -eq 1 ] || run_proxy &
  wait
}

start_servers() {
  put "$SERVER_DIR/stage.pre-start" "$(now) $JOB"
  preparing "its port is chosen"
  choose_port
  serve &
}

# run_proxy: HAProxy on the first node, in front of the first node of every instance.
run_proxy() {
  local k
  exec >>"$SERVER_DIR/proxy.log" 2>&1 </dev/null
  cp "$WORK/haproxy.cfg" "$WORK/haproxy.run.cfg"
  for ((k = 0; k < INSTANCES; k++)); do
    echo "  server instance$k $(address "${NODES[k * PER_INSTANCE]}"):$INSTANCE_PORT check inter 2s fall 3 rise 1" \
      >>"$WORK/haproxy.run.cfg"
  done
  prepare_proxy && launch_proxy
  server_ended "$?" "the load balancer ended"
}

address() { getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }'; }
