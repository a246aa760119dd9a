"""Many rows for a finished model: makes them, has the model applied to them, and compares what is written.

    rows.py BROADSWEEP MNIST-EXAMPLE WORK-FOLDER ROWS PAIRS
"""

import csv
import gzip
import hashlib
import json
import pathlib
import statistics
import struct
import subprocess
import sys

import numpy
import pyarrow
import pyarrow.parquet

BROADSWEEP, EXAMPLE, WORK = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
ROWS, PAIRS = int(sys.argv[4]), int(sys.argv[5])
MEASURED = 50_000  # rows that the bare forward pass is measured on, each epoch
EPOCHS = 4
MLP = """
    { kind = "flatten" },
    { kind = "dense", units = 256, activation = "relu" },
    { kind = "dense", units = 10 },"""
CONVNET = """
    { kind = "conv2d", filters = 32, kernel = 5, padding = "same", activation = "relu" },
    { kind = "max_pool", size = 2 },
    { kind = "conv2d", filters = 64, kernel = 5, padding = "same", activation = "relu" },
    { kind = "max_pool", size = 2 },
    { kind = "flatten" },
    { kind = "dense", units = 512, activation = "relu" },
    { kind = "dense", units = 10 },"""


def images():
    """The training pictures and their labels."""
    data = EXAMPLE / "data"
    pixels = gzip.open(data / "train-images-idx3-ubyte.gz").read()[16:]
    labels = gzip.open(data / "train-labels-idx1-ubyte.gz").read()[8:]
    return numpy.frombuffer(pixels, numpy.uint8).reshape(-1, 784), numpy.frombuffer(labels, numpy.uint8)


def write_idx(path, pixels, rows):
    with open(path, "wb") as file:
        file.write(struct.pack(">IIII", 0x803, rows, 28, 28))
        for start in range(0, rows, len(pixels)):
            file.write(pixels[: rows - start].tobytes())


def write_parquet(path, pixels, labels, rows):
    names = [f"p{place}" for place in range(784)]
    columns = numpy.ascontiguousarray(pixels.T)
    schema = pyarrow.schema([(name, pyarrow.uint8()) for name in names] + [("label", pyarrow.uint8())])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, len(pixels)):
            count = min(len(pixels), rows - start)
            arrays = [pyarrow.array(column[:count]) for column in columns] + [pyarrow.array(labels[:count])]
            writer.write_table(pyarrow.table(arrays, schema=schema), row_group_size=20_000)


def study(name, data, layers, epochs):
    path = WORK / f"{name}.toml"
    path.write_text(
        f'name = "{name}"\n[data]\n{data}validation_rows = {MEASURED}\n'
        f'[model]\nloss = "cross_entropy"\nlayers = [{layers}\n]\n'
        f'[training]\noptimizer = "sgd"\nlearning_rate = 0.05\nbatch_size = 64\nepochs = {epochs}\n'
    )
    return path


def run(*words):
    done = subprocess.run(words, cwd=WORK, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"rows.py: {' '.join(map(str, words))}\n{done.stderr[-2000:]}")
    return done


def train(study_file, out):
    """Trains on one slot; rows a second of the measuring, which is the bare forward pass."""
    run("rm", "-rf", out)
    run(BROADSWEEP, "tune", study_file, "--local", "1x1", "--out", out, "--cache-dir", "cache", "--quiet")
    with open(WORK / out / "trials.csv") as file:
        trial = next(csv.DictReader(file))
    test_rows = 10_000 if trial["test_error"] else 0
    return (MEASURED * int(trial["epochs"]) + test_rows) / float(trial["evaluation_s"])


def apply(model, source, shape, output):
    """Rows a second, and the memory of the largest process in MiB."""
    run("rm", "-rf", output, f"{output}-run")
    words = ["apply", model, "--input", source, "--output", output, "--out", f"{output}-run", "--local", shape]
    done = run("/usr/bin/time", "-f", "memory %M", BROADSWEEP, *words, "--cache-dir", "cache", "--json", "--quiet")
    told = json.loads(done.stdout)
    memory = int(done.stderr.rsplit("memory ", 1)[1].split()[0]) / 1024
    return told, memory


def digest(output):
    """Of all files of an output but the manifest, which names its run."""
    files = sorted(path for path in (WORK / output).iterdir() if path.name != "manifest.json")
    joined = hashlib.sha256()
    for path in files:
        joined.update(path.name.encode() + path.read_bytes())
    return joined.hexdigest()


def check(name, model, bare, source, rows):
    """Measures one model on one input, and compares what it writes on 1, 2 and 13 executors."""
    rates = {"1x1": [], "1x2": []}
    memory = 0
    for _ in range(PAIRS):
        for shape, known in rates.items():
            told, used = apply(model, source, shape, "out")
            if (told["rows"], told["bad_rows"]) != (rows, 0):
                sys.exit(f"rows.py: {name}: {told['rows']} rows of {rows}, {told['bad_rows']} bad ones")
            known.append(told["rows_per_s"])
            memory = max(memory, used)
    bytes_of = set()
    for shape in ["1x1", "2x1", "13x1"]:
        apply(model, source, shape, "out")
        bytes_of.add(digest("out"))
    if len(bytes_of) != 1:
        sys.exit(f"rows.py: {name}: other bytes on other executors")
    one, two = (statistics.median(rates[shape]) for shape in ["1x1", "1x2"])
    print(
        f"{name}: {rows} rows, {one:,.0f} a second on one slot ({100 * one / bare:.0f} % of the bare forward pass, "
        f"{bare:,.0f}), {two:,.0f} on two ({two / one:.2f}x); {memory:.0f} MiB at most; the same bytes on 1, 2 and 13 "
        "executors",
        flush=True,
    )
    return memory


def main():
    pixels, labels = images()
    few = ROWS // 10
    write_idx(WORK / "many.idx", pixels, ROWS)
    write_idx(WORK / "few.idx", pixels, few)
    write_parquet(WORK / "train.parquet", pixels, labels, len(pixels))
    write_parquet(WORK / "many.parquet", pixels, labels, ROWS)
    data = (EXAMPLE / "data").resolve()
    idx = (
        f'format = "idx"\ntrain_features = "{data}/train-images-idx3-ubyte.gz"\n'
        f'train_labels = "{data}/train-labels-idx1-ubyte.gz"\n'
    )
    table = 'format = "parquet"\ntrain_file = "train.parquet"\nlabel_column = "label"\n'
    of_mlp = [train(study("mlp", idx, MLP, EPOCHS), "mlp") for _ in range(PAIRS)]
    few_memory = apply("mlp", "few.idx", "1x1", "out")[1]
    memory = check("784-256-10, IDX", "mlp", statistics.median(of_mlp), "many.idx", ROWS)
    if memory > 1.5 * few_memory + 64:
        sys.exit(f"rows.py: {few} rows take {few_memory:.0f} MiB, and {ROWS} take {memory:.0f}: that is not flat")
    of_table = [train(study("table", table, MLP, EPOCHS), "table") for _ in range(PAIRS)]
    check("784-256-10, Parquet", "table", statistics.median(of_table), "many.parquet", ROWS)
    of_convnet = [train(study("convnet", idx, CONVNET, 1), "convnet")]
    check("the convnet, IDX", "convnet", statistics.median(of_convnet), "few.idx", few)
    print("rows: each is there once, and memory is flat")


main()
