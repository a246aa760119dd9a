"""Trains networks with TensorFlow in its best way, and prints the samples a second: see training_networks.py.

No Keras: variables, operations and the gradient in one `tf.function`, which ends in the fused momentum kernels.

    graph   one call a step
    loop    one call for many steps, with the loop in the graph: no Python between them
    xla     as graph, compiled by XLA

Which is best depends on the network. oneDNN's kernels are asked for: on processors without AVX-512 they are left out
unless one does, and were 1.4 to 1.9 times as fast as TensorFlow's own on one of them.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf

import training_networks

RATE, MOMENTUM = 0.001, 0.9


def variables(network):
    """Weights and biases in the order of the layers, and zeros beside each for the momentum."""
    tf.random.set_seed(1)
    shape, found = network.shape, []
    for kind, *sizes in network.layers:
        if kind in ("conv", "norm"):
            kernel, filters = sizes
            weights, shape = (kernel, kernel, shape[-1], filters), (*shape[:2], filters)
        elif kind == "dense":
            weights, shape = (shape[0], sizes[0]), (sizes[0],)
        else:
            if kind == "pool":
                shape = (-(-shape[0] // sizes[0]), -(-shape[1] // sizes[0]), shape[2])
            elif kind == "mean":
                shape = (shape[2],)
            elif kind == "flatten":
                shape = (shape[0] * shape[1] * shape[2],)
            continue
        initial = tf.keras.initializers.GlorotUniform(seed=len(found))(weights)
        found += [tf.Variable(initial), tf.Variable(tf.zeros(weights[-1]))]
        if kind == "norm":
            found += [tf.Variable(tf.ones(filters)), tf.Variable(tf.zeros(filters))]
    return found, [tf.Variable(tf.zeros_like(variable)) for variable in found]


def forward(network, weights, rows):
    """The logits."""
    weights, last = iter(weights), len(network.layers) - 1
    for place, (kind, *sizes) in enumerate(network.layers):
        if kind == "conv":
            rows = tf.nn.conv2d(rows, next(weights), strides=1, padding="SAME")
            rows = tf.nn.relu(tf.nn.bias_add(rows, next(weights)))
        elif kind == "norm":
            rows = tf.nn.conv2d(rows, next(weights), strides=1, padding="SAME")
            rows = tf.nn.bias_add(rows, next(weights))
            rows, *_ = tf.compat.v1.nn.fused_batch_norm(rows, next(weights), next(weights))
            rows = tf.nn.relu(rows)
        elif kind == "dense":
            rows = tf.nn.bias_add(tf.matmul(rows, next(weights)), next(weights))
            rows = rows if place == last else tf.nn.relu(rows)
        elif kind == "pool":
            rows = tf.nn.max_pool2d(rows, sizes[0], sizes[0], "SAME")
        elif kind == "mean":
            rows = tf.reduce_mean(rows, (1, 2))
        elif kind == "flatten":
            rows = tf.reshape(rows, (network.batch, -1))
        elif kind == "dropout":
            rows = tf.nn.dropout(rows, sizes[0])
    return rows


def trainer(network, mode):
    """A function that makes steps and returns the last loss."""
    weights, momenta = variables(network)
    rows, classes = map(list, zip(*network.batches()))

    def step(rows, classes):
        with tf.GradientTape() as tape:
            logits = forward(network, weights, rows)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
            loss = tf.reduce_mean(losses)
        for gradient, weight, momentum in zip(tape.gradient(loss, weights), weights, momenta):
            tf.raw_ops.ResourceApplyMomentum(
                var=weight.handle, accum=momentum.handle, lr=RATE, grad=gradient, momentum=MOMENTUM
            )
        return loss

    if mode == "loop":
        all_rows, all_classes = tf.constant(rows), tf.constant(classes)

        @tf.function
        def steps(count):
            loss = tf.zeros(())
            for number in tf.range(count):
                batch = number % len(rows)
                loss = step(all_rows[batch], all_classes[batch])
            return loss

        return lambda count: float(steps(tf.constant(count)))

    ready = [(tf.constant(rows), tf.constant(classes)) for rows, classes in zip(rows, classes)]
    compiled = tf.function(step, jit_compile=mode == "xla")

    def train(count):
        for number in range(count):
            loss = compiled(*ready[number % len(ready)])
        return float(loss)

    return train


def main():
    options = training_networks.arguments(["graph", "loop", "xla"])
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for name in options.network:
        network = training_networks.Network(name)
        training_networks.measure("tensorflow", network, trainer(network, options.mode), options)


if __name__ == "__main__":
    main()
