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
#SBATCH --reservation=r
#SBATCH --dependency=afterok:1
#SBATCH --comment=proctor:0123abcd
#SBATCH --requeue
# Written by Proctor; see docs/architecture.md.
JOB=proctor-0123abcd-9f8e7d-0-1
EVALUATION=0123abcd
ROOT=/shared/results/20260101-0123abcd
CACHE=/shared/results/.proctor-cache
RUNTIME=podman
REQUEUE=1
SERVER=''
SERVER_NAME=''
SERVER_PORT=''
MOVABLE=''
READY_TIMEOUT=600
INSTANCES=1
INSTANCE_PORT=''
STEPS=(gpqa.0 gpqa.1)
prepare_0() {
  pull gpqa.0 registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
}
step_0() {
  one_node step-0 podman \
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
    "${GPU_DEVICES[@]}" \
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
prepare_1() {
  pull gpqa.1 registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a
}
step_1() {
  one_node step-1 podman \
    run \
    --name="$CONTAINER-1" \
    --init \
    --network=host \
    --label=proctor.evaluation="$EVALUATION" \
    --label=proctor.job="$JOB" \
    --label=proctor.step=gpqa.1 \
    --env=PROCTOR_EVALUATION \
    --env=PROCTOR_JOB \
    --env=API_KEY \
    --env=HF_HOME \
    "${GPU_DEVICES[@]}" \
    --mount=type=bind,source=/shared/results/20260101-0123abcd/gpqa.1,destination=/results \
    --mount=type=bind,source=/shared/results/20260101-0123abcd,destination=/proctor/job,readonly \
    --workdir=/results \
    --entrypoint=env \
    registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a \
    PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/gpqa.1/ \
    sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/1.sh
}

