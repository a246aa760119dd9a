#!/usr/bin/env bash
# TensorFlow itself, unchanged, as the trainer: examples/mnist/keras.toml on two local executors.
#
#     tests/outside/run tensorflow
#
# First with one executor killed in the middle: all trials have to finish with metrics for each epoch, and the retry has
# to go on from its checkpoint. Then undisturbed, and the same grid of the same network with the built-in trainer: errors
# and times side by side. It ends with a line for each thing that was checked, and fails if one of them is not so.
#
#     VENV=DIR          Python environment with tensorflow-cpu in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program (unset: built in release mode)
#     SCALE=1           compares one executor with two as well, which takes three times as long again
#     LOOP=2            compares a plain Python loop over eight trainings, a program that stays up and one that is started
#                       for each trial, on one core, so many times in turn; nothing else may run meanwhile
set -euo pipefail
export LC_ALL=C # a point in decimal numbers

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
study=$root/examples/mnist/keras.toml

fail() {
    echo "tensorflow.sh: $*" >&2
    exit 1
}

need() { # PROGRAM WHAT-TO-DO
    command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

need python3 "TensorFlow is a Python library; install Python 3.10 or later, with its venv module"

work=$(mktemp -d)
driver=
end() {
    # Local executors end with their driver, once it lets them go.
    [[ -z $driver ]] || kill -TERM "$driver" 2>/dev/null || true
    [[ -z $driver ]] || wait "$driver" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT

venv=${VENV:-$work/venv}
if ! "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("tensorflow"))' 2>/dev/null; then
    echo "installing TensorFlow into $venv (about 2 GB)"
    python3 -m venv "$venv" || fail "python3 cannot make $venv: is its venv module installed?"
    grep -E '^(numpy|tensorflow-cpu)[<=]' "$root/tests/rivals/requirements.txt" >"$work/requirements.txt"
    "$venv/bin/pip" install --quiet -r "$work/requirements.txt" || fail "TensorFlow could not be installed"
fi
# The study's command is `python3`, and local executors look for it where this script would.
export PATH=$venv/bin:$PATH TF_CPP_MIN_LOG_LEVEL=3

if [[ -z ${BROADSWEEP:-} ]]; then
    need cargo "Broadsweep is built from source; install Rust, or name a built program in BROADSWEEP"
    (cd "$root" && cargo build --release --locked --package broadsweep-driver)
    BROADSWEEP=${CARGO_TARGET_DIR:-$root/target}/release/broadsweep
fi
[[ -x $BROADSWEEP ]] || fail "$BROADSWEEP is not a program"

tune() { # STUDY RUN
    "$BROADSWEEP" tune "$1" --local 2x1 --cache-dir "$work/cache" --out "$work/$2" >"$work/$2.txt" 2>"$work/$2.err"
}

ask() { # QUESTION ARG...
    python3 "$here/tensorflow_runs.py" "$@"
}

executor_of() { # DRIVER N: the process of its Nth local executor from 0, in the order in which they were started
    cat /proc/"$1"/task/*/children | tr ' ' '\n' | sort -n | sed '/^$/d' | sed -n "$(($2 + 1))p"
}

# The executor is killed whose trial was the first to have a checkpoint; its trial has two epochs left.
echo "Keras on two executors, one of them killed in the middle"
RUST_LOG=broadsweep_driver=debug "$BROADSWEEP" tune "$study" --local 2x1 --cache-dir "$work/cache" \
    --out "$work/killed" >"$work/killed.txt" 2>"$work/killed.err" &
driver=$!
until grep -q "checkpoint safe" "$work/killed.err" 2>/dev/null; do
    kill -0 "$driver" 2>/dev/null || fail "it ended before a checkpoint was there: $(tail -n 5 "$work/killed.err")"
    sleep 0.1
done
trial=$(sed -En 's/.*checkpoint safe.*task=t?([0-9]+).*/\1/p' "$work/killed.err" | head -n 1)
number=$(sed -En "s/.*launched executor=executor ([0-9]+) attempt=t$trial\.1 .*/\1/p" "$work/killed.err" | head -n 1)
executor=$(executor_of "$driver" "$number")
[[ -n $executor ]] || fail "its executor was not found"
kill -KILL "$executor"
echo "killed executor $number, process $executor, which had trial $trial"
wait "$driver" || fail "the run with a killed executor failed: $(tail -n 5 "$work/killed.err")"
driver=

echo "Keras on two executors, undisturbed"
tune "$study" keras || fail "the undisturbed run failed: $(tail -n 5 "$work/keras.err")"

echo "the built-in trainer on two executors, the same grid"
ask built-in "$root/examples/mnist/data" >"$work/built-in.toml"
tune "$work/built-in.toml" ours || fail "the run of the built-in trainer failed: $(tail -n 5 "$work/ours.err")"

if [[ -n ${SCALE:-} ]]; then
    echo "Keras on one executor and on two"
    "$BROADSWEEP" scale "$study" --sizes 1,2 --local 2x1 --repeats 1 --cache-dir "$work/cache" --out "$work/scale" --quiet ||
        fail "the comparison failed"
fi

seconds_of() { # COMMAND...: how long it takes on one core, and what else the machine did
    python3 - "$@" <<'END'
import os, subprocess, sys, time

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
began = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(f"{time.monotonic() - began:.1f} s (load {os.getloadavg()[0]:.1f})")
END
}

compare_once() { # NUMBER
    local eight=(--set search.space.learning_rate.count=4 --local 1x1 --cache-dir "$work/cache" --quiet)
    echo "plain loop: $(cd "$root/examples/mnist" && seconds_of python3 "$here/tensorflow_runs.py" loop "$work/looped")"
    for name in keras_worker keras; do
        # Without the control: eight trainings, as in the loop.
        sed '/^\[control\]/,$d' "$root/examples/mnist/$name.toml" >"$work/files/$name.toml"
        echo "$name: $(seconds_of "$BROADSWEEP" tune "$work/files/$name.toml" "${eight[@]}" --out "$work/$name-$1")"
    done
}

if [[ -n ${LOOP:-} ]]; then
    echo "eight trainings on one core"
    mkdir "$work/files"
    cp -r "$root/examples/mnist/"{keras_mnist.py,data} "$work/files"
    for number in $(seq "$LOOP"); do
        compare_once "$number" 2>"$work/loop.err" || fail "the comparison failed: $(tail -n 5 "$work/loop.err")"
    done
fi

echo
ask table "$work/keras" "$work/ours"
echo
ask check "$work/killed" "$work/keras" "$work/ours" "$trial"
