"""The other side of apply.sh: networks as ONNX, and onnxruntime on one thread.

    apply.py make NETWORK FILE               the network of the training bench with random weights, and a softmax
    apply.py run NETWORK FILE BATCH...       rows a second of onnxruntime, a JSON object a line
    apply.py table                           reads the lines of all sides, and prints medians and ratios
"""

import json
import statistics
import sys
import time

import numpy as np

from training_networks import Network

PASSES = 5
PASS_S = 1.0


def make(name, path):
    from onnx import TensorProto, checker, helper, numpy_helper, save

    network = Network(name)
    random = np.random.default_rng(1)
    nodes, constants = [], []

    def constant(label, values):
        constants.append(numpy_helper.from_array(values, f"{label}{len(constants)}"))
        return constants[-1].name

    def weights(*sides, fan_in):
        return constant("weights", (random.standard_normal(sides) / fan_in**0.5).astype(np.float32))

    def node(kind, inputs, **attributes):
        output = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    sides, tensor = network.shape, "rows"
    if len(sides) == 3:
        tensor = node("Transpose", [tensor], perm=[0, 3, 1, 2])
    layers = [layer for layer in network.layers if layer[0] != "dropout"]
    for place, layer in enumerate(layers):
        if layer[0] == "conv":
            kernel, filters = layer[1:]
            kind = (filters, sides[2], kernel, kernel)
            taken = [tensor, weights(*kind, fan_in=kernel * kernel * sides[2]), constant("bias", np.zeros(filters, np.float32))]
            tensor = node("Relu", [node("Conv", taken, auto_pad="SAME_UPPER")])
            sides = (*sides[:2], filters)
        elif layer[0] == "pool":
            side = layer[1]
            tensor = node("MaxPool", [tensor], kernel_shape=[side, side], strides=[side, side])
            sides = (sides[0] // side, sides[1] // side, sides[2])
        elif layer[0] == "flatten":
            tensor = node("Flatten", [tensor])
            sides = (sides[0] * sides[1] * sides[2],)
        else:
            units = layer[1]
            taken = [tensor, weights(sides[0], units, fan_in=sides[0]), constant("bias", np.zeros(units, np.float32))]
            tensor = node("Gemm", taken)
            tensor = node("Relu", [tensor]) if place + 1 < len(layers) else tensor
            sides = (units,)
    answer = node("Softmax", [tensor], axis=1)
    value = helper.make_tensor_value_info
    inputs = [value("rows", TensorProto.FLOAT, ["rows", *network.shape])]
    outputs = [value(answer, TensorProto.FLOAT, ["rows", network.classes])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, path)


def run(name, path, *batches):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    shape = Network(name).shape
    for batch in map(int, batches):
        rows = np.random.default_rng(1).random((batch, *shape), np.float32)
        rates = []
        for _ in range(PASSES + 1):
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < PASS_S:
                session.run(None, {"rows": rows})
                done += batch
            rates.append(done / (time.perf_counter() - began))
        print(json.dumps({"engine": "onnxruntime", "network": name, "batch": batch, "wall": rates[1:]}), flush=True)


def table():
    rates = {}
    for line in sys.stdin:
        told = json.loads(line)
        if told.get("phase", "evaluation") != "evaluation":
            continue
        name, _, batch = told["network"].partition("@")
        key = name, told["engine"], int(batch or told["batch"])
        rates.setdefault(key, []).extend(told["wall"])
    best = {}
    for (name, engine, batch), walls in rates.items():
        found = statistics.median(walls), batch
        best[name, engine] = max(best.get((name, engine), (0, 0)), found)
    for name in dict.fromkeys(name for name, _ in best):
        print(name)
        other = best[name, "onnxruntime"][0]
        for engine in ("broadsweep", "onnxruntime", "rten"):
            rate, batch = best[name, engine]
            print(f"  {engine:12} {rate:10.0f} rows/s (batches of {batch:4}), {rate / other:.2f} of onnxruntime")


if __name__ == "__main__":
    {"make": make, "run": run, "table": table}[sys.argv[1]](*sys.argv[2:])
