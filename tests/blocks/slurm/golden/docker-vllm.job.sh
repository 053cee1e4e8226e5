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
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=32
#SBATCH --mem=256G
#SBATCH --comment=proctor:0123abcd
#SBATCH --no-requeue
# Written by Proctor; see docs/architecture.md.
JOB=proctor-0123abcd-9f8e7d-0-1
EVALUATION=0123abcd
ROOT=/shared/results/20260101-0123abcd
CACHE=/shared/results/.proctor-cache
RUNTIME=docker
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
  pull gpqa.0 registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
}
step_0() {
  one_node step-0 --gres=none docker \
    run \
    --name="$CONTAINER-0" \
    --init \
    --network=host \
    --label=proctor.evaluation="$EVALUATION" \
    --label=proctor.job="$JOB" \
    --label=proctor.step=gpqa.0 \
    --env=PROCTOR_EVALUATION \
    --env=PROCTOR_JOB \
    --env=API_KEY \
    --env=HF_HOME \
    --user="$(id -u):$(id -g)" \
    --env=HOME=/tmp \
    ${SLURM_MEM_PER_NODE:+"--memory=${SLURM_MEM_PER_NODE}m" "--memory-swap=${SLURM_MEM_PER_NODE}m"} \
    --mount=type=bind,source=/shared/results/20260101-0123abcd/gpqa.0,destination=/results \
    --mount=type=bind,source=/shared/results/20260101-0123abcd,destination=/proctor/job,readonly \
    --mount='type=bind,"source=/shared/my data",destination=/data,readonly' \
    --workdir=/results \
    --entrypoint=env \
    registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a \
    PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/gpqa.0/ \
    sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/0.sh
}
prepare_server() {
  pull server vllm/vllm-openai:v0.9
}
launch_server() {
  srun --overlap --nodes="$PER_INSTANCE" --ntasks="$PER_INSTANCE" --ntasks-per-node=1 --nodelist="$1" --cpu-bind=none --job-name=server docker \
    run \
    --name="$CONTAINER-server" \
    --init \
    --network=host \
    --label=proctor.evaluation="$EVALUATION" \
    --label=proctor.job="$JOB" \
    --label=proctor.step=server \
    --env=PROCTOR_EVALUATION \
    --env=PROCTOR_JOB \
    --env=MASTER \
    --env=SLURM_PROCID \
    --env=NIM_HTTP_API_PORT \
    --env=NIM_SERVER_PORT \
    --env=HF_TOKEN \
    --ipc=host \
    ${GPUS:+--gpus="\"device=$GPUS\""} \
    ${SLURM_MEM_PER_NODE:+"--memory=${SLURM_MEM_PER_NODE}m" "--memory-swap=${SLURM_MEM_PER_NODE}m"} \
    --mount=type=bind,source=/shared/results/20260101-0123abcd,destination=/proctor/job,readonly \
    --mount=type=bind,source=/m,destination=/checkpoint,readonly \
    --entrypoint=env \
    vllm/vllm-openai:v0.9 \
    PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/server/ \
    sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/server.sh
}

