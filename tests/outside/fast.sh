#!/usr/bin/env bash
# The article's grid beside `examples/mnist/fast.toml`, seed by seed: what each found, and what it took.
#
#     tests/outside/run fast [SEED...]      (1 2 3 unless told; about half an hour a seed on two cores)
#
# It ends with a line for each seed, and fails where the fast study trained more epochs than twelve trainings have, or where its
# best is worse than the grid's.
#
#     RATES=R,R..       only these learning rates of the grid, as trials.csv has them: a trial has the same numbers whatever
#                       is tried beside it (unset: the whole grid, of 51 trainings)
#     LOCAL=SHAPE       the executors of this machine (1x2)
#     RUNS=DIR          where the runs are kept; one that is there and over is not made again (unset: they go afterwards)
#     BROADSWEEP=FILE   the program (unset: built in release mode)
set -euo pipefail
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

need python3 "it reads what the runs wrote; install Python 3"
need_broadsweep
cd "$root"
runs=${RUNS:-$work/runs}
seeds=("$@")
((${#seeds[@]} > 0)) || seeds=(1 2 3)
mkdir -p "$runs"

for seed in "${seeds[@]}"; do
    [[ $seed =~ ^[0-9]+$ ]] || fail "SEED is a number, not '$seed'"
    for study in article fast; do
        out=$runs/$study-$seed
        [[ ! -f $out/summary.json ]] || continue
        echo "$study.toml with seed $seed"
        if [[ -d $out ]]; then
            "$BROADSWEEP" resume "$out" --quiet >/dev/null
        else
            grid=()
            if [[ $study == article && -n ${RATES:-} ]]; then
                grid=(--set "search.space.learning_rate={ values = [$RATES] }")
            fi
            # Without copies: what two cores do twice, they do later.
            "$BROADSWEEP" tune "examples/mnist/$study.toml" --seed "$seed" --local "${LOCAL:-1x2}" --out "$out" --quiet \
                --set scheduling.copies=false "${grid[@]}" >/dev/null
        fi
    done
done

python3 - "$runs" "${seeds[@]}" <<'END'
import csv
import json
import sys

runs, seeds = sys.argv[1], sys.argv[2:]
EPOCHS = 2  # of a whole training
TRAININGS = 12


def told(study, seed):
    with open(f"{runs}/{study}-{seed}/summary.json") as file:
        summary = json.load(file)
    with open(f"{runs}/{study}-{seed}/trials.csv") as file:
        seconds = sum(float(row["training_s"]) + float(row["evaluation_s"]) for row in csv.DictReader(file))
    with open(f"{runs}/{study}-{seed}/epochs.csv") as file:
        epochs = sum(1 for _ in csv.DictReader(file))
    return summary["best"], epochs, seconds


misses = 0
for seed in seeds:
    (grid, grid_epochs, grid_s), (fast, fast_epochs, fast_s) = told("article", seed), told("fast", seed)
    is_met = fast["validation_error"] <= grid["validation_error"] and fast_epochs <= TRAININGS * EPOCHS
    misses += not is_met
    print(
        f"seed {seed}: grid {100 * grid['validation_error']:.2f} % (test {100 * grid['test_error']:.2f} %) in "
        f"{grid_epochs / EPOCHS:g} trainings, {grid_s:.0f} s of a core; fast {100 * fast['validation_error']:.2f} % (test "
        f"{100 * fast['test_error']:.2f} %) in {fast_epochs / EPOCHS:g}, {fast_s:.0f} s: {'met' if is_met else 'missed'}"
    )
print(f"{len(seeds) - misses} of {len(seeds)} seeds: the grid's best, or a better one, in {TRAININGS} trainings")
sys.exit(misses > 0)
END
