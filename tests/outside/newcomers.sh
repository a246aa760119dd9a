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
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

need_module sklearn scikit-learn==1.9.1
need_broadsweep
cd "$root"

"$venv/bin/python" "$outside/newcomers.py" "$BROADSWEEP" "$root/tests/studies/newcomers"
