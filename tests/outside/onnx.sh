#!/usr/bin/env bash
# model.onnx in onnxruntime beside `broadsweep predict`, on the same raw rows.
#
#     tests/outside/run onnx
#
# First models that nobody trained: every kind of layer, padding and activation, odd sides, words, flags, missing values,
# labels that are words, values that are scaled back. Then models that small studies found. It ends with a line for each
# model, and fails if one of them is off by more than 1e-5.
#
#     VENV=DIR          Python environment with onnxruntime in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program (unset: built in release mode)
set -euo pipefail
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

export LC_ALL=C.UTF-8 # names of columns and classes

need cargo "models are made by a test; install Rust"
need_module onnxruntime numpy onnxruntime
need_broadsweep
cd "$root"

echo "making models of every kind"
BROADSWEEP_MADE_UP=$work/models cargo test --locked --package broadsweep-driver --lib models_of_every_kind \
    >"$work/made.txt" 2>&1 || fail "no models were made: $(tail -n 5 "$work/made.txt")"

echo "training small models"
"$venv/bin/python" "$outside/onnx_models.py" studies "$work/studies"
for study in "$work/studies"/*/study.toml; do
    folder=$(dirname "$study")
    "$BROADSWEEP" tune "$study" --local 1 --cache-dir "$work/cache" --out "$folder/run" --quiet >"$work/tuned.txt" 2>&1 ||
        fail "$study cannot be run: $(tail -n 5 "$work/tuned.txt")"
    name=trained-$(basename "$folder")
    cp -r "$folder/run/best" "$work/models/$name"
    cp "$folder"/rows.* "$work/models/$name"
done

echo
"$venv/bin/python" "$outside/onnx_models.py" compare "$BROADSWEEP" "$work/models"/*
