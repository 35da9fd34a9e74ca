#!/usr/bin/env bash
# Train in several processes on this machine:
#   tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
# One GPU for each process; without a GPU, CPU processes over gloo.
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
config=$1
processes=$2
here=$(dirname "$0")
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$here/train.py" "$config" --launcher pytorch "${@:3}"
