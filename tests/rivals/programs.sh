#!/usr/bin/env bash
# Small programs a second of Broadsweep and HyperQueue, in turn on one machine, and the ratio of their medians.
#
#     tests/rivals/programs.sh [ROUNDS]      (3 rounds unless told)
#
# The program is a shell script that prints one line with a metric. Ours are trials of a study with `kind = "program"`, on
# one executor with two slots by hand: tasks by `wall_s` of the run, which counts the node's greeting and the journal.
# Each trial has a folder and, where the machine allows it, a PID namespace of its own; its line is read, its log is kept.
# HyperQueue's tasks are one job on a server and a worker in one process: it keeps what they print in files, and reads
# nothing; see hyperqueue_programs.py. `xargs` starts the same program as often and does nothing else: nobody can be faster.
# CPU time is user and system time of all processes, the program's own included; ours is that of driver and executor, each
# from its start to its end.
# All folders lie in TMPDIR. On a disk, its file system is measured too, and a journal that is synchronised: ext4 without a
# journal of its own looks past every file deleted in the last minutes when a new one is made, so that our rounds get slower
# from one to the next. TMPDIR=/dev/shm leaves that out, for both sides.
#
#     VENV=DIR          Python environment with HyperQueue of requirements.txt in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program to measure (unset: built in release mode)
#     TASKS=N           trials of ours, and tasks of HyperQueue, in a round (2000)
#     SLOTS=N           how many run at once (2)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

rounds=${1:-3}
tasks=${TASKS:-2000}
slots=${SLOTS:-2}

for number in "$rounds" "$tasks" "$slots"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || fail "ROUNDS, TASKS and SLOTS are numbers from 1, not '$number'"
done
((tasks > 1)) || fail "a study needs two trials at least"

need_packages "HyperQueue" "30 MB" hyperqueue
need_broadsweep

echo 'echo validation_error=0.5' >"$work/trial.sh"
cat >"$work/programs.toml" <<END_OF_STUDY
name = "programs"

[data]
files = ["trial.sh"]

[trainer]
kind = "program"
command = ["/bin/sh", "trial.sh"]
printed = ["assignments"]

[search]
sampler = "grid"

[search.space]
number = { range = [0.0, 1.0], count = $tasks }
END_OF_STUDY

# Each of these adds a line to files in $work: tasks a second, and microseconds of CPU a task.

cpu_of() { # NAME: what this shell waited for between NAME.before and NAME.after, to NAME-cpu
    # The second line of `times` is of what this shell started and waited for: user and system time, as 0m0.000s.
    awk -F '[ms ]+' -v n="$tasks" 'FNR == 2 { all = ($1 + $3) * 60 + $2 + $4; cpu_s = all - before; before = all }
        END { print cpu_s / n * 1e6 }' "$work/$1.before" "$work/$1.after" >>"$work/$1-cpu"
}

ours() { # ROUND
    local out=$work/run-$1 greeting
    times >"$work/ours.before"
    mkfifo "$work/said"
    "$BROADSWEEP" executor --listen 127.0.0.1:0 --slots "$slots" --allow-programs --cache-dir "$work/cache" \
        --drain-timeout 5 >"$work/said" 2>"$work/executor.log" &
    read -r -t 60 greeting <"$work/said" || fail "the executor does not start: $(tail -n 5 "$work/executor.log")"
    rm "$work/said"
    "$BROADSWEEP" tune "$work/programs.toml" --nodes "${greeting##* }" --out "$out" --quiet >"$out.log" 2>&1 &
    wait "$!" || fail "broadsweep failed: $(tail -n 5 "$out.log")"
    end_processes
    times >"$work/ours.after"
    cpu_of ours
    "$venv/bin/python" - "$out/summary.json" "$tasks" >>"$work/ours" <<'END_OF_PYTHON'
import json, sys

print(int(sys.argv[2]) / json.load(open(sys.argv[1]))["wall_s"])
END_OF_PYTHON
    rm -r "$out"
}

hyperqueue() { # ROUND
    "$venv/bin/python" "$here/hyperqueue_programs.py" "$tasks" "$slots" "$work/hyperqueue-$1" /bin/sh "$work/trial.sh" \
        >"$work/hyperqueue.txt" 2>"$work/hyperqueue.err" &
    wait "$!" || fail "hyperqueue_programs.py failed: $(tail -n 5 "$work/hyperqueue.err")"
    sed -n 's#^tasks/s ##p' "$work/hyperqueue.txt" | grep . >>"$work/hyperqueue" || fail "HyperQueue said no tasks/s"
    sed -n 's#^cpu us ##p' "$work/hyperqueue.txt" | grep . >>"$work/hyperqueue-cpu" || fail "HyperQueue said no CPU time"
    rm -r "$work/hyperqueue-$1"
}

bare() {
    local start=${EPOCHREALTIME/./} # microseconds
    times >"$work/bare.before"
    xargs -P "$slots" -n 1 -a <(seq "$tasks") /bin/sh "$work/trial.sh" >"$work/bare.txt" &
    wait "$!" || fail "xargs failed"
    times >"$work/bare.after"
    awk -v n="$tasks" -v us=$((${EPOCHREALTIME/./} - start)) 'BEGIN { print n / us * 1e6 }' >>"$work/bare"
    cpu_of bare
}

median() { # FILE
    sort -n "$work/$1" | awk '{ n[NR] = $1 } END { print (n[int((NR + 1) / 2)] + n[int(NR / 2) + 1]) / 2 }'
}

median_and_range() { # FILE UNIT
    sort -n "$work/$1" | awk -v median="$(median "$1")" -v unit="$2" '{ n[NR] = $1 }
        END { printf "median %.0f %s, from %.0f to %.0f", median, unit, n[1], n[NR] }'
}

last() { # FILE
    tail -n 1 "$work/$1" | xargs printf '%.0f'
}

echo "$tasks programs, $slots at a time, folders on $(stat -f -c %T "$work")"
for ((round = 1; round <= rounds; round++)); do
    ours "$round"
    hyperqueue "$round"
    bare
    echo "round $round, tasks/s and us of CPU each: broadsweep $(last ours) $(last ours-cpu)," \
        "hyperqueue $(last hyperqueue) $(last hyperqueue-cpu), xargs $(last bare) $(last bare-cpu)"
done

echo
for name in ours hyperqueue bare; do
    case $name in ours) said=broadsweep ;; hyperqueue) said=hyperqueue ;; bare) said=xargs ;; esac
    printf '%-12s%s; %s\n' "$said:" "$(median_and_range "$name" tasks/s)" "$(median_and_range "$name-cpu" "us of CPU a task")"
done
awk -v ours="$(median ours)" -v theirs="$(median hyperqueue)" -v cpu="$(median ours-cpu)" -v cpu_theirs="$(median hyperqueue-cpu)" \
    'BEGIN { printf "ratios of medians: %.2f times the rate of hyperqueue, %.2f times its CPU time\n", ours / theirs, cpu / cpu_theirs }'
