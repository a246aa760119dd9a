#!/usr/bin/env bash
# Broadcasts of 47 MB (MNIST's images) and of 500 MB (random bytes) to two executors on loopback, Broadsweep's and Spark's
# in turn on all cores, the ratios of their medians, and what an executor of ours takes of memory.
#
#     tests/rivals/broadcast.sh [ROUNDS]      (3 rounds unless told)
#
# Both sides begin with the array in the driver's memory, and end when both executors have it. Spark's two are processes
# that each have read a byte of every page (spark_broadcast.py); its first broadcast of each array warms it up and does not
# count. Ours are fresh processes with empty cache folders; they are ready when every block's BLAKE3 digest is checked and
# the file is mapped. Ours is `broadcast.wall_s` of the run, which counts the greeting of the executors, but not the
# naming of blocks: that is one pass over the array on the driver. So the whole process of `broadsweep tune` is shown as
# well, from its start to its end, reading the file, naming the blocks, writing the results and all.
#
# Two files are written, one for each executor: how long `cp` takes for two copies at the same time stands beside it. Where
# the system has to find fresh memory for its page cache, that is most of the time, and differs from one time to the next.
#
# Memory is Pss, a process's own pages and its share of those that it shares, at its largest while both slots of both
# executors train on the 500 MB: each of them first with a cache folder of its own, then with one for both.
#
#     VENV=DIR          Python environment with Spark of requirements.txt in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program to measure (unset: built in release mode)
#     TIMES=N           broadcasts of each array and side in a round (3)
set -euo pipefail
# shellcheck source=tests/rivals/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

rounds=${1:-3}
times=${TIMES:-3}
arrays=(mnist random)

for number in "$rounds" "$times"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || fail "ROUNDS and TIMES are numbers from 1, not '$number'"
done
need_java

need_packages "Spark" "0.5 GB" numpy pyspark
need_broadsweep

"$venv/bin/python" - "$root/examples/mnist/data/train-images-idx3-ubyte.gz" "$work" <<'PYTHON'
import gzip, sys
import numpy
images, work = sys.argv[1:]
with gzip.open(images) as file:
    mnist = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 784)
random = numpy.random.default_rng(0).integers(0, 256, (500_000_000 // 784, 784), numpy.uint8)
for name, rows in ("mnist", mnist), ("random", random):
    numpy.save(f"{work}/{name}.npy", rows)
    numpy.save(f"{work}/{name}-labels.npy", (numpy.arange(len(rows)) % 10).astype(numpy.uint8))
PYTHON

study() { # NAME ARRAY REST
    cat >"$work/$1.toml" <<STUDY
name = "$1"

[data]
format = "npy"
train_features = "$2.npy"
train_labels = "$2-labels.npy"
validation_rows = 1000

[search]
sampler = "grid"

$3
STUDY
}

for array in "${arrays[@]}"; do
    study "$array" "$array" '[trainer]
kind = "replay"
seconds = 0
error = "$error"

[search.space]
error = { values = [0.5] }'
done
study memory random '[model]
layers = [{ kind = "flatten" }, { kind = "dense", units = 10 }]

[training]
learning_rate = "$learning_rate"
batch_size = 250
epochs = 1

[search.space]
learning_rate = { log_range = [0.001, 0.01], count = 4 }'

start_executors() { # SLOTS CACHE...; their addresses go to `nodes`, their numbers to `executors`
    local cache greeting said=$work/said
    nodes="" executors=()
    for cache in "${@:2}"; do
        mkfifo "$said"
        "$BROADSWEEP" executor --listen 127.0.0.1:0 --slots "$1" --cache-dir "$work/$cache" --drain-timeout 5 \
            >"$said" 2>"$work/executor.log" &
        executors+=("$!")
        read -r -t 60 greeting <"$said" || fail "an executor does not start: $(tail -n 5 "$work/executor.log")"
        rm "$said"
        nodes=${nodes:+$nodes,}${greeting##* }
    done
}

number() { # FILE PLACE...
    "$venv/bin/python" -c 'import functools, json, sys
print(functools.reduce(lambda value, name: value[name], sys.argv[2:], json.load(open(sys.argv[1]))))' "$@"
}

ours() { # ARRAY
    local start end
    start_executors 1 cache-1 cache-2
    start=${EPOCHREALTIME/./} # microseconds
    "$BROADSWEEP" tune "$work/$1.toml" --nodes "$nodes" --nodes-min 2 --out "$work/out" >"$work/tune.log" 2>&1 &
    wait "$!" || fail "broadsweep failed: $(tail -n 5 "$work/tune.log")"
    end=${EPOCHREALTIME/./}
    end_processes
    number "$work/out/summary.json" broadcast wall_s >>"$work/ours-$1"
    awk -v us=$((end - start)) 'BEGIN { print us / 1e6 }' >>"$work/process-$1"
    rm -r "$work/out" "$work/cache-1" "$work/cache-2"
}

copies() { # ARRAY
    local start=${EPOCHREALTIME/./} copy
    for copy in 1 2; do
        cp "$work/$1.npy" "$work/copy-$copy" &
    done
    wait
    awk -v us=$((${EPOCHREALTIME/./} - start)) 'BEGIN { print us / 1e6 }' >>"$work/copies-$1"
    rm "$work/copy-1" "$work/copy-2"
}

spark() { # ARRAY...
    "$venv/bin/python" "$here/spark_broadcast.py" "$times" "${@/%/.npy}" >"$work/spark.txt" 2>"$work/spark.err" &
    wait "$!" || fail "spark_broadcast.py failed: $(tail -n 5 "$work/spark.err")"
    local array
    for array in "${arrays[@]}"; do
        sed -n "s#^$array ##p" "$work/spark.txt" | grep . >>"$work/spark-$array" || fail "Spark said nothing of $array"
    done
}

pss() { # PROCESS; in kB
    awk '$1 == "Pss:" { print $2 }' "/proc/$1/smaps_rollup" 2>/dev/null || true
}

memory() { # HOW CACHE...
    local tune idle=() most=() now place
    start_executors 2 "${@:2}"
    for place in "${!executors[@]}"; do
        idle[place]=$(pss "${executors[place]}")
        most[place]=0
    done
    "$BROADSWEEP" tune "$work/memory.toml" --nodes "$nodes" --nodes-min 2 --out "$work/out" >"$work/tune.log" 2>&1 &
    tune=$!
    while kill -0 "$tune" 2>/dev/null; do
        for place in "${!executors[@]}"; do
            now=$(pss "${executors[place]}")
            ((${now:-0} <= most[place])) || most[place]=$now
        done
        sleep 0.1
    done
    wait "$tune" || fail "broadsweep failed: $(tail -n 5 "$work/tune.log")"
    end_processes
    (cd "$work" && rm -rf out "${@:2}")
    echo "Pss of two executors of 2 slots, $1: ${most[*]} kB; idle ${idle[*]} kB"
}

median() { # FILE
    sort -n "$work/$1" | awk '{ n[NR] = $1 } END { print (n[int((NR + 1) / 2)] + n[int(NR / 2) + 1]) / 2 }'
}

median_and_range() { # FILE
    sort -n "$work/$1" | awk -v median="$(median "$1")" '{ n[NR] = $1 }
        END { printf "median %.3f s, from %.3f to %.3f, of %d\n", median, n[1], n[NR], NR }'
}

for ((round = 1; round <= rounds; round++)); do
    for array in "${arrays[@]}"; do
        for ((time = 1; time <= times; time++)); do
            ours "$array"
            copies "$array"
        done
    done
    spark "${arrays[@]/#/$work/}"
    for array in "${arrays[@]}"; do
        echo "round $round, $array: broadsweep $(tail -n 1 "$work/ours-$array") s," \
            "spark $(tail -n 1 "$work/spark-$array") s"
    done
done

for array in "${arrays[@]}"; do
    echo
    echo "$array, $(stat --format %s "$work/$array.npy") bytes"
    echo "broadsweep:            $(median_and_range "ours-$array")"
    echo "broadsweep, a process: $(median_and_range "process-$array")"
    echo "two copies with cp:    $(median_and_range "copies-$array")"
    echo "spark:                 $(median_and_range "spark-$array")"
    awk -v ours="$(median "ours-$array")" -v process="$(median "process-$array")" -v spark="$(median "spark-$array")" \
        'BEGIN { printf "spark takes %.1f times as long; as our whole process: %.1f times\n", spark / ours, spark / process }'
done
echo
memory "a cache folder each" cache-1 cache-2
memory "one cache folder" cache cache
