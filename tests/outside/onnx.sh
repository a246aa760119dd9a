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
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

fail() {
    echo "onnx.sh: $*" >&2
    exit 1
}

command -v cargo >/dev/null || fail "cargo is missing: models are made by a test; install Rust"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || fail "Python 3.11 or later is needed, with its venv module"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

venv=${VENV:-$work/venv}
if ! "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("onnxruntime"))' 2>/dev/null; then
    echo "installing onnxruntime into $venv"
    python3 -m venv "$venv" || fail "python3 cannot make $venv: is its venv module installed?"
    "$venv/bin/pip" install --quiet numpy onnxruntime || fail "onnxruntime could not be installed"
fi

cd "$root"
if [[ -z ${BROADSWEEP:-} ]]; then
    cargo build --release --locked --package broadsweep-driver
    BROADSWEEP=${CARGO_TARGET_DIR:-$root/target}/release/broadsweep
fi
[[ -x $BROADSWEEP ]] || fail "$BROADSWEEP is not a program"

echo "making models of every kind"
BROADSWEEP_MADE_UP=$work/models cargo test --locked --package broadsweep-driver --lib models_of_every_kind \
    >"$work/made.txt" 2>&1 || fail "no models were made: $(tail -n 5 "$work/made.txt")"

echo "training small models"
"$venv/bin/python" "$here/onnx_models.py" studies "$work/studies"
for study in "$work/studies"/*/study.toml; do
    folder=$(dirname "$study")
    "$BROADSWEEP" tune "$study" --local 1 --cache-dir "$work/cache" --out "$folder/run" --quiet >"$work/tuned.txt" 2>&1 ||
        fail "$study cannot be run: $(tail -n 5 "$work/tuned.txt")"
    name=trained-$(basename "$folder")
    cp -r "$folder/run/best" "$work/models/$name"
    cp "$folder"/rows.* "$work/models/$name"
done

echo
"$venv/bin/python" "$here/onnx_models.py" compare "$BROADSWEEP" "$work/models"/*
