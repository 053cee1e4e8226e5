# the server
export A=1
VLLM_HOST_IP=$(hostname -I 2>/dev/null | awk '{ print $1 }')
export VLLM_HOST_IP
if [ "$SLURM_PROCID" -ne 0 ]; then
  for _ in $(seq 120); do
    ray start --address="$MASTER:6379" --node-ip-address="$VLLM_HOST_IP" --block && exit 0
    sleep 5
  done
  echo "no Ray head at $MASTER:6379 within ten minutes" >&2
  exit 1
fi
ray start --head --port=6379 --node-ip-address="$VLLM_HOST_IP" --disable-usage-stats || exit 1
for _ in $(seq 120); do
  [ "$(ray status 2>/dev/null | grep -c '^ *1 node_')" -lt 2 ] || break
  sleep 5
done
exec vllm serve /checkpoint --served-model-name llama --port 8001 --tensor-parallel-size 8 --distributed-executor-backend ray
