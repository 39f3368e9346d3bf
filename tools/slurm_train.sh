#!/usr/bin/env bash
# Train under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options]" >&2
    exit 2
fi
# shellcheck disable=SC2086  # SRUN_ARGS is a list of words
exec srun --partition="$1" --job-name="$2" \
    --gres="gpu:${GPUS_PER_NODE:-8}" --ntasks="${GPUS:-8}" --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u tools/train.py "$3" --work-dir "$4" --launcher slurm "${@:5}"
