#!/usr/bin/env bash
# Compares clusters of this machine's executors, from a clean clone with one command: real training on as many cores as
# there are, and the waits of the original's fifty networks on 1, 2 and 13 executors, which need no cores.
#
#   deploy/bench.sh [--quick] [FOLDER]
#
# Everything lands in FOLDER (default: runs/bench-<time>); started again with the same folder, it makes what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

speed=1.0 repeats=3
if [[ ${1-} == --quick ]]; then
    speed=20.0 repeats=1
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
printf '\n== real training: %s executors of one slot, on %s cores\n' "$sizes" "$cores"
"$broadsweep" scale examples/mnist/quick.toml --sizes "$sizes" --local "${largest}x1" --repeats "$repeats" \
    --out "$folder/training"

printf '\n== the original grid as waits, %s times as fast\n' "$speed"
waits=$folder/original.toml
sed -e "s|^recorded = .*|recorded = \"$PWD/tests/studies/original.csv\"|" -e "s|^speed = .*|speed = $speed|" \
    tests/studies/original.toml >"$waits"
"$broadsweep" scale "$waits" --sizes 1,2,13 --local 13x1 --repeats 1 --out "$folder/waits"

printf '\n== the same cut into static pieces, as the program of January 2016 did it: a forecast\n'
"$broadsweep" forecast "$folder/waits/1-1" --sizes 1,2,13 --schedule chunked
