#!/usr/bin/env bash
# Hours with libFuzzer for the decoders of tests/src/decoders: it knows what code an input reaches, and goes on from those
# that reach more. It fails if an input ended a decoder, or took too much memory or time.
#
#     tests/outside/run fuzz                  # all decoders, 600 s each
#     tests/outside/run fuzz npz 3600         # one, for an hour
#     tests/outside/run fuzz all 30           # all, 30 s each
#     tests/outside/run fuzz npz target/fuzz/failed/npz-crash-1234    # one input, again
#     tests/outside/run fuzz keep             # takes what was found worthwhile into tests/fuzz/corpus
#
# What was found stays in target/fuzz/corpus, so that the next time goes on from there. FUZZERS=2 runs two at a time.
set -euo pipefail

# As cargo-fuzz has it, without AddressSanitizer: what reads bytes from outside has no unsafe code of ours, and goes
# through twice as many inputs this way, on a stable compiler. Where there is unsafe code, .ci/run has the sanitizer.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
out=$PWD/target/fuzz
# Inputs that are kept in the repository are short ones.
kept_bytes_max=4096
# Crashes of one decoder after which it is left alone.
crashes_max=5

# The workspace's lock file: what is fuzzed is what is shipped. Only libFuzzer's own crates are added to it.
cp Cargo.lock tests/fuzz/Cargo.lock
RUSTFLAGS=$coverage cargo build --release --manifest-path tests/fuzz/Cargo.toml --target-dir "$out/build" --target "$host"
fuzzer=$out/build/$host/release/broadsweep-fuzz
decoders=$(sed -n 's/^    decoder("\([a-z_]*\)".*/\1/p' tests/src/decoders/mod.rs)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Runs libFuzzer with these arguments on a decoder.
libfuzzer() { # DECODER ARGUMENT...
    mkdir -p "$out/corpus/$1" "$out/failed" "$scratch/$1"
    BROADSWEEP_DECODER=$1 BROADSWEEP_SEEDS=$out/corpus/$1 TMPDIR=$scratch/$1 \
        "$fuzzer" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$out/failed/$1-" "${@:2}"
}

# Fuzzes a decoder for so many seconds; a crash ends libFuzzer, so it begins again. One line says what came of it.
fuzz() { # DECODER SECONDS
    local began=$SECONDS left=$2 crashes=0 log=$out/$1.log kept=tests/fuzz/corpus/$1
    : >"$log"
    [[ -d $kept ]] || kept=
    while ((left > 0 && crashes < crashes_max)); do
        libfuzzer "$1" -print_final_stats=1 -max_total_time="$left" "$out/corpus/$1" $kept >>"$log" 2>&1 || crashes=$((crashes + 1))
        left=$(($2 - (SECONDS - began)))
    done
    sum() { echo $(($(sed -n "s/^stat::$1: *//p" "$log" | paste -sd+ -))); }
    printf '%-18s %12s executions %6s new inputs %3s crashes\n' "$1" "$(sum number_of_executed_units)" "$(sum new_units_added)" "$crashes"
    ((crashes == 0)) || sed -n 's/.*Test unit written to /    /p' "$log"
}

if [[ ${1-} == keep ]]; then
    for decoder in $decoders; do
        kept=tests/fuzz/corpus/$decoder short=$scratch/short/$decoder
        mkdir -p "$kept" "$short"
        find "$out/corpus/$decoder" -type f ! -name 'seed-*' -size "-$((kept_bytes_max + 1))c" -exec cp -t "$short" {} + 2>/dev/null || true
        libfuzzer "$decoder" -merge=1 "$kept" "$short" 2>&1 | grep 'MERGE-OUTER: [0-9]* new files' || true
        rmdir --ignore-fail-on-non-empty "$kept"
    done
    exit
fi
chosen=${1:-all}
[[ $chosen == all ]] || grep -qx "$chosen" <<<"$decoders" || { echo "tests/outside/fuzz.sh: there is no decoder $chosen; there are: all" $decoders >&2; exit 1; }
if [[ -f ${2-} ]]; then
    libfuzzer "$chosen" "$2"
    exit
fi
[[ $chosen == all ]] || decoders=$chosen
export -f fuzz libfuzzer
export out fuzzer scratch crashes_max
xargs -P "${FUZZERS:-1}" -I{} bash -c "fuzz {} ${2:-600}" <<<"$decoders" | tee "$out/summary.txt"
! grep -qE ' [1-9][0-9]* crashes$' "$out/summary.txt"
