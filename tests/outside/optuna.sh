#!/usr/bin/env bash
# What Optuna reads of `broadsweep export --optuna`, beside the lines of `--jsonl`.
#
#     tests/outside/run optuna
#
# Small studies are run: a network's, a long replay, programs that fail or report no number, and one that is cut off. It ends with
# a line for each, and fails where Optuna has other trials, values, parameters or curves, or another best.
#
#     VENV=DIR          Python environment with Optuna in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program (unset: built in release mode)
set -euo pipefail
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

need_module optuna optuna
need_broadsweep
cd "$root"

"$venv/bin/python" "$outside/optuna_reads.py" studies "$work/studies"
sed "s|\.\./\.\./examples|$root/examples|; s|epochs = 12|epochs = 3|" tests/studies/tiny.toml >"$work/studies/network.toml"
mkdir "$work/exported"
for study in "$work/studies"/*.toml; do
    name=$(basename "$study" .toml)
    # A trial that fails ends a run with 3, and time that is over with 130.
    "$BROADSWEEP" tune "$study" --local 1x2 --cache-dir "$work/cache" --out "$work/runs/$name" --quiet --max-time 30s \
        >"$work/tuned.txt" 2>&1 || [[ $? == 3 || $? == 130 ]] || fail "$name cannot be run: $(tail -n 5 "$work/tuned.txt")"
    "$BROADSWEEP" export "$work/runs/$name" --optuna "$work/exported/$name.log" --jsonl "$work/exported/$name.jsonl" \
        2>/dev/null || fail "$name cannot be exported"
done
"$venv/bin/python" "$outside/optuna_reads.py" compare "$work/runs" "$work/exported"
