"""What onnxruntime makes of models, beside `broadsweep predict`, from the same raw rows.

    onnx_models.py compare BROADSWEEP FOLDER...   folders with model.toml, model.onnx, and rows.csv or rows.npy
    onnx_models.py studies FOLDER                 writes small studies, and the rows that their models are asked about
"""

import csv
import io
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

TOLERANCE = 1e-5
FLAGS = {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}


def described(folder):
    return tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))


def cell(column, text):
    """The number that the graph takes for a cell, as the first lines of model.toml say it."""
    if column["kind"] == "categories":
        return float(column["names"].index(text)) if text in column["names"] else np.nan
    if text == "":
        return np.nan
    return FLAGS[text.lower()] if column["kind"] == "flag" else float(text)


def raw_rows(folder, model):
    """Rows as somebody without broadsweep would prepare them."""
    if (folder / "rows.npy").exists():
        return folder / "rows.npy", np.load(folder / "rows.npy").astype(np.float64)
    path = folder / "rows.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = model["input"]["columns"]
    return path, np.array([[cell(column, row[column["name"]].strip()) for column in columns] for row in rows])


def predicted(broadsweep, folder, path):
    command = [broadsweep, "predict", str(folder), "--input", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if ended.returncode != 0:
        sys.exit(f"{' '.join(command)}: {ended.stderr}")
    return list(csv.reader(io.StringIO(ended.stdout)))[1:]


def shaped(rows, session):
    """Arrays may have sides that the model does not have, as (rows, 28, 28) for (rows, 28, 28, 1)."""
    sides = session.get_inputs()[0].shape[1:]
    return rows.reshape([len(rows), *sides])


def compare_one(broadsweep, folder):
    import onnxruntime

    model = described(folder)
    path, rows = raw_rows(folder, model)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    outputs = dict(zip((output.name for output in session.get_outputs()), session.run(None, {"rows": shaped(rows, session)})))
    table = predicted(broadsweep, folder, path)
    if len(table) != len(rows):
        sys.exit(f"{folder.name}: {len(table)} rows were predicted of {len(rows)}")
    off, labels = 0.0, 0
    if "classes" in model["output"]:
        ours = np.array([[float(number) for number in row[2:]] for row in table])
        off = float(np.max(np.abs(ours - outputs["probabilities"])))
        # Where two classes are as likely to the last digits, either may be told.
        ranked = np.sort(ours, axis=1)
        is_clear = ranked[:, -1] - ranked[:, -2] > TOLERANCE
        labels = sum(str(label) != row[1] for label, row, clear in zip(outputs["label"], table, is_clear) if clear)
    else:
        ours = np.array([[float(number) for number in row[1:]] for row in table])
        spreads = np.array([value["spread"] for value in model["output"]["values"]])
        # In what the network's outputs were scaled by, or relative to large values where they were not.
        size = np.maximum(spreads, np.abs(ours).max(axis=0))
        off = float(np.max(np.abs(ours - outputs["values"]) / size))
    kinds = ", ".join(sorted({layer["kind"] for layer in model["model"]["layers"]}))
    verdict = "ok" if off <= TOLERANCE and labels == 0 else "WRONG"
    print(f"{verdict:5} {folder.name:24} {len(rows):5} rows  off by {off:.1e}  {labels} other labels  ({kinds})")
    return verdict == "ok"


def compare(broadsweep, *folders):
    import onnxruntime

    results = [compare_one(broadsweep, Path(folder)) for folder in folders]
    print(f"{sum(results)} of {len(results)} models agree to {TOLERANCE:g} with onnxruntime {onnxruntime.__version__}")
    sys.exit(0 if results and all(results) else 1)


TRAINED = """name = "{name}"
seed = 1
[data]
{data}
validation_rows = 100
scaling = "{scaling}"
[model]
loss = "{loss}"
layers = [
{layers}
]
[training]
learning_rate = "$rate"
batch_size = 32
epochs = 3
[search]
sampler = "grid"
[search.space]
rate = {{ values = [0.01, 0.05] }}
"""

TABLE = 'format = "csv"\ntrain_file = "train.csv"\nlabel_column = "target"'
ARRAYS = 'format = "npy"\ntrain_features = "x.npy"\ntrain_labels = "y.npy"'


def write_study(folder, name, **parts):
    layers = "\n".join(f"    {{ {layer} }}," for layer in parts.pop("layers"))
    (folder / "study.toml").write_text(TRAINED.format(name=name, layers=layers, **parts), encoding="utf-8")


def table_study(folder, random):
    """A column of seconds since 1970, one of thousandths, one that is constant."""
    rows = 600
    seconds = 1_700_000_000 + random.integers(0, 100_000, rows)
    small, plain = random.normal(0, 1e-3, rows), random.normal(0, 1, rows)
    target = (small > 0).astype(int) + 2 * (plain > 0.5)
    table = np.column_stack([seconds, small, np.full(rows, 7.0), plain, target])
    header = "seconds,small,constant,plain,target"
    lines = [",".join(f"{cell:.17g}" for cell in row) for row in table]
    (folder / "train.csv").write_text("\n".join([header, *lines]) + "\n")
    (folder / "rows.csv").write_text("\n".join([header, *lines[:200]]) + "\n")
    layers = [
        'kind = "dense", units = 16, activation = "gelu"',
        'kind = "batch_norm", activation = "leaky_relu"',
        'kind = "dropout", rate = 0.2',
        'kind = "dense", units = 9, activation = "sigmoid"',
        'kind = "dense", units = 4',
    ]
    write_study(folder, "table", data=TABLE, scaling="standard", loss="cross_entropy", layers=layers)


def words_study(folder, random):
    """Words, words for yes and no, cells that are missing, and labels that are words."""
    rows = 600
    colors = np.array(["red", "green", "blue", ""])[random.integers(0, 4, rows)]
    sunny = np.array(["yes", "No"])[random.integers(0, 2, rows)]
    number = random.normal(20, 5, rows)
    target = np.where(colors == "red", "warm", np.where(number > 20, "mild", "cold"))
    cells = [f"{cell:.17g}" if random.random() > 0.1 else "" for cell in number]
    lines = [",".join(row) for row in zip(colors, sunny, cells, target)]
    (folder / "train.csv").write_text("\n".join(["color,sunny,number,target", *lines]) + "\n")
    (folder / "rows.csv").write_text("\n".join(["color,sunny,number,target", *lines[:200]]) + "\n")
    layers = ['kind = "dense", units = 16, activation = "relu"', 'kind = "dense", units = 3']
    data = TABLE + '\nmissing = "mean"'
    write_study(folder, "words", data=data, scaling="standard", loss="cross_entropy", layers=layers)


def regression_study(folder, random):
    """Two targets that are far from 0."""
    x = random.normal(3, 2, (600, 5)).astype(np.float32)
    y = np.column_stack([50 + x @ [1, 2, 3, 4, 5], 20 - x[:, 0]]).astype(np.float32)
    for name, values in [("x", x), ("y", y), ("rows", x[:200])]:
        np.save(folder / f"{name}.npy", values)
    layers = ['kind = "dense", units = 12, activation = "tanh"', 'kind = "dense", units = 2']
    write_study(folder, "regression", data=ARRAYS, scaling="standard", loss="mean_squared_error", layers=layers)


def image_study(folder, random, sides, kind, scaling, layers, more=""):
    rows = 500
    light = random.integers(0, 3, rows)
    x = random.integers(0, 60, (rows, *sides)) + 70 * light[:, None, None, None]
    for name, values in [("x", x.astype(kind)), ("y", light.astype(np.uint8)), ("rows", x[:200].astype(kind))]:
        np.save(folder / f"{name}.npy", values)
    layers = [*layers, 'kind = "flatten"', 'kind = "dense", units = 3']
    write_study(folder, folder.name, data=ARRAYS + more, scaling=scaling, loss="cross_entropy", layers=layers)


def images_same(folder, random):
    layers = [
        'kind = "conv2d", filters = 5, kernel = 4, stride = 1, padding = "same", activation = "relu"',
        'kind = "max_pool", size = 3, stride = 2, padding = "same"',
        'kind = "batch_norm", activation = "tanh"',
        'kind = "average_pool", size = 3, stride = 2, padding = "same"',
        'kind = "conv2d", filters = 4, kernel = 3, stride = 2, padding = "same", activation = "gelu"',
    ]
    image_study(folder, random, (13, 10, 3), np.uint8, "standard", layers)


def images_channels_first(folder, random):
    layers = ['kind = "conv2d", filters = 5, kernel = 3, padding = "same", activation = "relu"']
    image_study(folder, random, (3, 9, 8), np.uint8, "unit", layers, '\nlayout = "channels_first"')


def images_valid(folder, random):
    layers = [
        'kind = "conv2d", filters = 6, kernel = 3, stride = 2, padding = "valid", activation = "leaky_relu"',
        'kind = "average_pool", size = 2, stride = 1',
        'kind = "activation", function = "sigmoid"',
        'kind = "max_pool", size = 2',
        'kind = "dropout", rate = 0.3',
    ]
    image_study(folder, random, (14, 11, 1), np.float32, "centered", layers)


def studies(folder):
    made = {
        "table": table_study,
        "words": words_study,
        "regression": regression_study,
        "images-same": images_same,
        "images-valid": images_valid,
        "images-channels-first": images_channels_first,
    }
    for number, (name, make) in enumerate(made.items()):
        place = Path(folder) / name
        place.mkdir(parents=True)
        make(place, np.random.default_rng(number))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"compare": compare, "studies": studies}[command](*arguments)
