#!/usr/bin/env bash
# No-op tasks a second of Broadsweep, Ray and Spark, in turn on one core, and the ratios of their medians.
#
#     tests/rivals/throughput.sh [ROUNDS]      (3 rounds unless told)
#
# Ours are trials of tests/studies/noop.toml, on two executors of 16 slots by hand: tasks by `wall_s` of the run, which
# counts the nodes' greeting and the journal, but not the tables after the last trial. Our CPU time is user and system
# time of the driver and both executors, each from its start to its end. Ray and Spark are measured without their
# start: see ray_noop.py and spark_noop.py. One task's latency is that of `tune --local 2x1` with a study of one trial:
# the whole process, and in it the time from the launch of the attempt to its end, by the driver's clock.
# The journal is synchronised to the disk of TMPDIR; if that is memory, ours has it easier.
#
#     VENV=DIR          Python environment with Ray and Spark of requirements.txt in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program to measure (unset: built in release mode)
#     CORE=N            the core that all three are kept on (0)
#     TASKS=N           our tasks in a round (100000); RAY_TASKS (10000) and SPARK_TASKS (1000) are theirs
#     MAKESPAN=1        also run tests/studies/tenths.toml on one executor of 16 slots, on all cores: a minute more
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

rounds=${1:-3}
tasks=${TASKS:-100000}
ray_tasks=${RAY_TASKS:-10000}
spark_tasks=${SPARK_TASKS:-1000}
on=(taskset -c "${CORE:-0}")
slots=16 # of each executor
latency_runs=10 # in each round

for number in "$rounds" "$tasks" "$ray_tasks" "$spark_tasks"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || fail "ROUNDS, TASKS, RAY_TASKS and SPARK_TASKS are numbers from 1, not '$number'"
done
need taskset "it keeps all sides on one core (package util-linux)"
need_java

need_packages "Ray and Spark" "0.8 GB" pyspark ray
need_broadsweep

grid='{ range = \[0.0, 1.0\], count = 10000 }'
grep -q "$grid" "$root/tests/studies/noop.toml" || fail "tests/studies/noop.toml has another grid"
sed "s/$grid/{ range = [0.0, 1.0], count = $tasks }/" "$root/tests/studies/noop.toml" >"$work/noop.toml"
sed "s/$grid/{ values = [0.5] }/" "$root/tests/studies/noop.toml" >"$work/one.toml"

start_executor() { # NAME; its address is added to `nodes`
    local said=$work/$1.said greeting
    mkfifo "$said"
    "${on[@]}" "$BROADSWEEP" executor --listen 127.0.0.1:0 --slots "$slots" --cache-dir "$work/$1.cache" \
        --drain-timeout 5 >"$said" 2>"$work/$1.log" &
    read -r -t 60 greeting <"$said" || fail "an executor does not start: $(tail -n 5 "$work/$1.log")"
    rm "$said"
    nodes=${nodes:+$nodes,}${greeting##* }
}

tune() { # OUT STUDY OPTION...
    "${on[@]}" "$BROADSWEEP" tune "${@:2}" --out "$1" >"$1.log" 2>&1 &
    wait "$!" || fail "broadsweep failed: $(tail -n 5 "$1.log")"
}

tune_on_executors() { # OUT STUDY EXECUTORS; its `wall_s` goes to OUT.wall
    local executor nodes=
    for ((executor = 1; executor <= $3; executor++)); do
        start_executor "executor-$executor"
    done
    tune "$1" "$2" --nodes "$nodes"
    end_processes
    "$venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["wall_s"])' \
        "$1/summary.json" >"$1.wall"
}

# Each of these adds a line to files in $work: tasks a second, microseconds of CPU a task, milliseconds.

ours() { # ROUND
    local out=$work/noop-$1
    times >"$work/times-before"
    tune_on_executors "$out" "$work/noop.toml" 2
    times >"$work/times-after"
    awk -v n="$tasks" '{ print n / $1 }' "$out.wall" >>"$work/ours"
    # The second line of `times` is of what this shell started and waited for: user and system time, as 0m0.000s.
    awk -F '[ms ]+' -v n="$tasks" 'FNR == 2 { all = ($1 + $3) * 60 + $2 + $4; cpu_s = all - before; before = all }
        END { print cpu_s / n * 1e6 }' "$work/times-before" "$work/times-after" >>"$work/ours-cpu"
    rm -r "$out"
}

rival() { # NAME TASKS
    "${on[@]}" "$venv/bin/python" "$here/$1_noop.py" "$2" >"$work/$1.txt" 2>"$work/$1.err" &
    wait "$!" || fail "$1_noop.py failed: $(tail -n 5 "$work/$1.err")"
    sed -n 's#^tasks/s ##p' "$work/$1.txt" | grep . >>"$work/$1" || fail "$1_noop.py said no tasks/s"
}

latency() { # ROUND
    local run out start end
    for ((run = 1; run <= latency_runs; run++)); do
        out=$work/one-$1-$run
        start=${EPOCHREALTIME/./} # microseconds
        tune "$out" "$work/one.toml" --local 2x1 --cache-dir "$work/one.cache"
        end=${EPOCHREALTIME/./}
        awk -v us=$((end - start)) 'BEGIN { print us / 1000 }' >>"$work/process"
        awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
            NR == 2 { print ($column["ended_s"] - $column["started_s"]) * 1000 }' "$out/attempts.csv" >>"$work/attempt"
    done
}

median() { # FILE
    sort -n "$work/$1" | awk '{ n[NR] = $1 } END { print (n[int((NR + 1) / 2)] + n[int(NR / 2) + 1]) / 2 }'
}

median_and_range() { # FILE UNIT DIGITS
    sort -n "$work/$1" | awk -v median="$(median "$1")" -v unit="$2" -v one="%.$3f" '{ n[NR] = $1 }
        END { printf "median " one " %s, from " one " to " one "\n", median, unit, n[1], n[NR] }'
}

last() { # FILE
    tail -n 1 "$work/$1" | xargs printf '%.0f'
}

for ((round = 1; round <= rounds; round++)); do
    ours "$round"
    latency "$round"
    rival ray "$ray_tasks"
    rival spark "$spark_tasks"
    echo "round $round, tasks/s: broadsweep $(last ours) ($(last ours-cpu) us of CPU each)," \
        "ray $(last ray), spark $(last spark)"
done

echo
echo "broadsweep: $(median_and_range ours tasks/s 0)"
echo "ray:        $(median_and_range ray tasks/s 0)"
echo "spark:      $(median_and_range spark tasks/s 0)"
awk -v ours="$(median ours)" -v ray="$(median ray)" -v spark="$(median spark)" \
    'BEGIN { printf "ratios of medians: %.1f times ray, %.0f times spark\n", ours / ray, ours / spark }'
echo
echo "broadsweep, driver and two executors: $(median_and_range ours-cpu "us of CPU a task" 1)"
echo "broadsweep, a run of one trial as a process: $(median_and_range process ms 1)"
echo "broadsweep, its attempt from launch to end: $(median_and_range attempt ms 2)"

if [[ ${MAKESPAN:-} == 1 ]]; then
    on=()
    tune_on_executors "$work/tenths" "$root/tests/studies/tenths.toml" 1
    awk -v slots="$slots" '{
        ideal_s = 10000 * 0.1 / slots
        printf "broadsweep, 10,000 trials of 0.1 s on %d slots: %.2f s, ideal %.1f s, ratio %.3f\n",
            slots, $1, ideal_s, $1 / ideal_s
    }' "$work/tenths.wall"
fi
