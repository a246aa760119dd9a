"""The networks of the training bench, for TensorFlow and PyTorch, and how their time is taken.

The names are those of executor/benches/training/network.rs: mlp, convnet, dense:100-50-10, conv3:16x14x14,
norm3:16x14x14, with the batch size behind an @. Batches lie ready in memory as float32; ours are gathered from bytes
in a new order each pass.
"""

import argparse
import json
import math
import time

import numpy as np

BATCH = 64
CLASSES = 10
WARM_UP_S = 0.5
BATCHES_MAX = 50
BATCHES_BYTES = 256 << 20


class Network:
    """A network by its name: shape of a row (height, width, channels for images), batch size, layers.

    Layers are tuples: ("conv", kernel, filters) and ("dense", units) with relu behind each dense and conv but the
    last layer, ("norm", kernel, filters) with batch norm between a conv and its relu, ("pool", side) for the largest of
    each window, ("mean",) over all pixels, ("flatten",) and ("dropout", rate).
    """

    def __init__(self, name):
        kind, _, batch = name.partition("@")
        self.batch = int(batch or BATCH)
        self.name = f"{kind}@{self.batch}"
        if kind == "mlp":
            kind = "dense:784-512-512-10"
        family, _, sizes = kind.partition(":")
        if kind == "convnet":
            self.shape = (28, 28, 1)
            self.layers = [("conv", 5, 32), ("pool", 2), ("conv", 5, 64), ("pool", 2), ("flatten",)]
            self.layers += [("dense", 512), ("dropout", 0.5), ("dense", CLASSES)]
        elif family == "dense":
            inputs, *widths = map(int, sizes.split("-"))
            self.shape = (inputs,)
            self.layers = [("dense", units) for units in widths]
        elif family[:4] in ("conv", "norm"):
            channels, height, width = map(int, sizes.split("x"))
            self.shape = (height, width, channels)
            self.layers = [(family[:4], int(family[4:]), channels)] * 2 + [("mean",), ("dense", CLASSES)]
        else:
            raise SystemExit(f"no such network: {name}")
        self.classes = self.layers[-1][1]

    def batches(self):
        """Some batches at random, four values of five 0 as in MNIST, and their classes."""
        random = np.random.default_rng(1)
        count = BATCHES_BYTES // (4 * self.batch * math.prod(self.shape))
        for _ in range(max(2, min(BATCHES_MAX, count))):
            rows = random.random((self.batch, *self.shape), np.float32)
            rows[random.random(rows.shape, np.float32) < 0.8] = 0
            yield rows, random.integers(0, self.classes, self.batch)


def arguments(modes):
    """Of the command line; the first of `modes` is the default."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", action="append", required=True)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a pass")
    parser.add_argument("--mode", choices=modes, default=modes[0])
    return parser.parse_args()


def measure(engine, network, train, options):
    """Prints a JSON object as the bench's: samples a second of each pass, by wall time and by CPU time.

    `train(steps)` makes as many steps, over the batches in turn, and returns the last loss as a number.
    """
    train(1)  # what is built at the first step is built here
    steps, spent_s = 1, 0.0
    while True:  # ever more steps, until they show the pace
        started = time.perf_counter()
        train(steps)
        spent_s = time.perf_counter() - started
        if spent_s > WARM_UP_S / 2:
            break
        steps *= 2
    steps = max(1, round(steps * options.seconds / spent_s))
    train(steps)
    wall, cpu = [], []
    for _ in range(options.passes):
        started, cpu_started = time.perf_counter(), time.process_time()
        loss = train(steps)
        cpu.append(round(steps * network.batch / (time.process_time() - cpu_started), 2))
        wall.append(round(steps * network.batch / (time.perf_counter() - started), 2))
    if not math.isfinite(loss):
        raise SystemExit(f"{network.name} diverged: its time says nothing")
    measured = {"engine": engine, "network": network.name, "phase": "training", "mode": options.mode}
    print(json.dumps({**measured, "rows": steps * network.batch, "wall": wall, "cpu": cpu}), flush=True)
