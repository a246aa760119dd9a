"""What tensorflow.sh asks of its runs: the built-in trainer's study, a table of both, and whether all is as it should be.

    built-in DATA                     prints the study of the network and the grid of examples/mnist/keras.toml
    table KERAS OURS                  errors and times of two runs, a line a trial
    loop FOLDER                       trains eight networks of examples/mnist/keras_mnist.py one after the other, there
    check KILLED KERAS OURS TRIAL     a line for each thing that should be so; fails if one is not
"""

import csv
import json
import os
import pathlib
import sys

EPOCHS = 3
TRIALS = 7
# Initial weights, the order of rows and the rows that are held out differ: of 5,000 rows, an error of 8 % has a standard
# deviation of 0.4 points, and so has that of the other side.
POINTS_APART_MAX = 2.0

BUILT_IN = """\
name = "mnist-keras-built-in"
seed = 1

[data]
format = "idx"
train_features = "{data}/train-images-idx3-ubyte.gz"
train_labels = "{data}/train-labels-idx1-ubyte.gz"
validation_rows = 5000
scaling = "unit"

[model]
layers = [
    {{ kind = "flatten" }},
    {{ kind = "dense", units = "$units", activation = "relu" }},
    {{ kind = "dense", units = "$units", activation = "relu" }},
    {{ kind = "dense", units = 10 }},
]

[training]
optimizer = "sgd"
learning_rate = "$learning_rate"
learning_rate_decay = 0.7
momentum = 0.9
batch_size = 64
epochs = 3

[search]
sampler = "grid"

[search.space]
learning_rate = {{ log_range = [0.001, 0.1], count = 3 }}
units = {{ values = [32, 128] }}

[control]
learning_rate = 0.003
units = 64
"""


def rows(run, name):
    with open(pathlib.Path(run) / name, newline="") as file:
        return list(csv.DictReader(file))


def summary(run):
    return json.loads((pathlib.Path(run) / "summary.json").read_text())


def trials(run):
    """Error and seconds of each trial, by its configuration."""
    found = {}
    for row in rows(run, "trials.csv"):
        error = float(row["validation_error"]) if row.get("validation_error") else 1 - float(row["val_accuracy"])
        key = (float(row["learning_rate"]), int(row["units"]))
        found[key] = (error, float(row["training_s"]))
    return found


def table(keras, ours):
    theirs, built_in = trials(keras), trials(ours)
    print("learning rate  units   Keras: error  seconds   built-in: error  seconds")
    for key in sorted(theirs):
        (error, seconds), (our_error, our_seconds) = theirs[key], built_in[key]
        print(
            f"{key[0]:13g}  {key[1]:5d}  {error:13.2%}  {seconds:7.1f}  {our_error:16.2%}  {our_seconds:7.1f}"
        )
    print(f"{'whole run':20s}  {'':13s}  {summary(keras)['wall_s']:7.1f}  {'':16s}  {summary(ours)['wall_s']:7.1f}")


def checks(killed, keras, ours, trial):
    attempts = [row for row in rows(killed, "attempts.csv") if row["task"] == trial]
    lost = [row for row in attempts if row["end"] == "lost"]
    yield "the killed executor's attempt is told as lost", bool(lost)
    resumed = [int(row["from_epoch"]) for row in attempts if row["number"] != "1"]
    yield f"its trial went on from its checkpoint, after epoch {max(resumed, default=0)}", any(resumed)
    for name, run in (("with a kill", killed), ("undisturbed", keras), ("built-in", ours)):
        finished = summary(run)["trials"]["finished"]
        yield f"{name}: {finished} of {TRIALS} trials finished", finished == TRIALS
    for name, run in (("with a kill", killed), ("undisturbed", keras)):
        told = {(row["trial"], row["epoch"]) for row in rows(run, "epochs.csv") if row["loss"] and row["val_accuracy"]}
        wanted = TRIALS * EPOCHS
        yield f"{name}: metrics of {len(told)} epochs, {wanted} wanted", len(told) == wanted
    theirs, built_in = trials(keras), trials(ours)
    apart = max(100 * abs(theirs[key][0] - built_in[key][0]) for key in theirs)
    agree = apart <= POINTS_APART_MAX
    yield f"errors of Keras and the built-in trainer are at most {apart:.2f} points apart", agree
    undisturbed, disturbed = trials(keras), trials(killed)
    apart = max(100 * abs(undisturbed[key][0] - disturbed[key][0]) for key in undisturbed)
    agree = apart <= POINTS_APART_MAX
    yield f"errors with a kill and without are at most {apart:.2f} points apart", agree


def loop(folder):
    """What one would write without Broadsweep. It runs where the script and its data are."""
    pathlib.Path(folder).mkdir(exist_ok=True)
    source = pathlib.Path("keras_mnist.py").read_text()
    script = {}
    exec(source[: source.index("\nif os.environ.get")], script)  # all but its own beginning
    os.chdir(folder)
    for number in range(8):
        rate, units = 0.001 * 100 ** (number // 2 / 3), (32, 128)[number % 2]
        words = [f"--learning_rate={rate}", f"--units={units}", f"--seed={number}", f"--checkpoints={folder}"]
        for left in pathlib.Path(folder).iterdir():
            left.unlink()
        script["train"](script["parser"].parse_args(words))
        script["keras"].backend.clear_session()


def main():
    question, *arguments = sys.argv[1:]
    if question == "built-in":
        print(BUILT_IN.format(data=arguments[0]), end="")
    elif question == "loop":
        loop(*arguments)
    elif question == "table":
        table(*arguments)
    else:
        failed = 0
        for told, holds in checks(*arguments):
            failed += not holds
            print(f"{'ok' if holds else 'NOT OK'}: {told}")
        sys.exit(f"{failed} of them are not as they should be" if failed else 0)


if __name__ == "__main__":
    main()
