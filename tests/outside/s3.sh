#!/usr/bin/env bash
# Input and output on an S3-compatible store and on web servers: moto, in its server mode.
#
#     tests/outside/run s3            and so many, 20 unless told, kill -9 of drivers at random moments
#
# What is read from the store and written there is compared byte by byte with the same rows on the disk: while connections
# are dropped, with drivers killed and resumed, and with two drivers on one output. It ends with a line for each check.
#
#     VENV=DIR          Python environment with moto in it; made there if it is not there
#                       (unset: in a temporary folder, which goes afterwards)
#     BROADSWEEP=FILE   the program, with the feature `stores` (unset: built in release mode)
set -euo pipefail
outside=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rivals/common.sh
. "$outside/../rivals/common.sh"

need_module moto 'moto[s3,server]==5.2.5'
if [[ -z ${BROADSWEEP:-} ]]; then
    (cd "$root" && cargo build --release --locked --package broadsweep-driver --features stores)
fi
need_broadsweep
"$venv/bin/python" "$outside/s3.py" "$BROADSWEEP" "$work/s3" "${1:-20}"
