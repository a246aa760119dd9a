# What the scripts here begin with, and some in tests/outside. They source it; alone it does nothing.
#
# It gives them: `here` and `root`, the folders of the scripts and of the project; `work`, a temporary folder that goes
# with the script; `venv`, the Python environment that VENV names, or one in `work`; and what stands below.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C # a point in decimal numbers

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

need() { # PROGRAM WHAT-TO-DO
    command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

need_java() {
    local java=${JAVA_HOME:+$JAVA_HOME/bin/}java
    need "$java" "Spark needs Java 17; install it, or set JAVA_HOME"
    "$java" -version >/dev/null 2>&1 || fail "java does not start: Spark needs Java 17"
}

# What is measured runs in the background of the script, and nothing else does: so it can be ended on any way out.
end_processes() {
    local running
    mapfile -t running < <(jobs -pr)
    ((${#running[@]} == 0)) || kill "${running[@]}" 2>/dev/null || true
    wait
}
work=$(mktemp -d)
trap 'end_processes; rm -rf "$work"' EXIT
venv=${VENV:-$work/venv}

need_packages() { # WHAT SIZE PACKAGE...: sees to it that `venv` has these of requirements.txt
    local what=$1 size=$2 names
    shift 2
    need python3 "$what: the other side is a Python program; install Python 3.10 or later, with its venv module"
    # A package and its module have one name, but for TensorFlow without GPUs.
    if "$venv/bin/python" -c 'import importlib.util as u, sys
sys.exit(not all(u.find_spec(name.removesuffix("-cpu")) for name in sys.argv[1:]))' "$@" 2>/dev/null; then
        return
    fi
    echo "installing $what into $venv (about $size)"
    python3 -m venv "$venv" || fail "python3 cannot make $venv: is its venv module installed?"
    names=$(IFS='|' && echo "$*")
    grep -E "^($names)[<=]" "$here/requirements.txt" >"$work/requirements.txt"
    "$venv/bin/pip" install --quiet -r "$work/requirements.txt" || fail "$what could not be installed"
}

need_module() { # MODULE PACKAGE...: sees to it that `venv` has the module, which these packages bring
    local module=$1
    shift
    need python3 "the other side is a Python program; install Python 3.11 or later, with its venv module"
    if "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec(sys.argv[1]))' "$module" 2>/dev/null; then
        return
    fi
    echo "installing $* into $venv"
    python3 -m venv "$venv" || fail "python3 cannot make $venv: is its venv module installed?"
    "$venv/bin/pip" install --quiet "$@" || fail "$* could not be installed"
}

# The program to measure, as BROADSWEEP: what that names already, or one that is built now.
need_broadsweep() {
    if [[ -z ${BROADSWEEP:-} ]]; then
        need cargo "Broadsweep is built from source; install Rust, or name a built program in BROADSWEEP"
        (cd "$root" && cargo build --release --locked --package broadsweep-driver)
        BROADSWEEP=${CARGO_TARGET_DIR:-$root/target}/release/broadsweep
    fi
    [[ -x $BROADSWEEP ]] || fail "$BROADSWEEP is not a program"
}
