#!/usr/bin/env bash
# Rows a second that networks answer on one core: ours as its training bench evaluates it, onnxruntime, and rten, which runs
# the models of other programs here. In turn, and the ratios of the medians.
#
#     tests/rivals/apply.sh [ROUNDS]              (3 rounds unless told) two networks: 784-256-10 and the tutorial's convnet
#
# Each side is given batches of several sizes, and its best one counts; rten has those of `broadsweep apply`. Ours gathers
# rows from bytes and takes their loss as well; the batches of the others lie ready in memory.
#
#     VENV=DIR       Python environment with onnx and onnxruntime in it; made there if they are not there
#                    (unset: in a temporary folder, which goes afterwards)
#     BENCH=FILE     our training bench, as built (unset: built now)
#     RUNNING=FILE   our bench of rten, as built (unset: built now)
#     CORE=N         the core that all are kept on (0)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

rounds=${1:-3}
[[ $rounds =~ ^[1-9][0-9]*$ ]] || fail "ROUNDS is a number from 1, not '$rounds'"
need taskset "it keeps all sides on one core (package util-linux)"
on=(taskset -c "${CORE:-0}")
need_module onnxruntime numpy onnx onnxruntime

built() { # PACKAGE BENCH FLAG...: where it is, once it is built
    (cd "$root" && cargo bench --locked --package "$1" --bench "$2" --no-run --message-format json-render-diagnostics "${@:3}") |
        "$venv/bin/python" -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])' "$2"
}
[[ -n ${BENCH:-} ]] || BENCH=$(built broadsweep-nn training)
[[ -n ${RUNNING:-} ]] || RUNNING=$(built broadsweep-onnx running --features run)
for program in "$BENCH" "$RUNNING"; do
    [[ -x $program ]] || fail "$program is not a program"
done

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
networks=(dense:784-256-10 convnet)
batches=(64 256 1024)
for network in "${networks[@]}"; do
    "$venv/bin/python" "$here/apply.py" make "$network" "$work/${network%%:*}.onnx"
done
for ((round = 1; round <= rounds; round++)); do
    for network in "${networks[@]}"; do
        sized=()
        for batch in "${batches[@]}"; do
            sized+=(--network "$network@$batch")
        done
        file=$work/${network%%:*}.onnx
        {
            "${on[@]}" "$BENCH" --json --passes 5 --seconds 1 "${sized[@]}"
            "${on[@]}" "$RUNNING" "$file" | sed "s/{/{\"network\":\"$network\",/"
            "${on[@]}" "$venv/bin/python" "$here/apply.py" run "$network" "$file" "${batches[@]}"
        } >>"$work/measured" 2>"$work/errors" || fail "$network failed: $(tail -n 5 "$work/errors")"
        echo "round $round: $network is measured" >&2
    done
done
"$venv/bin/python" "$here/apply.py" table <"$work/measured"
