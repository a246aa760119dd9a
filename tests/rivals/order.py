"""What the order in virtual time costs on the times of real trainings.

    tests/outside/run order [PAIRS]                        (all of it, with what it needs)
    tests/rivals/order.py times FILE                       the tables' times, as the example virtual_time_cost reads them
    tests/rivals/order.py studies FOLDER TABLE SEED        a study of a table, in order and free
"""

import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np

from search_tables import sources

# Readings of a table that are written down.
READINGS = 4096
# Trials of a study of real processes, and how far its plans are off: the standard deviation of a factor's logarithm.
TRIALS = 100
EPOCHS = 20
SIGMA = 0.3
# Values that a study has of the times, and of the factors.
VALUES = 100
# What a study waits in all, in slots' seconds: a minute on 13 slots.
WAITED_S = 13 * 60


def tables():
    """The names of all tables, each with what trains it."""
    for family, (load, properties) in sources().items():
        for name in sorted(properties.available_dataset_names):
            yield f"{family}/{name}", load, name


def times(load, name, count, seed):
    """What so many random configurations took to train, a random repetition of each, in seconds."""
    rows, chance = load(dataset_name=name)._dataset, np.random.default_rng(seed)
    keys = list(rows)
    readings = (rows[keys[place]]["train_time"] for place in chance.integers(len(keys), size=count))
    return [float(reading[chance.integers(len(reading))]) for reading in readings]


def write_times(file):
    lines = (
        " ".join([table, *(f"{took_s:.6g}" for took_s in times(load, name, READINGS, 1))])
        for table, load, name in tables()
    )
    Path(file).write_text("".join(line + "\n" for line in lines))


STUDY = """# {trials} trials of {table}: each waits as long as one of its trainings took, in proportion.
name = "{name}"
seed = {seed}

[trainer]
kind = "replay"
seconds = "$seconds"
epochs = {epochs}
error = "$error"
cost = "seconds * off"          # what it is planned to cost, which is wrong by a factor

[search]
sampler = "random"
trials = {trials}
stop = {{ no_progress = {trials} }}  # so that the search sees results
asynchronous = {asynchronous}

[search.space]
seconds = {{ values = [{seconds}] }}
off = {{ values = [{off}] }}
error = {{ range = [0.0, 1.0] }}
"""


def write_studies(folder, wanted, seed):
    """`order.toml` and `free.toml`: the same trials, but for when the search sees what."""
    load, name = next((load, name) for table, load, name in tables() if table == wanted)
    took = np.array(times(load, name, READINGS, 1))
    scale = WAITED_S / (TRIALS * took.mean() * EPOCHS)
    # Quantiles of both: a study draws of each, evenly.
    parts = (np.arange(VALUES) + 0.5) / VALUES
    seconds = sorted({f"{took_s * scale:.5f}" for took_s in np.quantile(took, parts)})
    off = [f"{np.exp(SIGMA * NormalDist().inv_cdf(part)):.5f}" for part in parts]
    for study, asynchronous in (("order", "false"), ("free", "true")):
        text = STUDY.format(
            name=study, table=wanted, seed=seed, epochs=EPOCHS, trials=TRIALS, asynchronous=asynchronous,
            seconds=", ".join(seconds), off=", ".join(off),
        )  # fmt: skip
        (Path(folder) / f"{study}.toml").write_text(text)


def main():
    what, *rest = sys.argv[1:]
    if what == "times":
        write_times(*rest)
    elif what == "studies":
        folder, table, seed = rest
        write_studies(folder, table, int(seed))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
