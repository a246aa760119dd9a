#!/usr/bin/env bash
# Time and memory of reading large files, beside NumPy and pandas, which read the same ones in the same run.
#
#     tests/outside/run reading [MB] [ROUNDS]      (2000 MB a file and 3 rounds unless told)
#
# Ours is `broadsweep check`: it reads all rows, takes the statistics of each column, lays the data set out in a temporary
# file, and names its blocks. Theirs puts the values into memory, and does nothing more. Both are whole processes, in
# turn, with the file in the system's cache. Memory is what belongs to the process alone (RssAnon), at its largest, asked
# every few milliseconds. It ends with a line for each format, and fails if ours took more than 200 MB of any of them.
#
# Each file is made, read and removed: there has to be room for two of them.
#
#     VENV=DIR          Python environment with pandas and pyarrow in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program (unset: built in release mode)
set -euo pipefail
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

mb=${1:-2000}
rounds=${2:-3}
for number in "$mb" "$rounds"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || fail "MB and ROUNDS are numbers from 1, not '$number'"
done

need_module pandas numpy pandas pyarrow
need_module pyarrow numpy pandas pyarrow
need_broadsweep
TMPDIR=$work "$venv/bin/python" "$outside/reading.py" "$BROADSWEEP" "$work" "$mb" "$rounds"
