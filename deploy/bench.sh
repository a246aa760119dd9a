#!/usr/bin/env bash
# Compares clusters of this machine's executors, from a clean clone with one command: real training on as many cores as
# there are, beside what loops of multiply-adds on as many pinned cores gain; and the waits of the original's fifty
# networks on 1, 2 and 13 executors, which need no cores.
#
#   deploy/bench.sh [--quick] [FOLDER]
#
# Everything lands in FOLDER (default: runs/bench-<time>); started again with the same folder, it makes what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

speed=1.0 repeats=3 loop_s=10
if [[ ${1-} == --quick ]]; then
    speed=20.0 repeats=1 loop_s=2
    shift
fi
folder=${1:-runs/bench-$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p "$folder"

cargo build --locked --release --package broadsweep-driver
broadsweep=target/release/broadsweep

cores=$(nproc) sizes=1 largest=1
for size in 2 4 8 13 16 32 64; do
    if ((size <= cores)); then
        sizes+=,$size largest=$size
    fi
done
# What so many cores of this machine give at most: a virtual core may be half of a real one, or lent to others.
loops() { # PROCESSES; adds `PROCESSES GFLOP/s`, all of them together
    local loop
    for ((loop = 0; loop < $1; loop++)); do
        taskset --cpu-list "${allowed[loop]}" "$multiply_adds" --peak "$loop_s" &
    done >"$folder/loop"
    wait
    awk -v processes="$1" '{ sum += $1 } END { print processes, sum }' "$folder/loop" >>"$folder/loops"
    rm "$folder/loop"
}
all_loops() {
    for size in ${sizes//,/ }; do loops "$size"; done
}
multiply_adds=$(cargo bench --locked --package broadsweep-executor --bench training --no-run 2>&1 |
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
mapfile -t allowed < <(taskset --cpu-list --pid $$ | sed 's/.*: //' | tr , '\n' |
    awk -F- '{ for (core = $1; core <= $NF; core++) print core }')

printf '\n== real training: %s executors of one slot, on %s cores\n' "$sizes" "$cores"
rm -f "$folder/loops"
all_loops
"$broadsweep" scale examples/mnist/quick.toml --sizes "$sizes" --local "${largest}x1" --repeats "$repeats" \
    --out "$folder/training"
all_loops
awk -F '[ ,]' 'NR == FNR { gflops[$1] += $2; next } /^[0-9]/ {
    gain = gflops[$1] / gflops[1]
    printf "%2d executors: training gains %.2f x, multiply-adds on pinned cores %.2f x: %.3f of it\n", $1, $4, gain, $4 / gain
}' "$folder/loops" "$folder/training/scale.csv"

printf '\n== the original grid as waits, %s times as fast\n' "$speed"
waits=$folder/original.toml
sed -e "s|^recorded = .*|recorded = \"$PWD/tests/studies/original.csv\"|" -e "s|^speed = .*|speed = $speed|" \
    tests/studies/original.toml >"$waits"
"$broadsweep" scale "$waits" --sizes 1,2,13 --local 13x1 --repeats 1 --out "$folder/waits"

printf '\n== the same cut into static pieces, as the program of January 2016 did it: a forecast\n'
"$broadsweep" forecast "$folder/waits/1-1" --sizes 1,2,13 --schedule chunked
