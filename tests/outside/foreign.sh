#!/usr/bin/env bash
# Models of Keras (tf2onnx) and scikit-learn (skl2onnx), applied as ONNX by `broadsweep apply` on two local executors,
# beside their own predictions.
#
#     tests/outside/run foreign
#
# It ends with a line for each model, and fails if one of them is off by more than 1e-5.
#
#     VENV=DIR          Python environment with the libraries in it; made there if they are not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program, with the feature `onnx` (unset: built in release mode)
set -euo pipefail
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

export LC_ALL=C.UTF-8 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=

need_module skl2onnx numpy tensorflow-cpu tf2onnx scikit-learn skl2onnx
if [[ -z ${BROADSWEEP:-} ]]; then
    need cargo "Broadsweep is built from source; install Rust, or name a built program in BROADSWEEP"
    (cd "$root" && cargo build --release --locked --package broadsweep-driver --features onnx)
    BROADSWEEP=${CARGO_TARGET_DIR:-$root/target}/release/broadsweep
fi
[[ -x $BROADSWEEP ]] || fail "$BROADSWEEP is not a program"

echo "training and exporting models"
"$venv/bin/python" "$outside/foreign_models.py" make "$work/models" >"$work/made.txt" 2>&1 ||
    fail "no models were made: $(tail -n 5 "$work/made.txt")"
echo
"$venv/bin/python" "$outside/foreign_models.py" compare "$BROADSWEEP" "$work/models"
