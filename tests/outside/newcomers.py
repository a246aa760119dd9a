#!/usr/bin/env python3
"""The five small data sets that scikit-learn ships, as tables without a header line: Broadsweep's networks beside
scikit-learn's of the same shape, over ten seeds, on the very rows that Broadsweep held out.

    newcomers.py BROADSWEEP STUDIES      the program, and the folder with the studies and the tables

Both train by Adam with the same step size and batches, from weights that Glorot and Bengio drew alike; features are scaled
by the training rows, and targets of the regression too. It prints the mean error of each and the standard error of
scikit-learn's, as tests/tests/newcomers.rs has them, and ends with 1 if a difference is larger.
"""
import csv
import pathlib
import subprocess
import sys
import tempfile
import tomllib
import warnings

import numpy
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import MinMaxScaler, StandardScaler

SEEDS = range(10)


def ours(program, study, seed):
    """The validation error, and the rows that were held out."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "run"
        command = [program, "tune", str(study), "--local", "1x1", "--quiet", "--seed", str(seed), "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        with open(out / "trials.csv", newline="") as file:
            error = float(next(csv.DictReader(file))["validation_error"])
        with open(out / "held_out.csv", newline="") as file:
            rows = [int(row["row"]) for row in csv.DictReader(file)]
    return error, rows


def theirs(study, table, held_out, seed):
    """The error of scikit-learn's network on the same rows."""
    data, labels = table[:, :-1].astype(float), table[:, -1]
    is_held_out = numpy.zeros(len(table), bool)
    is_held_out[held_out] = True
    scaler = {"standard": StandardScaler, "unit": MinMaxScaler}[study["data"]["scaling"]]()
    train = scaler.fit_transform(data[~is_held_out])
    test = scaler.transform(data[is_held_out])
    training = study["training"]
    settings = dict(
        hidden_layer_sizes=(study["model"]["layers"][0]["units"],),
        learning_rate_init=training["learning_rate"],
        epsilon=training["epsilon"],
        batch_size=training["batch_size"],
        max_iter=training["epochs"],
        n_iter_no_change=training["epochs"],
        alpha=0.0,
        tol=0.0,
        random_state=seed,
    )
    if study["model"].get("loss") != "mean_squared_error":
        network = MLPClassifier(**settings).fit(train, labels[~is_held_out])
        return float(numpy.mean(network.predict(test) != labels[is_held_out]))
    targets = labels.astype(float)
    center, spread = targets[~is_held_out].mean(), targets[~is_held_out].std()
    network = MLPRegressor(**settings).fit(train, (targets[~is_held_out] - center) / spread)
    predicted = network.predict(test) * spread + center
    return float(numpy.sqrt(numpy.mean((predicted - targets[is_held_out]) ** 2)))


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    failed = False
    for path in sorted(folder.glob("*.toml")):
        study = tomllib.loads(path.read_text())
        with open(path.with_suffix(".csv"), newline="") as file:
            table = numpy.array(list(csv.reader(file)))
        pairs = []
        for seed in SEEDS:
            error, held_out = ours(program, path, seed)
            pairs.append((error, theirs(study, table, held_out, seed)))
        own, other = numpy.array(pairs).T
        standard_error = other.std(ddof=1) / numpy.sqrt(len(SEEDS))
        is_near = abs(own.mean() - other.mean()) <= standard_error
        failed |= not is_near
        print(
            f"{path.stem:14} ours {own.mean():.6g}, scikit-learn {other.mean():.6g}, its standard error "
            f"{standard_error:.3g}: {'within it' if is_near else 'NOT within it'}",
            flush=True,
        )
    sys.exit(failed)


main()
