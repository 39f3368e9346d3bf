#!/usr/bin/env bash
# Evaluate on GPUS processes per node: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Several nodes: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment. Without a GPU it runs on CPU (gloo).
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [options]" >&2
    exit 2
fi
exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$3" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$1" "$2" --launcher pytorch "${@:4}"
