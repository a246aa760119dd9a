#!/usr/bin/env bash
# Plants bugs one at a time (cargo-mutants) in the places where one would give wrong numbers or lose work, and runs the
# tests beside each place. What no test notices is printed at the end; it fails if mutants.md does not say why.
#
#     tests/outside/run mutants                                   # all places: many hours
#     tests/outside/run mutants executor/src/tenant.rs            # this file
#     tests/outside/run mutants 'driver/src/journal/*.rs'         # these files
#     tests/outside/run mutants executor/src/hold.rs -- --shard 0/4   # what follows -- is for cargo-mutants
#
# It works on a copy of the tree in target/mutants/tree, which stays there, so that only the first run builds everything.
set -euo pipefail

places=(
    driver/src/{run,cluster,journal}/*.rs
    executor/src/{tenant,hold,session,control,slots}.rs executor/src/store/*.rs
    executor/nn/src/{train,evaluate,batch,optimizer,checkpoint}.rs
)
given=()
while (($# > 0)) && [[ $1 != -- ]]; do
    given+=("$1")
    shift
done
(($# > 0)) && shift
if ((${#given[@]} > 0)); then
    # Unquoted: here patterns become files.
    places=(${given[*]})
fi

root=$PWD
tree=$root/target/mutants/tree
out=$root/target/mutants/out
mkdir -p "$tree"
rm -rf "$out"
# What is the same keeps its time, or cargo would build it again; what differs gets a new one, never an old one, or cargo
# would take the last mutant for it. Hence `cmp` and `cp` instead of an archive.
(cd "$tree" && find . -path ./target -prune -o -type f -print0) | while IFS= read -rd '' file; do
    [[ -f $file ]] || rm "$tree/$file"
done
git ls-files -z --cached --others --exclude-standard | while IFS= read -rd '' file; do
    cmp -s "$file" "$tree/$file" || [[ ! -f $file ]] || { mkdir -p "$tree/$(dirname "$file")" && cp "$file" "$tree/$file"; }
done

# What runs against the mutants of a file: the tests of which package, which target of it, and which of these. All of them
# would take minutes a mutant: of the driver's, those of the folder are run. What only a cluster shows (sessions, and their
# parts that have no tests of their own) lives through some worlds of the simulation.
tests_of() {
    local module
    module=$(basename "$1" .rs)
    case $1 in
    */session.rs) echo "broadsweep-tests;--test=simulation;whatever_happens" ;;
    driver/src/cluster/*)
        if grep -q '^#\[cfg(test)\]' "$1"; then
            echo "broadsweep-driver;--lib;cluster::"
        else
            echo "broadsweep-tests;--test=simulation;whatever_happens"
        fi
        ;;
    driver/src/*/*) echo "broadsweep-driver;--lib;$(cut -d/ -f3 <<<"$1")::" ;;
    driver/src/*) echo "broadsweep-driver;--lib;$module::" ;;
    executor/nn/src/checkpoint.rs) echo "broadsweep-nn;--lib;tests::checkpoints checkpoint::" ;;
    executor/nn/src/*) echo "broadsweep-nn;--lib;tests::training tests::checkpoints $module::" ;;
    executor/src/store/*) echo "broadsweep-executor;--lib;store::" ;;
    executor/src/*) echo "broadsweep-executor;--lib;" ;;
    *)
        echo "tests/outside/mutants.sh: it knows no tests for $1" >&2
        return 1
        ;;
    esac
}

declare -A files_of=()
for file in "${places[@]}"; do
    [[ -f $file ]] || { echo "tests/outside/mutants.sh: there is no file $file" >&2; exit 1; }
    group=$(tests_of "$file")
    files_of[$group]+=" --file $file"
done

# Each mutant is built once and runs for seconds, so the large crates are built fast, not to run fast.
export CARGO_PROFILE_DEV_DEBUG=0 BROADSWEEP_SEEDS=${BROADSWEEP_SEEDS:-40}
fast=(--cargo-arg=--config=profile.dev.package.broadsweep-{driver,executor,nn,tests}.opt-level=0)
number=0
for group in "${!files_of[@]}"; do
    IFS=';' read -r packages target tests <<<"$group"
    echo "== $packages $target $tests"
    into=$out/$((number += 1))
    mkdir -p "$into"
    # 2: some survived, 3: some ran out of time. Both are told at the end; anything else ends this.
    (cd "$tree" && cargo mutants --in-place --workspace --output "$into" ${files_of[$group]} \
        --test-package "$packages" "${fast[@]}" --cargo-arg="$target" --minimum-test-timeout 20 --timeout-multiplier 5 \
        --no-shuffle --colors never "$@" -- $tests) || (($? == 2 || $? == 3))
done

# A mutant is named in mutants.md without its line and column, which change.
all() { cat "$out"/*/mutants.out/"$1".txt; }
named() { sed -E 's/:[0-9]+:[0-9]+: /: /' ; }
unexplained() { named | sort -u | while read -r mutant; do grep -qF "\`$mutant\`" tests/outside/mutants.md || echo "$mutant"; done; }
echo "== per file: tried, caught, out of time (caught, too), survived; what does not compile is not counted"
for file in $(cat "$out"/*/mutants.out/{caught,missed,timeout}.txt | cut -d: -f1 | sort -u); do
    caught=$(all caught | grep -c "^$file:" || true)
    timeout=$(all timeout | grep -c "^$file:" || true)
    missed=$(all missed | grep -c "^$file:" || true)
    echo "$file $((caught + timeout + missed)) $caught $timeout $missed"
done
echo "== survived:"
all missed
echo "== of these, mutants.md does not explain:"
left=$(all missed | unexplained)
echo "${left:-none}"
[[ -z $left ]]
