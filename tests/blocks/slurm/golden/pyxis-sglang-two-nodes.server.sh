# the server
export A=1
exec python3 -m sglang.launch_server --model-path /checkpoint --port 8000 --tp-size 16 --nnodes 2 --node-rank "$SLURM_PROCID" --dist-init-addr "$MASTER:20000"
