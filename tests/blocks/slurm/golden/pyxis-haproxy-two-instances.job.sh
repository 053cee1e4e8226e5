#!/bin/bash
#SBATCH --job-name=proctor-0123abcd-9f8e7d-0-1
#SBATCH --output=/dev/null
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --account="my account"
#SBATCH --partition=gpu
#SBATCH --qos=normal
#SBATCH --nodes=4
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
RUNTIME=pyxis
REQUEUE=''
SERVER=vllm
SERVER_NAME=server
SERVER_PORT=8000
MOVABLE=1
READY_TIMEOUT=600
INSTANCES=2
INSTANCE_PORT=8001
STEPS=(gpqa.0)
prepare_0() {
  import gpqa.0 registry.example/eval/simple-evals:26.03@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a "$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.sqsh" enroot_import 'docker://registry.example#eval/simple-evals@sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a' 'docker://registry.example#eval/simple-evals:sha256:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a'
}
step_0() {
  one_node step-0 --gres=none --container-image="$CACHE/registry.example-eval-simple-evals-26.03-c237ff6f41c1ccdb.sqsh" \
    --container-mounts='/shared/results/20260101-0123abcd/gpqa.0:/results,/shared/results/20260101-0123abcd:/proctor/job:ro,/shared/my data:/data:ro' \
    --container-mount-home \
    --container-env=PROCTOR_EVALUATION,PROCTOR_JOB,API_KEY,HF_HOME \
    --container-workdir=/results \
    env \
    PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/gpqa.0/ \
    sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/enter.sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/0.sh
}
prepare_server() {
  import server vllm/vllm-openai:v0.9 "$CACHE/vllm-vllm-openai-v0.9-1aec960194762d13.tag-$EVALUATION.sqsh" enroot_import docker://vllm/vllm-openai:v0.9 docker://vllm/vllm-openai:v0.9
}
launch_server() {
  srun --overlap --nodes="$PER_INSTANCE" --ntasks="$PER_INSTANCE" --ntasks-per-node=1 --nodelist="$1" --cpu-bind=none --job-name=server --container-image="$CACHE/vllm-vllm-openai-v0.9-1aec960194762d13.tag-$EVALUATION.sqsh" \
    --container-mounts=/shared/results/20260101-0123abcd:/proctor/job:ro,/m:/checkpoint:ro \
    --container-mount-home \
    --container-env=PROCTOR_EVALUATION,PROCTOR_JOB,MASTER,SLURM_PROCID,NIM_HTTP_API_PORT,NIM_SERVER_PORT,HF_TOKEN \
    env \
    PROCTOR_STEP=proctor-0123abcd-9f8e7d-0-1/server/ \
    sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/enter.sh \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/server.sh
}
prepare_proxy() {
  import server haproxy:lts "$CACHE/haproxy-lts-0b02d9d21c5b0da3.tag-$EVALUATION.sqsh" enroot_import docker://haproxy:lts docker://haproxy:lts
}
launch_proxy() {
  one_node proxy --container-image="$CACHE/haproxy-lts-0b02d9d21c5b0da3.tag-$EVALUATION.sqsh" \
    --container-mounts=/shared/results/20260101-0123abcd:/proctor/job:ro \
    --container-mount-home \
    --container-env=PROCTOR_EVALUATION,PROCTOR_JOB \
    haproxy \
    -W \
    -db \
    -f \
    /proctor/job/.proctor/proctor-0123abcd-9f8e7d-0-1/haproxy.run.cfg
}

