#!/usr/bin/env bash
# A finished model applied to many rows: MNIST's, repeated, as IDX and as Parquet.
#
#     tests/outside/run rows [ROWS]      2,000,000 unless told
#
# For the network 784-256-10 and the tutorial's convnet (IDX alone, a tenth of the rows): rows a second on one and on two
# slots, beside what the same network takes to measure rows that lie in memory (the bare forward pass, on one slot); the
# memory of the largest process; and whether 1, 2 and 13 executors write the same bytes. It fails if they do not, if memory
# is not flat, or if a row is not there once.
#
#     VENV=DIR          Python environment with pyarrow in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program (unset: built in release mode)
#     PAIRS=N           times that each is measured, in turns; medians are told (5)
set -euo pipefail
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

rows=${1:-2000000} pairs=${PAIRS:-5}
need_module pyarrow numpy pyarrow
need_broadsweep
[[ -x /usr/bin/time ]] || fail "/usr/bin/time is missing: install Debian's package time"
exec "$venv/bin/python" "$outside/rows.py" "$BROADSWEEP" "$root/examples/mnist" "$work" "$rows" "$pairs"
