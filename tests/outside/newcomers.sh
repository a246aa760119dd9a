#!/usr/bin/env bash
# The five small data sets that scikit-learn ships, as a newcomer has them, beside scikit-learn's own networks.
#
#     tests/outside/run newcomers
#
# A line for each: the mean error of both over ten seeds, on the same rows, and scikit-learn's standard error, which the
# difference must not exceed. tests/tests/newcomers.rs keeps the figures.
#
#     VENV=DIR          Python environment with scikit-learn in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program (unset: built in release mode)
set -euo pipefail
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

fail() {
    echo "newcomers.sh: $*" >&2
    exit 1
}

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || fail "Python 3.11 or later is needed, with its venv module"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

venv=${VENV:-$work/venv}
if ! "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("sklearn"))' 2>/dev/null; then
    echo "installing scikit-learn into $venv"
    python3 -m venv "$venv" || fail "python3 cannot make $venv: is its venv module installed?"
    "$venv/bin/pip" install --quiet scikit-learn==1.9.1 || fail "scikit-learn could not be installed"
fi

cd "$root"
if [[ -z ${BROADSWEEP:-} ]]; then
    cargo build --release --locked --package broadsweep-driver
    BROADSWEEP=${CARGO_TARGET_DIR:-$root/target}/release/broadsweep
fi
[[ -x $BROADSWEEP ]] || fail "$BROADSWEEP is not a program"

"$venv/bin/python" "$here/newcomers.py" "$BROADSWEEP" "$root/tests/studies/newcomers"
