"""What pruners lose and what they save, on learning curves of real trainings: ours and Optuna's on the same curves.

    tests/outside/run curves [SEEDS]                       (all that follows, with all that it needs)
    tests/rivals/curves.py [SEEDS [PART [PAIR ...]]]       (10 seeds, the part "held" and the pairs below unless told)

A study has 100 trials, 13 at a time; an epoch costs 1. A pair is a sampler and a pruner. Ours, as tpe/asha with what a
study file has unless written, or tpe/asha:first=2:eta_percent=300, are asked by the example `prune` in its virtual
time; Optuna's, as optuna.tpe/hyperband, epoch by epoch: what is reported counts at once, and what was pruned is not
trained any more. The winner is the best trial of those that were trained to their end.

Regret: how much larger the winner's loss is than that of the winner of 100 full trainings, by the same sampler on the
same curves with the same seed, and by random search: 8 tables of Google's TaskSet in % of the loss; 34 data sets of
LCBench (YAHPO's surrogate) in points of validation error. Beside each stands its standard error over the studies, the
largest mean of any table, and in how many tables it is worse than "one epoch, then the top k in full" with the same
sampler and a fifth of the epochs, by more than three standard errors of the difference.

Pruners were developed on every second table by name, from the first on (PART "developed"); the others are held out.

    CURVES=DIR       taskset/*.json.gz of github.com/releaunifreiburg/DyHPO, and of github.com/slds-lmu/yahpo_data
                     lcbench/model.onnx, encoding.json and config_space.json; both are under the Apache licence, 2.0
    PRUNE=FILE       our example, as built (target/release/examples/prune)
    TABLES=WORD      only tables whose names have it in them
    JOBS=N           processes (1)
    RAW=FILE         where the studies are kept, a JSON object a line; those that are there already are not run again
"""

import collections
import gzip
import heapq
import json
import math
import multiprocessing
import os
import pathlib
import subprocess
import sys

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

TRIALS, SLOTS = 100, 13
PRUNE = os.environ.get("PRUNE", "target/release/examples/prune")
CURVES = pathlib.Path(os.environ.get("CURVES", "."))
PAIRS = [f"{sampler}/asha" for sampler in ("random", "sobol", "tpe", "gp", "cmaes")]
PAIRS += ["sobol/hyperband", "sobol/median"]
PAIRS += [f"optuna.tpe/{pruner}" for pruner in ("hyperband", "halving", "median")]


class TaskSet:
    """1,000 trainings; a configuration stands for the nearest one that the study has not had."""

    unit, epochs = "% of the loss", 50

    def __init__(self, path):
        with gzip.open(path, "rt") as file:
            rows = json.load(file)
        logs = np.log([list(row["hp"].values()) for row in rows])
        self.places = (logs - logs.min(0)) / (logs.max(0) - logs.min(0))
        curves = np.array([row["valid"]["loss"][1:] for row in rows], float)
        self.curves = np.where(np.isfinite(curves), curves, np.nan)
        self.parameters = self.places.shape[1]

    def begin(self):
        self.is_taken = np.zeros(len(self.places))

    def curve(self, places):
        row = int(np.argmin(((self.places - places) ** 2).sum(1) + self.is_taken))
        self.is_taken[row] = np.inf
        return self.curves[row]

    @staticmethod
    def regret(loss, least):
        return 100 * (loss / least - 1)


class LcBench:
    """A data set of the surrogate: validation error in percent."""

    unit, epochs = "points of error", 52
    # Of each parameter behind the epoch, in the order of the model: least, most, by its logarithm, whole.
    RANGES = [
        (16, 512, True, True), (1e-4, 1e-1, True, False), (0.1, 0.99, False, False), (1e-5, 1e-1, False, False),
        (1, 5, False, True), (64, 1024, True, True), (0, 1, False, False),
    ]  # fmt: skip
    VALIDATION_ACCURACY = 1
    session = None

    def __init__(self, name):
        if LcBench.session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            LcBench.session = onnxruntime.InferenceSession(CURVES / "lcbench/model.onnx", options)
            LcBench.numbers = json.loads((CURVES / "lcbench/encoding.json").read_text())["OpenML_task_id"]
        self.parameters, self.known = len(self.RANGES), {}
        self.data_set = np.full((self.epochs, 1), self.numbers[name], np.int32)

    def begin(self):
        pass

    def curve(self, places):
        key = tuple(places)
        if key not in self.known:
            self.known[key] = 100 - self.accuracies(places)
        return self.known[key]

    def accuracies(self, places):
        values = []
        for place, (least, most, is_log, is_whole) in zip(places, self.RANGES):
            value = least * (most / least) ** place if is_log else least + (most - least) * place
            values.append(round(value) if is_whole else value)
        rows = np.array([[epoch, *values] for epoch in range(1, self.epochs + 1)])
        feed = {"x_cat": self.data_set, "x_cont": rows.astype(np.float32)}
        return np.asarray(self.session.run(None, feed)[0], float)[:, self.VALIDATION_ACCURACY]

    @staticmethod
    def regret(loss, least):
        return loss - least


def tables(part):
    """Names, each with whether it was developed on."""
    of_taskset = sorted(path.name.removesuffix(".json.gz") for path in (CURVES / "taskset").glob("*.json.gz"))
    of_lcbench = sorted(json.loads((CURVES / "lcbench/config_space.json").read_text())["hyperparameters"][0]["choices"])
    halves = {"developed": (0,), "held": (1,), "all": (0, 1)}[part]
    names = [("taskset", name) for number, name in enumerate(of_taskset) if number % 2 in halves]
    names += [("lcbench", name) for number, name in enumerate(of_lcbench) if number % 2 in halves]
    return [(family, name) for family, name in names if os.environ.get("TABLES", "") in f"{family}/{name}"]


class Ours:
    """The example, a process for all studies."""

    process = None

    @classmethod
    def study(cls, table, sampler, pruner, seed):
        if cls.process is None:
            cls.process = subprocess.Popen([PRUNE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        kind, *settings = pruner.split(":")
        cls.write(
            f"seed={seed} sampler={sampler} trials={TRIALS} slots={SLOTS} parameters={table.parameters} "
            f"epochs={table.epochs} pruner={kind} {' '.join(settings)}"
        )
        curves = []
        while (words := cls.process.stdout.readline().split())[0] == "trial":
            curves.append(table.curve(np.array(words[1:], float)))
            cls.write(" ".join(repr(float(loss)) for loss in curves[-1]))
        _, winner, epochs = words
        return (curves[int(winner)][-1] if winner != "-" else math.inf), int(epochs), curves

    @classmethod
    def write(cls, line):
        cls.process.stdin.write(line + "\n")
        cls.process.stdin.flush()


def optuna_pruner(optuna, pruner, epochs):
    """One of Optuna's, with its defaults but for what it has to be told."""
    if pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    kinds = {"none": "NopPruner", "halving": "SuccessiveHalvingPruner", "median": "MedianPruner"}
    return getattr(optuna.pruners, kinds[pruner])()


def optuna_study(table, sampler, pruner, seed):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    pruner = optuna_pruner(optuna, pruner, table.epochs)
    study = optuna.create_study(sampler=samplers[sampler](seed=seed), pruner=pruner)
    under_way, curves, least, spent = [], [], math.inf, 0

    def start(now):
        if len(curves) == TRIALS:
            return
        trial = study.ask()
        places = [trial.suggest_float(f"x{parameter:02}", 0, 1) for parameter in range(table.parameters)]
        curves.append(table.curve(np.array(places)))
        heapq.heappush(under_way, (now + 1, len(curves), 1, trial, curves[-1]))

    for _ in range(SLOTS):
        start(0)
    while under_way:
        now, number, epoch, trial, curve = heapq.heappop(under_way)
        loss, spent = curve[epoch - 1], spent + 1
        if math.isnan(loss):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif epoch == table.epochs:
            study.tell(trial, loss)
            least = min(least, loss)
        else:
            trial.report(loss, epoch)
            if not trial.should_prune():
                heapq.heappush(under_way, (now + 1, number, epoch + 1, trial, curve))
                continue
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        start(now)
    return least, spent, curves


LOADED = {}


def run(job):
    """The studies of a pair on a table, a row each."""
    (family, name), pair, seeds = job
    if (family, name) not in LOADED:
        LOADED.clear()
        path = CURVES / "taskset" / f"{name}.json.gz"
        LOADED[family, name] = TaskSet(path) if family == "taskset" else LcBench(name)
    table = LOADED[family, name]
    sampler, pruner = pair.split("/")
    engine, sampler = (optuna_study, sampler[7:]) if sampler.startswith("optuna.") else (Ours.study, sampler)
    rows = []
    for seed in seeds:
        table.begin()
        loss, epochs, curves = engine(table, sampler, pruner, seed)
        share = 100 * epochs / TRIALS / table.epochs
        row = {"table": f"{family}/{name}", "pair": pair, "seed": seed, "loss": loss, "epochs": share}
        rows.append(row | {"tried": float(np.nanmin([curve[-1] for curve in curves]))})
    return rows


def top_k(sampler, epochs):
    """One epoch, then the top k in full: a fifth of the epochs."""
    return f"{sampler}/top_k:first=1:k={(TRIALS * epochs // 5 - TRIALS) // (epochs - 1)}"


def measured(part, pairs, seeds, pool):
    """The loss and the epochs of each study."""
    raw, known = os.environ.get("RAW"), {}
    if raw and os.path.exists(raw):
        for row in map(json.loads, open(raw)):
            known[row["table"], row["pair"], row["seed"]] = row["loss"], row["epochs"]
    jobs = []
    for family, name in tables(part):
        for pair in pairs:
            missing = [seed for seed in seeds if (f"{family}/{name}", pair, seed) not in known]
            if missing:
                jobs.append(((family, name), pair, missing))
    for number, rows in enumerate(pool.imap(run, jobs), 1):
        if sys.stderr.isatty():
            print(f"\r{number} of {len(jobs)}", end="", file=sys.stderr)
        for row in rows:
            known[row["table"], row["pair"], row["seed"]] = row["loss"], row["epochs"]
        if raw:
            with open(raw, "a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
    return known


def error(values):
    """The standard error of a mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def by_table(kind, names, known, pair, reference, seeds):
    """Of each table, what the winner's loss is beyond that of another pair's, by seed."""
    return [
        [kind.regret(known[name, pair, seed][0], known[name, reference, seed][0]) for seed in seeds]
        for name in names
    ]


def tell(kind, names, known, pairs, seeds):
    heads = ["pair", "own full", "", "worst", "random full", "", "epochs", "max", "worse than top k", "by"]
    print(("{:34}" + "{:>12}{:>9}{:>9}" + "{:>13}{:>9}" + "{:>8}{:>6}" + "{:>18}{:>8}").format(*heads))
    for pair in pairs:
        sampler = pair.split("/")[0]
        own = by_table(kind, names, known, pair, f"{sampler}/none", seeds)
        random = by_table(kind, names, known, pair, "random/none", seeds)
        means = [np.mean(rows) for rows in own]
        epochs = [np.mean([known[name, pair, seed][1] for seed in seeds]) for name in names]
        rival = top_k(sampler, kind.epochs)
        has_rival = all((name, rival, seed) in known for name in names for seed in seeds)
        worse = by_table(kind, names, known, pair, rival, seeds) if has_rival else []
        beyond = [np.mean(rows) / max(error(rows), 1e-9) for rows in worse]
        print(
            f"{pair:34}{np.mean(own):12.3f}{f'({error(np.ravel(own)):.3f})':>9}{max(means):9.3f}"
            f"{np.mean(random):13.3f}{f'({error(np.ravel(random)):.3f})':>9}{np.mean(epochs):8.1f}{max(epochs):6.1f}"
            f"{sum(beyond_it > 3 for beyond_it in beyond):9} of {len(names):<3}{max(beyond, default=math.nan):10.1f}",
            flush=True,
        )


def main():
    seeds = list(range(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
    part = sys.argv[2] if len(sys.argv) > 2 else "held"
    pairs = sys.argv[3:] or PAIRS
    samplers = list(dict.fromkeys(pair.split("/")[0] for pair in pairs))
    needed = ["random/none"] + [f"{sampler}/none" for sampler in samplers]
    needed += [top_k(sampler, 50) for sampler in samplers if not sampler.startswith("optuna.")]
    with multiprocessing.Pool(int(os.environ.get("JOBS", "1"))) as pool:
        known = measured(part, list(dict.fromkeys(needed + pairs)), seeds, pool)
    families = collections.defaultdict(list)
    for family, name in tables(part):
        families[family].append(f"{family}/{name}")
    for family, kind in (("taskset", TaskSet), ("lcbench", LcBench)):
        if family in families:
            print(f"\n{family}, {part}: {len(families[family])} tables, {len(seeds)} seeds, regret in {kind.unit}")
            tell(kind, families[family], known, list(dict.fromkeys(needed + pairs)), seeds)


if __name__ == "__main__":
    main()
