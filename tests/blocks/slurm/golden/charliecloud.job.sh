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
# Written by Proctor; see docs/architecture.md.
JOB=proctor-0123abcd-9f8e7d-0-1
EVALUATION=0123abcd
ROOT=/shared/results/20260101-0123abcd
CACHE=/shared/results/.proctor-cache
RUNTIME=charliecloud
REQUEUE=''
SERVER=''
SERVER_NAME=''
SERVER_PORT=''
MOVABLE=''
READY_TIMEOUT=600
INSTANCES=1
INSTANCE_PORT=''
STEPS=(gpqa.0 gpqa.1)
prepare_0() {
  import gpqa.0 registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a "$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.dir" charliecloud_pull registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a &&
    places "$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.dir" /results /proctor/job /data
}
step_0() {
  one_node step-0 ch-run \
    --home \
    --bind=/shared/results/20260101-0123abcd/gpqa.0:/results \
    --bind=/shared/results/20260101-0123abcd:/proctor/job \
    --bind='/shared/my data:/data' \
    --cd=/results \
    "$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.dir" \
    -- \
    env \
    PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/gpqa.0/ \
    sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/enter.sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/0.sh
}
prepare_1() {
  import gpqa.1 registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a "$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.dir" charliecloud_pull registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a &&
    places "$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.dir" /results /proctor/job
}
step_1() {
  one_node step-1 ch-run \
    --home \
    --bind=/shared/results/20260101-0123abcd/gpqa.1:/results \
    --bind=/shared/results/20260101-0123abcd:/proctor/job \
    --cd=/results \
    "$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.dir" \
    -- \
    env \
    PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/gpqa.1/ \
    sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/enter.sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/1.sh
}

