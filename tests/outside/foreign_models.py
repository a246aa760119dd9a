"""Models of Keras and scikit-learn, applied by `broadsweep apply` as ONNX, beside what they predict themselves.

    foreign_models.py make FOLDER                a folder for each model: model.onnx, its rows, and what it says of them
    foreign_models.py compare BROADSWEEP FOLDER  applies each, and compares
"""

import csv
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

TOLERANCE = 1e-5
SEED = 7


def made(root, name, onnx, rows, said, flags=()):
    """`rows`: an array, or names of columns and their values. `said`: probabilities or values, a row for each."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(onnx)
    if isinstance(rows, np.ndarray):
        np.save(folder / "rows.npy", rows)
    else:
        names, values = rows
        with (folder / "rows.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([repr(float(value)) for value in row] for row in values)
    labels, numbers = said
    (folder / "said.json").write_text(
        json.dumps({"labels": labels, "numbers": np.asarray(numbers, np.float64).tolist(), "flags": list(flags)})
    )


def sklearn_models(root):
    from skl2onnx import to_onnx
    from sklearn import datasets, ensemble, linear_model, naive_bayes, neural_network, preprocessing, svm, tree
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    iris, cancer, diabetes = (load() for load in (datasets.load_iris, datasets.load_breast_cancer, datasets.load_diabetes))
    words = np.array(["setosa", "versicolor", "virginica"])
    sets = {
        "iris": (iris.data, words[iris.target]),
        "iris-numbers": (iris.data, iris.target),
        "cancer": (cancer.data, cancer.target),
        "diabetes": (diabetes.data, diabetes.target),
        "two-targets": (diabetes.data, np.stack([diabetes.target, -diabetes.target**2], axis=1)),
    }
    models = {
        "logistic": ("iris", make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=500))),
        "logistic-of-two": ("cancer", make_pipeline(preprocessing.MinMaxScaler(), linear_model.LogisticRegression())),
        "sgd": ("iris-numbers", make_pipeline(preprocessing.Normalizer(), linear_model.SGDClassifier(loss="log_loss"))),
        "polynomial": (
            "iris",
            make_pipeline(preprocessing.PolynomialFeatures(), linear_model.LogisticRegression(max_iter=2000)),
        ),
        "tree": ("iris", tree.DecisionTreeClassifier()),
        "forest": ("iris", ensemble.RandomForestClassifier(100)),
        "forest-of-two": ("cancer", ensemble.RandomForestClassifier(50)),
        "extra-trees": ("iris-numbers", ensemble.ExtraTreesClassifier(50)),
        "boosted": ("iris", ensemble.GradientBoostingClassifier(n_estimators=20)),
        "boosted-of-two": ("cancer", ensemble.GradientBoostingClassifier(n_estimators=20)),
        "ada-boost": ("iris-numbers", ensemble.AdaBoostClassifier(n_estimators=10)),
        "bayes": ("iris-numbers", naive_bayes.GaussianNB()),
        "network": (
            "iris",
            make_pipeline(preprocessing.StandardScaler(), neural_network.MLPClassifier(max_iter=300)),
        ),
        "support-vectors": ("iris-numbers", svm.LinearSVC()),
        "linear": ("diabetes", make_pipeline(SimpleImputer(), linear_model.LinearRegression())),
        "ridge-of-two": ("two-targets", linear_model.Ridge()),
        "forest-of-values": ("diabetes", ensemble.RandomForestRegressor(50)),
        "boosted-values": ("diabetes", ensemble.GradientBoostingRegressor(n_estimators=50)),
        "network-of-values": (
            "diabetes",
            make_pipeline(preprocessing.StandardScaler(), neural_network.MLPRegressor(max_iter=300)),
        ),
    }
    for name, (data, model) in models.items():
        rows, target = sets[data]
        rows = rows.astype(np.float32)
        last = model[-1] if hasattr(model, "steps") else model
        if "random_state" in last.get_params():
            last.set_params(random_state=SEED)
        model.fit(rows, target)
        # The default, a list of maps, of some; a tensor of the others.
        as_maps = len(name) % 2 == 0 and hasattr(model, "predict_proba")
        options = {"zipmap": as_maps} if hasattr(model, "predict_proba") else None
        onnx = to_onnx(model, rows[:1], options=options).SerializeToString()
        columns = [f"column {place}" for place in range(rows.shape[1])]
        if hasattr(model, "predict_proba"):
            said = [str(label) for label in model.predict(rows)], model.predict_proba(rows)
        elif hasattr(model, "decision_function"):
            said = [str(label) for label in model.predict(rows)], model.decision_function(rows)
        else:
            said = None, model.predict(rows).reshape(len(rows), -1)
        made(root, f"sklearn-{name}", onnx, (columns, rows), said)


def keras_models(root):
    import keras
    import tensorflow as tf
    import tf2onnx

    keras.utils.set_random_seed(SEED)
    layers = keras.layers
    draw = np.random.default_rng(SEED)
    pictures = draw.integers(0, 256, (300, 28, 28, 1), dtype=np.uint8)
    colours = draw.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    table = draw.normal(size=(400, 6)).astype(np.float32)
    models = {
        "network": (
            [layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(256, "relu"), layers.Dense(10, "softmax")],
            pictures,
        ),
        "convolutions": (
            [
                layers.Input((28, 28, 1)),
                layers.Conv2D(16, 5, activation="relu"),
                layers.BatchNormalization(),
                layers.MaxPooling2D(),
                layers.Dropout(0.3),
                layers.Conv2D(32, 3, padding="same", strides=2, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10, "softmax"),
            ],
            pictures,
        ),
        "colours": (
            [
                layers.Input((32, 32, 3)),
                layers.SeparableConv2D(16, 3, padding="same", activation="swish"),
                layers.AveragePooling2D(2),
                layers.Conv2D(8, 3, activation="leaky_relu"),
                layers.Flatten(),
                layers.Dense(5, "softmax"),
            ],
            colours,
        ),
        "values": ([layers.Input((6,)), layers.Dense(16, "tanh"), layers.LayerNormalization(), layers.Dense(3)], table),
        "sigmoid": ([layers.Input((6,)), layers.Dense(16, "elu"), layers.Dense(1, "sigmoid")], table),
        "recurrent": ([layers.Input((28, 28)), layers.LSTM(12), layers.Dense(4, "softmax")], pictures[:, :, :, 0]),
    }
    for name, (parts, rows) in models.items():
        model = keras.Sequential(parts)
        is_bytes = rows.dtype == np.uint8
        fed = rows.astype(np.float32) / 255 if is_bytes else rows
        classes = model.output_shape[1]
        softmax = parts[-1].activation.__name__ == "softmax"
        model.compile("adam", "sparse_categorical_crossentropy" if softmax else "mse")
        wanted = draw.integers(0, classes, len(rows)) if softmax else draw.normal(size=(len(rows), classes))
        model.fit(fed, wanted, epochs=2, verbose=0)
        signature = [tf.TensorSpec((None, *fed.shape[1:]), tf.float32, name="rows")]
        call = tf.function(lambda rows, model=model: model(rows, training=False))
        proto, _ = tf2onnx.convert.from_function(call, signature, opset=17)
        numbers = model.predict(fed, verbose=0)
        flags = ["--divide-by", "255"] if is_bytes else []
        if name == "sigmoid":
            flags += ["--class-names", "no,yes"]
            numbers = np.concatenate([1 - numbers, numbers], axis=1)
            labels = [["no", "yes"][label] for label in np.argmax(numbers, axis=1)]
        else:
            labels = [str(label) for label in np.argmax(numbers, axis=1)] if softmax else None
        given = ([f"x{place}" for place in range(rows.shape[1])], rows) if rows.ndim == 2 else rows
        made(root, f"keras-{name}", proto.SerializeToString(), given, (labels, numbers), flags)


def make(folder):
    warnings.filterwarnings("ignore")
    sklearn_models(Path(folder))
    keras_models(Path(folder))


def applied(broadsweep, folder, flags):
    rows = next(path for path in (folder / "rows.npy", folder / "rows.csv") if path.exists())
    output = folder / "applied"
    command = [broadsweep, "apply", str(folder / "model.onnx"), "--input", str(rows), "--output", str(output)]
    command += ["--format", "csv", "--partition-rows", "64", "--local", "2x1", "--quiet", "--out", str(folder / "run")]
    ended = subprocess.run(command + flags, capture_output=True, text=True, encoding="utf-8")
    if ended.returncode != 0:
        return ended.stderr.strip()
    table = []
    for part in sorted(output.glob("part-*.csv")):
        with part.open(encoding="utf-8", newline="") as file:
            table += list(csv.DictReader(file))
    return table


def compare_one(broadsweep, folder):
    said = json.loads((folder / "said.json").read_text())
    numbers = np.array(said["numbers"])
    table = applied(broadsweep, folder, said["flags"])
    if isinstance(table, str):
        print(f"WRONG {folder.name:28} {table.splitlines()[0]}")
        return False
    if len(table) != len(numbers):
        print(f"WRONG {folder.name:28} {len(table)} rows of {len(numbers)}")
        return False
    start = "probability." if said["labels"] else "prediction"
    ours = np.array([[float(value) for key, value in row.items() if key.startswith(start)] for row in table])
    # Relative to values larger than 1, as those of regressions are.
    off = float(np.max(np.abs(ours - numbers) / np.maximum(1, np.abs(numbers).max(axis=0))))
    others = 0
    if said["labels"]:
        # Where two classes are as likely to the last digits, either may be told.
        ranked = np.sort(numbers, axis=1)
        is_clear = ranked[:, -1] - ranked[:, -2] > TOLERANCE
        told = zip(said["labels"], table, is_clear)
        others = sum(row["prediction"] != label for label, row, clear in told if clear)
    fits = off <= TOLERANCE and others == 0
    print(f"{'ok' if fits else 'WRONG':5} {folder.name:28} {len(table):5} rows  off by {off:.1e}  {others} other labels")
    return fits


def compare(broadsweep, root):
    results = [compare_one(broadsweep, folder) for folder in sorted(Path(root).iterdir())]
    print(f"{sum(results)} of {len(results)} models agree to {TOLERANCE:g} with their own predictions")
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](*sys.argv[2:])
