#!/bin/bash
#SBATCH --job-name=proctor-0123abcd-9f8e7d-0-1
#SBATCH --output=/dev/null
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --account="my account"
#SBATCH --partition=gpu
#SBATCH --qos=normal
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --mem=256G
#SBATCH --comment=proctor:0123abcd
#SBATCH --no-requeue
#SBATCH --constraint="a&b"
#SBATCH --spread-job
# Written by Proctor; see docs/architecture.md.
JOB=proctor-0123abcd-9f8e7d-0-1
EVALUATION=0123abcd
ROOT=/shared/results/20260101-0123abcd
CACHE=/shared/results/.proctor-cache
RUNTIME=none
REQUEUE=''
SERVER=vllm
SERVER_NAME=server
SERVER_PORT=8000
MOVABLE=1
READY_TIMEOUT=600
INSTANCES=1
INSTANCE_PORT=8000
STEPS=(gpqa.0)
prepare_0() {
  environment gpqa.0 af3597dc486098ac simple-evals==26.3
}
step_0() {
  one_node step-0 --gres=none --chdir=/shared/results/20260101-0123abcd/gpqa.0 env PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/gpqa.0/ sh /shared/results/20260101-0123abcd/.proctor/proctor-0123abcd-9f8e7d-0-1/0.sh
}
prepare_server() {
  environment server ec8207a3dde607f7 vllm
}
launch_server() {
  srun --overlap --nodes="$PER_INSTANCE" --ntasks="$PER_INSTANCE" --ntasks-per-node=1 --nodelist="$1" --cpu-bind=none --job-name=server env PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/server/ sh /shared/results/20260101-0123abcd/.proctor/proctor-0123abcd-9f8e7d-0-1/server.sh
}

