"""Reads one large file of each format by Broadsweep and by NumPy or pandas: see reading.sh."""

import os
import re
import statistics
import subprocess
import sys
import threading
import time

import numpy
import pandas
import pyarrow
import pyarrow.parquet

MEMORY_MB_MAX = 200
COLUMNS = 200
STUDY = """name = "reading"

[data]
{data}
validation_rows = 1000

[trainer]
kind = "replay"
seconds = 0
error = "$error"

[search]
sampler = "grid"

[search.space]
error = {{ values = [0.5] }}
"""


def main():
    broadsweep, folder, mb, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.chdir(folder)
    rows = 100_000
    random = numpy.random.default_rng(0)
    # Rows that are repeated until the file is large enough: what they say costs the same each time.
    pixels = random.integers(0, 256, (rows // 10, 784), numpy.uint8)
    numbers = random.normal(size=(rows // 10, COLUMNS))
    greatest = 0
    for name, make in FORMATS.items():
        data, theirs = make(mb * 1_000_000, pixels, numbers)
        size = sum(os.path.getsize(file) for file in os.listdir(".") if file.startswith("x."))
        with open("study.toml", "w", encoding="utf-8") as study:
            study.write(STUDY.format(data=data))
        sides = {"ours": [broadsweep, "check", "study.toml"], "theirs": [sys.executable, "-c", theirs]}
        taken = {side: [] for side in sides}
        for _ in range(rounds):
            for side, command in sides.items():
                taken[side].append(measured(command))
        (our_s, our_mb), (their_s, their_mb) = (
            (statistics.median(s for s, _ in taken[side]), max(mb for _, mb in taken[side])) for side in sides
        )
        greatest = max(greatest, our_mb)
        call = theirs.rsplit("; ", 1)[1]
        print(
            f"{name:14} {size / 1e9:.2f} GB: {our_s:6.2f} s ({size / 1e9 / our_s:.2f} GB/s) and {our_mb:3.0f} MB; "
            f"{call} {their_s:6.2f} s and {their_mb:5.0f} MB",
            flush=True,
        )
        for file in os.listdir("."):
            if file.startswith(("x.", "y.")):
                os.remove(file)
    if greatest > MEMORY_MB_MAX:
        sys.exit(f"Broadsweep took {greatest:.0f} MB; it may take {MEMORY_MB_MAX}")
    print(f"ok: at most {greatest:.0f} MB of memory, whatever the format")


def measured(command):
    """Seconds of a whole process, and the most MB that belonged to it alone."""
    greatest = 0
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    reader = threading.Thread(target=lambda: said.append(process.stdout.read()))
    reader.start()
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                found = re.search(r"RssAnon:\s*(\d+) kB", status.read())
        except ProcessLookupError:
            found = None
        if found:
            greatest = max(greatest, int(found[1]))
        time.sleep(0.003)
    took = time.monotonic() - began
    reader.join()
    if process.returncode != 0:
        sys.exit(f"{command} failed: {said[0]}")
    return took, greatest * 1024 / 1e6


def labels(rows):
    numpy.save("y.npy", (numpy.arange(rows) % 10).astype(numpy.uint8))


def npy_header(file, descr, fortran, shape):
    header = {"descr": descr, "fortran_order": fortran, "shape": shape}
    numpy.lib.format.write_array_header_1_0(file, header)


def idx(size, pixels, _):
    count = size // pixels.nbytes
    rows = count * len(pixels)
    with open("x.idx", "wb") as file:
        file.write(bytes([0, 0, 8, 3]) + numpy.array([rows, 28, 28], ">u4").tobytes())
        for _ in range(count):
            file.write(pixels.tobytes())
    with open("y.idx", "wb") as file:
        file.write(bytes([0, 0, 8, 1]) + numpy.array([rows], ">u4").tobytes())
        file.write((numpy.arange(rows) % 10).astype(numpy.uint8).tobytes())
    data = 'format = "idx"\ntrain_features = "x.idx"\ntrain_labels = "y.idx"'
    return data, 'import numpy; numpy.fromfile("x.idx", numpy.uint8)'


def npy(size, values, descr, fortran=False):
    values = values.astype(descr)
    count = size // values.nbytes
    rows = count * len(values)
    with open("x.npy", "wb") as file:
        npy_header(file, values.dtype.str, fortran, (rows, values.shape[1]))
        if fortran:
            for column in values.T:
                file.write(numpy.tile(column, count).tobytes())
        else:
            for _ in range(count):
                file.write(values.tobytes())
    labels(rows)
    data = 'format = "npy"\ntrain_features = "x.npy"\ntrain_labels = "y.npy"'
    return data, 'import numpy; numpy.load("x.npy")'


def csv(size, _, numbers):
    text = "".join(
        ",".join(f"{value:.6g}" for value in row) + f",{number % 10}\n" for number, row in enumerate(numbers)
    ).encode()
    with open("x.csv", "wb") as file:
        file.write((",".join(f"c{column}" for column in range(COLUMNS)) + ",label\n").encode())
        for _ in range(size // len(text)):
            file.write(text)
    data = 'format = "csv"\ntrain_file = "x.csv"\nlabel_column = "label"'
    return data, 'import pandas; pandas.read_csv("x.csv")'


def parquet(size, _, numbers):
    frame = pandas.DataFrame(numbers, columns=[f"c{column}" for column in range(COLUMNS)])
    frame["label"] = numpy.arange(len(frame)) % 10
    table = pyarrow.Table.from_pandas(frame)
    with pyarrow.parquet.ParquetWriter("x.parquet", table.schema) as writer:
        while os.path.getsize("x.parquet") < size:
            writer.write_table(table)
    data = 'format = "parquet"\ntrain_file = "x.parquet"\nlabel_column = "label"'
    return data, 'import pandas; pandas.read_parquet("x.parquet")'


FORMATS = {
    "IDX": idx,
    "NPY, uint8": lambda size, pixels, _: npy(size, pixels, "u1"),
    "NPY, float32": lambda size, _, numbers: npy(size, numbers, "<f4"),
    "NPY, Fortran": lambda size, _, numbers: npy(size, numbers, "<f4", fortran=True),
    "CSV": csv,
    "Parquet": parquet,
}

if __name__ == "__main__":
    main()
