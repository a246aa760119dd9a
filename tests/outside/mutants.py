"""Plants bugs (those of cargo-mutants) in the places where one would give wrong numbers or lose work, and runs the tests
beside each place. What no test notices is printed at the end; it fails if mutants.md does not say why.

    tests/outside/run mutants                                  # all places
    tests/outside/run mutants executor/src/tenant.rs           # this file, or several
    tests/outside/run mutants FILE... --only PATTERN           # of these, the mutants whose names match

A build a mutant would take hours. So all of them are built into the same binaries: a function with mutants becomes a
`match` on a number from the environment, each arm of which is its body with one bug, and the last one its body as it is.
What cannot be built so (constants, and functions in functions) is built by itself, as cargo-mutants would. It works on a
copy of the tree in target/mutants/tree, which stays there, so that only the first run builds everything; a copy of
target/debug in target/mutants/tree/target spares that, too.
"""

import hashlib
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict

PLACES = [
    "driver/src/journal/*.rs",
    "executor/store/src/*.rs",
    *(f"executor/src/{name}.rs" for name in ["hold", "slots", "control", "tenant"]),
    *(f"executor/nn/src/{name}.rs" for name in ["train", "evaluate", "batch", "optimizer", "checkpoint"]),
    "driver/src/run/*.rs",
    "driver/src/cluster/*.rs",
    "executor/src/session.rs",
]
ROOT = pathlib.Path.cwd()
WORK = ROOT / "target/mutants"
TREE = WORK / "tree"
# What no compiler took in an earlier run, for each file as it was then: finding that out takes several builds.
REFUSED = WORK / "refused.json"
# The number of the mutant that acts; none where it is not set.
VARIABLE = "BROADSWEEP_MUTANT"
ACTIVE = f"""
#[doc(hidden)]
pub fn active_mutant() -> u32 {{
    static ACTIVE: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| {{
        std::env::var("{VARIABLE}").ok().and_then(|number| number.parse().ok()).unwrap_or(0)
    }});
    *ACTIVE
}}
"""
# Our crates are built fast, not to run fast; all others are as for `cargo test`, and may be copied from there.
SETTINGS = [
    f"profile.dev.package.broadsweep-{name}.{setting}=0"
    for name in ["driver", "executor", "nn", "tests", "proto", "common", "leash", "store", "identity", "scheduler", "search"]
    for setting in ["opt-level", "debug"]
]
TARGETS = ["--lib", "--test=simulation"]
SEEDS = "40"
LONG_TRAININGS = ["every_optimizer", "convolution", "numbers_are_predicted", "early_stop_goes_on", "in_segments"]
SKIP_LONG_TRAININGS = [part for name in LONG_TRAININGS for part in ("--skip", name)]
MEMORY_BYTES_MAX = 2 << 30


def tests_of(file):
    """What runs against the mutants of a file, in turns: which target's tests, and which of these. First come those that
    find most, then all that may. What only a cluster shows (sessions, links, the run's loop) lives through some worlds of
    the simulation where they find nothing."""
    module = pathlib.PurePath(file).stem
    simulation = ("simulation", ("whatever_happens",))
    if file == "executor/src/session.rs":
        return [("broadsweep_executor", ("session::",)), simulation]
    if file.startswith("driver/src/cluster/") or file == "driver/src/run/mod.rs":
        return [("broadsweep_driver", (pathlib.PurePath(file).parts[2] + "::",)), simulation]
    if match := re.match(r"driver/src/(\w+)/", file):
        return [("broadsweep_driver", (f"{match[1]}::{module}::",)), ("broadsweep_driver", (match[1] + "::",))]
    if file.startswith("executor/nn/src/"):
        tests = ("tests::training", "tests::checkpoints", module + "::")
        return [("broadsweep_nn", (*tests, *SKIP_LONG_TRAININGS)), ("broadsweep_nn", tests)]
    if file.startswith("executor/store/src/"):
        return [("broadsweep_store", ())]
    if file.startswith("executor/src/"):
        return [("broadsweep_executor", (module + "::",)), ("broadsweep_executor", ())]
    sys.exit(f"tests/outside/mutants.py: it knows no tests for {file}")


class Mutant:
    def __init__(self, number, listed):
        self.number = number
        self.file = listed["file"]
        self.name = listed["name"]
        self.genre = listed["genre"]
        self.replacement = listed["replacement"]
        self.span = listed["span"]
        self.function = listed["function"]
        # Neither its line nor its column, which change.
        self.plain_name = re.sub(r":\d+:\d+: ", ": ", self.name, count=1)


def root_of(path):
    """The file that a crate begins with, which tells all others of it which mutant acts."""
    return str(next(up for up in pathlib.PurePath(path).parents if up.name == "src") / "lib.rs")


def positions(text):
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return lambda place: starts[place["line"] - 1] + place["column"] - 1


def replaced(text, at, mutant):
    start, end = at(mutant.span["start"]), at(mutant.span["end"])
    return text[:start] + mutant.replacement + text[end:]


class File:
    """One file, with all of its mutants that can be built together."""

    def __init__(self, path, mutants):
        self.path = path
        self.text = (ROOT / path).read_text()
        self.more = ACTIVE if path == root_of(path) else ""
        self.at = positions(self.text)
        self.functions, self.alone, self.iterators = {}, [], set()
        of_function = defaultdict(list)
        for mutant in mutants:
            key = mutant.function and tuple(self.at(mutant.function["span"][end]) for end in ("start", "end"))
            of_function[key].append(mutant)
        for key, group in of_function.items():
            body = self.body(key, group, of_function)
            if body:
                self.functions[body] = group
            else:
                self.alone += group

    def body(self, key, group, all_functions):
        """Where the braces of a function's body stand; nothing for one whose body cannot be told over and over."""
        values = [mutant for mutant in group if mutant.genre == "FnValue"]
        if key is None or not values:
            return None
        start = self.at(values[0].span["start"])
        head = self.text[key[0] : start]
        is_nested = any(
            other and other != key and (other[0] <= key[0] and key[1] <= other[1] or key[0] <= other[0] and other[1] <= key[1])
            for other in all_functions
        )
        # Arms of an iterator's function are of different types: they are collected.
        is_iterator = re.search(r"->\s*impl \w*Iterator\b", head) and not re.search(r"\breturn\b", self.text[start : key[1]])
        is_opaque = re.search(r"->[^{]*\bimpl\b", head) and not is_iterator
        if is_nested or is_opaque or re.search(r"\bconst (unsafe )?fn\b", head):
            return None
        self.iterators |= {key[1]} if is_iterator else set()
        # The last brace before the first statement that stands in no comment.
        while True:
            start = self.text.rindex("{", 0, start)
            if "//" not in self.text[self.text.rindex("\n", 0, start) : start]:
                return (start, key[1])

    def write(self):
        """Writes the file with its mutants. Returns the lines of each one, by their numbers, and of each whole function."""
        pieces, place, self.arms = [], 0, []
        line = 1

        def put(piece):
            nonlocal line
            pieces.append(piece)
            line += piece.count("\n")

        for (start, end), group in sorted(self.functions.items()):
            put(self.text[place:start])
            function_line = line
            if group:
                collect = "Vec::from_iter" if end in self.iterators else ""
                put("{ match crate::active_mutant() {\n")
                for mutant in group:
                    arm_line = line
                    from_, to = self.at(mutant.span["start"]), self.at(mutant.span["end"])
                    inside = mutant.replacement if mutant.genre == "FnValue" else None
                    if inside is None:
                        body = self.text[start:from_] + mutant.replacement + self.text[to:end]
                    else:
                        body = "{ " + inside + " }"
                    put(f"{mutant.number}u32 => {collect}({body}),\n" if collect else f"{mutant.number}u32 => {body}\n")
                    self.arms.append((arm_line, line - 1, (start, end), mutant))
                put(f"_ => {collect}(" if collect else "_ => ")
            put(self.text[start:end])
            if group:
                put(")\n}.into_iter() }" if collect else "\n} }")
            self.arms.append((function_line, line, (start, end), None))
            place = end
        put(self.text[place:])
        update(TREE / self.path, "".join(pieces) + self.more)

    def digest(self):
        return hashlib.sha256(self.text.encode()).hexdigest()

    def drop_known(self, known):
        """Leaves out what was refused in an earlier run, and returns it."""
        names = known["names"] if known.get("digest") == self.digest() else []
        dropped = [mutant for group in self.functions.values() for mutant in group if mutant.name in names]
        self.functions = {
            function: [mutant for mutant in group if mutant not in dropped] for function, group in self.functions.items()
        }
        return dropped

    def drop_at(self, line):
        """The compiler refuses this line. Returns a mutant that cannot be built, or the whole function's."""
        for first, last, function, mutant in self.arms:
            if first <= line <= last:
                if mutant is not None:
                    if mutant in self.functions[function]:
                        self.functions[function].remove(mutant)
                    return [mutant], []
                self.alone += self.functions[function]
                group, self.functions[function] = self.functions[function], []
                return [], group
        return [], []


def update(path, text):
    """What is the same keeps its time, or cargo would build it again."""
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def copy_tree(mutated):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    ).stdout
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for old in TREE.rglob("*"):
        if TREE / "target" not in old.parents and old.is_file() and str(old.relative_to(TREE)) not in names:
            old.unlink()
    for name in names - mutated:
        wanted, path = (ROOT / name).read_bytes(), TREE / name
        if not path.is_file() or path.read_bytes() != wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted)
            path.chmod((ROOT / name).stat().st_mode)


def build():
    """The executables by their targets' names, or the places that the compiler refuses."""
    flags = [f"--config={setting}" for setting in SETTINGS]
    command = ["cargo", "test", "--workspace", "--locked", *TARGETS, "--no-run", "--no-fail-fast", "--message-format=json", *flags]
    ran = subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    executables, refused, words = {}, set(), []
    for line in ran.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            package = pathlib.Path(message["manifest_path"]).parent
            executables[message["target"]["name"]] = (message["executable"], package)
        if message.get("reason") == "compiler-message" and message["message"]["level"] == "error":
            words.append(message["message"]["rendered"])
            spans = [span for span in message["message"]["spans"] if span["is_primary"]]
            refused |= {(span["file_name"], span["line_start"]) for span in map(outermost, spans)}
    if ran.returncode == 0:
        return executables, set()
    if not refused:
        sys.exit(f"tests/outside/mutants.py: the build failed ({ran.returncode})\n" + "\n".join(words) + ran.stderr)
    return None, refused


def outermost(span):
    while span.get("expansion"):
        span = span["expansion"]["span"]
    return span


def build_all(files):
    """Builds all mutants together. Returns the executables, and the mutants that no compiler takes."""
    known = json.loads(REFUSED.read_text()) if REFUSED.is_file() else {}
    impossible = [mutant for file in files.values() for mutant in file.drop_known(known.get(file.path, {}))]
    for turn in range(1, 40):
        for file in files.values():
            file.write()
        began = time.monotonic()
        executables, refused = build()
        tell(f"build {turn}: {time.monotonic() - began:.0f} s, {len(refused)} places refused")
        if executables:
            for file in files.values():
                names = [mutant.name for mutant in impossible if mutant.file == file.path]
                known[file.path] = {"digest": file.digest(), "names": names}
            REFUSED.write_text(json.dumps(known))
            return executables, impossible
        found = 0
        for path, line in refused:
            if path in files:
                dropped, others = files[path].drop_at(line)
                impossible += dropped
                found += len(dropped) + len(others)
        if found == 0:
            sys.exit(f"tests/outside/mutants.py: what the compiler refuses is no mutant: {sorted(refused)}")
    sys.exit("tests/outside/mutants.py: the compiler refuses mutant after mutant")


def limited():
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


def run(executables, target, filters, number, seconds):
    """Whether the tests notice: `caught`, `missed` or `timeout`, how long they ran, and what they said."""
    executable, package = executables[target]
    environment = {**ENVIRONMENT, VARIABLE: str(number)}
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [executable, "--test-threads=2", *filters],
            cwd=package,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=limited,
        )
        said, outcome = b"", None
        try:
            while outcome is None:
                try:
                    outcome = "missed" if child.wait(0.05) == 0 else "caught"
                except subprocess.TimeoutExpired:
                    outcome = "timeout" if time.monotonic() - began > seconds else None
                said = os.pread(output.fileno(), 1 << 20, 0)
                if b" ... FAILED\n" in said:
                    outcome = "caught"  # what the other tests say would change nothing
        finally:
            # Also when this program is told to end: a mutant may run for ever.
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    return outcome, time.monotonic() - began, said.decode(errors="replace")


def tell(line):
    print(line, flush=True)


def arguments(given):
    only = None
    if "--only" in given:
        place = given.index("--only")
        only = re.compile(given[place + 1])
        given = given[:place] + given[place + 2 :]
    paths = []
    for pattern in given or PLACES:
        found = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))
        paths += found or sys.exit(f"tests/outside/mutants.py: there is no file {pattern}")
    return [path for path in paths if not path.endswith("tests.rs")], only


def main(given):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("tests/outside/mutants.py: told to end"))
    ENVIRONMENT.update({"BROADSWEEP_SEEDS": SEEDS, **os.environ, "RUST_BACKTRACE": "0", "PROPTEST_MAX_SHRINK_ITERS": "0"})
    paths, only = arguments(given)
    for path in paths:
        tests_of(path)
    listing = ["cargo", "mutants", "--list", "--json", "--workspace"] + [part for path in paths for part in ("--file", path)]
    listed = json.loads(subprocess.run(listing, check=True, capture_output=True, text=True).stdout)
    mutants = [Mutant(number, one) for number, one in enumerate(listed, 1)]
    mutants = [mutant for mutant in mutants if only is None or only.search(mutant.name)]
    tell(f"{len(mutants)} mutants in {len(paths)} files")

    by_file = defaultdict(list)
    for mutant in mutants:
        by_file[mutant.file].append(mutant)
    files = {path: File(path, by_file[path]) for path in paths if path in by_file}
    roots = {root_of(path) for path in files}
    copy_tree(set(files) | roots)
    for path in roots - set(files):
        update(TREE / path, (ROOT / path).read_text() + ACTIVE)
    executables, impossible = build_all(files)

    (WORK / "log").mkdir(parents=True, exist_ok=True)
    limits = {}
    outcomes = {}

    def decide(mutant, executables, number):
        for tests in tests_of(mutant.file):
            outcome, seconds, said = run(executables, *tests, number, limits[tests])
            if outcome != "missed":
                break
        outcomes[mutant] = outcome
        (WORK / "log" / f"{mutant.number}.txt").write_text(f"{mutant.name}: {outcome}\n{said}")
        if outcome != "caught":
            tell(f"{outcome} ({seconds:.1f} s): {mutant.name}")

    for tests in sorted({tests for path in files for tests in tests_of(path)}):
        outcome, seconds, said = run(executables, *tests, 0, 600)
        if outcome != "missed":
            sys.exit(f"tests/outside/mutants.py: {tests} fails without a mutant\n{said}")
        limits[tests] = 20 + 5 * seconds
        tell(f"{tests[0]} {' '.join(tests[1])}: {seconds:.1f} s without a mutant")
    together = [mutant for file in files.values() for group in file.functions.values() for mutant in group]
    for mutant in together:
        decide(mutant, executables, mutant.number)
    for file in files.values():
        if file.alone:
            tell(f"{file.path}: {len(file.alone)} mutants that are built one at a time")
        for mutant in file.alone:
            update(TREE / file.path, replaced(file.text, file.at, mutant) + file.more)
            alone, _ = build()
            if alone:
                decide(mutant, alone, 0)
            else:
                impossible.append(mutant)
        file.write()
    conclude(outcomes, impossible)


def conclude(outcomes, impossible):
    tell(f"== {len(impossible)} that do not compile are not counted")
    tell("== per file: tried, caught, out of time (caught, too), survived")
    for file in sorted({mutant.file for mutant in outcomes}):
        counts = Counter(outcome for mutant, outcome in outcomes.items() if mutant.file == file)
        tell(f"{file} {counts.total()} {counts['caught']} {counts['timeout']} {counts['missed']}")
    missed = [mutant for mutant, outcome in outcomes.items() if outcome == "missed"]
    explained = (ROOT / "tests/outside/mutants.md").read_text().replace("\\|", "|")  # a table's cell has no bare |
    left = [mutant for mutant in missed if f"`{mutant.plain_name}`" not in explained]
    tell(f"== survived: {len(missed)}; of these, mutants.md does not explain {len(left)}:")
    for mutant in left:
        tell(mutant.name)
    sys.exit(1 if left else 0)


ENVIRONMENT = {}
if __name__ == "__main__":
    main(sys.argv[1:])
