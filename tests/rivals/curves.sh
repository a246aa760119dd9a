#!/usr/bin/env bash
# Our pruners beside Optuna's, on learning curves of real trainings: curves.py says how.
#
#     CURVES=DIR tests/rivals/curves.sh [SEEDS [PART [PAIR ...]]]     (10 unless told; hours on one core)
#
#     CURVES=DIR        the curves, which are not ours to copy: curves.py says which files, and from where
#     VENV=DIR          Python environment with Optuna and onnxruntime of requirements.txt in it; made there if it is not
#                       there (unset: in a temporary folder, which goes afterwards)
#     JOBS, RAW, TABLES as curves.py has them
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ ${1:-10} =~ ^[1-9][0-9]*$ ]] || fail "SEEDS is a number from 1, not '$1'"
[[ -f ${CURVES:-}/lcbench/model.onnx && -d ${CURVES:-}/taskset ]] ||
    fail "CURVES has to name a folder with taskset/ and lcbench/: $here/curves.py says what is in them, and from where"
need cargo "the pruners are built from source; install Rust"
mapfile -t packages < <(grep -E '^(optuna|cmaes|numpy|onnxruntime)[<=]' "$here/requirements.txt")
need_module onnxruntime "${packages[@]}"
(cd "$root" && cargo build --release --locked --package broadsweep-search --example prune)
export PRUNE=${CARGO_TARGET_DIR:-$root/target}/release/examples/prune
"$venv/bin/python" "$here/curves.py" "$@"
