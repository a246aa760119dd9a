#!/usr/bin/env bash
# Samples a second that Broadsweep, TensorFlow and PyTorch train, in turn on one core, and the ratios of their medians.
#
#     tests/rivals/training.sh [ROUNDS]           (3 rounds unless told) two networks: mlp and convnet
#     tests/rivals/training.sh shapes [ROUNDS]    (1 round unless told) other shapes and batch sizes, beside TensorFlow
#
# Ours is executor/benches/training: whole epochs, with shuffling and gathering from bytes. The others train on batches
# that lie ready in memory, without Keras: see tensorflow_training.py and torch_training.py. Each is measured in all of
# its modes, and the best by CPU time counts for each network. All have one thread.
#
#     VENV=DIR       Python environment with TensorFlow and PyTorch of requirements.txt in it; made there if it is not
#                    there (unset: in a temporary folder, which goes afterwards)
#     BENCH=FILE     our bench, as built (unset: built now)
#     BENCH_ARGS=..  further arguments of our bench
#     CORE=N         the core that all are kept on (0)
#     PASSES=N       passes of each engine, mode and network in a round (5; shapes: 3)
#     PASS_S=N       about how many seconds a pass takes (1; shapes: 0.3)
#     TENSORFLOW_MODES="graph loop xla", TORCH_MODES="plain channels_last"
#     RAW=FILE       where the measurements are added, a JSON object a line (unset: they go)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

on=(taskset -c "${CORE:-0}")
read -ra tensorflow_modes <<<"${TENSORFLOW_MODES:-graph loop xla}"
read -ra torch_modes <<<"${TORCH_MODES:-plain channels_last}"
read -ra bench_arguments <<<"${BENCH_ARGS:-}"

if [[ ${1:-} == shapes ]]; then
    # Each group is measured by all engines before the next one.
    groups=(dense:100-50-10 dense:1000-1000-10 dense:784-17-17-10)
    for side in 8 14 32; do
        for channels in 3 16 24 64; do
            groups+=("conv3:${channels}x${side}x$side")
        done
    done
    groups+=(norm3:16x14x14 norm3:64x8x8)
    batches=(1 7 32 256)
    torch_modes=()
    rounds=${2:-1} passes=${PASSES:-3} pass_s=${PASS_S:-0.3}
else
    groups=(mlp convnet)
    batches=(64)
    rounds=${1:-3} passes=${PASSES:-5} pass_s=${PASS_S:-1}
fi

for number in "$rounds" "$passes"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || fail "ROUNDS and PASSES are numbers from 1, not '$number'"
done
[[ $pass_s =~ ^[0-9]+([.][0-9]+)?$ ]] || fail "PASS_S is a number of seconds, not '$pass_s'"
need taskset "it keeps all sides on one core (package util-linux)"

need_packages "TensorFlow and PyTorch" "7 GB, most of it PyTorch's libraries for GPUs" numpy tensorflow-cpu torch

if [[ -z ${BENCH:-} ]]; then
    need cargo "Broadsweep is built from source; install Rust, or name the built bench in BENCH"
    (cd "$root" && cargo bench --locked --package broadsweep-nn --bench training --no-run \
        --message-format json-render-diagnostics) >"$work/build.json"
    BENCH=$("$venv/bin/python" -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "training":
        print(message["executable"])' <"$work/build.json")
fi
[[ -x $BENCH ]] || fail "$BENCH is not a program"

# One thread each, wherever they look.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1

measure() { # WHAT COMMAND...; adds its lines to $work/measured
    "${on[@]}" "${@:2}" --passes "$passes" --seconds "$pass_s" >"$work/lines" 2>"$work/errors" ||
        fail "$1 failed: $(tail -n 5 "$work/errors")"
    cat "$work/lines" >>"$work/measured"
    [[ -z ${RAW:-} ]] || cat "$work/lines" >>"$RAW"
}

for ((round = 1; round <= rounds; round++)); do
    for group in "${groups[@]}"; do
        networks=()
        for batch in "${batches[@]}"; do
            networks+=(--network "$group@$batch")
        done
        measure "our bench" "$BENCH" --json "${bench_arguments[@]}" "${networks[@]}"
        for mode in "${tensorflow_modes[@]}"; do
            measure "TensorFlow ($mode)" "$venv/bin/python" "$here/tensorflow_training.py" --mode "$mode" "${networks[@]}"
        done
        for mode in "${torch_modes[@]}"; do
            measure "PyTorch ($mode)" "$venv/bin/python" "$here/torch_training.py" --mode "$mode" "${networks[@]}"
        done
        echo "round $round: $group is measured" >&2
    done
done

"$venv/bin/python" "$here/training_table.py" <"$work/measured"
