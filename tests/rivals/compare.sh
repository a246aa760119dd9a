#!/usr/bin/env bash
# Broadsweep and Spark with TensorFlow on one study, in turn on one core, and the ratio of their medians.
#
#     tests/rivals/compare.sh [PAIRS]      (3 pairs unless told)
#
# Ours is the whole process of `broadsweep tune examples/mnist/small.toml --local 1x1 --cold`, from its start to its
# end. Spark's is the cold total that spark_seed.py prints: the end of its cluster does not count against it.
#
#     VENV=DIR          Python environment with requirements.txt in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program to measure (unset: built in release mode)
#     CORE=N            the core that both are kept on (0)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

pairs=${1:-3}
core=${CORE:-0}

[[ $pairs =~ ^[1-9][0-9]*$ ]] || fail "PAIRS is a number from 1, not '$pairs'"
need taskset "it keeps both sides on one core (package util-linux)"
need_java

need_packages "TensorFlow and Spark" "2 GB" numpy pyspark tensorflow-cpu
need_broadsweep

seconds_since() { # START, of the kernel's clock in nanoseconds
    awk -v start="$1" -v end="$(date +%s%N)" 'BEGIN { printf "%.2f", (end - start) / 1e9 }'
}

ours() { # PAIR
    local start
    start=$(date +%s%N)
    taskset -c "$core" "$BROADSWEEP" tune "$root/examples/mnist/small.toml" --local 1x1 --cold \
        --out "$work/run-$1" >"$work/ours-$1.txt" 2>&1 || fail "broadsweep failed: $(tail -n 5 "$work/ours-$1.txt")"
    seconds_since "$start"
}

spark() { # PAIR
    taskset -c "$core" "$venv/bin/python" "$here/spark_seed.py" >"$work/spark-$1.txt" 2>"$work/spark-$1.err" ||
        fail "spark_seed.py failed: $(tail -n 5 "$work/spark-$1.err")"
    sed -n 's/^cold total \(.*\) s$/\1/p' "$work/spark-$1.txt" | grep . || fail "spark_seed.py said no cold total"
}

# Of the numbers on stdin, a line each: median, least and most.
median_and_range() {
    sort -n | awk '{ n[NR] = $1 }
        END { printf "%.2f %.2f %.2f\n", (n[int((NR + 1) / 2)] + n[int(NR / 2) + 1]) / 2, n[1], n[NR] }'
}

for ((pair = 1; pair <= pairs; pair++)); do
    ours_s=$(ours "$pair")
    spark_s=$(spark "$pair")
    echo "$ours_s" >>"$work/ours"
    echo "$spark_s" >>"$work/spark"
    echo "pair $pair: broadsweep $ours_s s, spark $spark_s s"
done

echo
echo "broadsweep, test error of its eight trials:"
grep -E '^[0-9]+ ' "$work/ours-1.txt"
echo "spark, test accuracy of its eight tasks:"
grep '^hidden=' "$work/spark-1.txt"
echo
read -r ours_median ours_min ours_max < <(median_and_range <"$work/ours")
read -r spark_median spark_min spark_max < <(median_and_range <"$work/spark")
echo "broadsweep: median $ours_median s, from $ours_min to $ours_max"
echo "spark:      median $spark_median s, from $spark_min to $spark_max"
awk -v a="$spark_median" -v b="$ours_median" 'BEGIN { printf "ratio of medians: %.1f\n", a / b }'
