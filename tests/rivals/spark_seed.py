"""The study examples/mnist/small.toml as one does it with Spark and TensorFlow.

A standalone cluster of one master and one worker is started here on loopback, as `broadsweep tune` starts its own
executor. MNIST is broadcast, and each of the eight networks is one Spark task on the only core of the only executor.
What is not ours is left at its defaults, but for memory, loopback and one thread for each of TensorFlow's pools.

Prints a line a network and `cold total`: seconds from this process's start to the last result, the cluster's end not
included.
"""

import time

STARTED = time.monotonic()

import contextlib
import gzip
import pathlib

import numpy as np

import spark_cluster

MNIST = pathlib.Path(__file__).resolve().parents[2] / "examples" / "mnist" / "data"
CONFIGURATIONS = [(hidden, rate) for hidden in (32, 128) for rate in (0.001, 0.01, 0.1, 1.0)]


def idx(name, header_bytes):
    """The bytes of an IDX file, after its header."""
    with gzip.open(MNIST / f"{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header_bytes)


def mnist():
    """Training images and labels, then those of the test: images a row each, all of them bytes."""
    parts = []
    for part in ("train", "t10k"):
        parts.append(idx(f"{part}-images-idx3-ubyte", 16).reshape(-1, 28 * 28))
        parts.append(idx(f"{part}-labels-idx1-ubyte", 8))
    return tuple(parts)


def train(configuration, data):
    """One epoch of one network, on an executor: its test accuracy, and the seconds of the whole and of the fit."""
    started = time.monotonic()
    import keras
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # a reused Python process has set them already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    hidden, rate = configuration
    images, labels, test_images, test_labels = data.value
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.layers.Input((images.shape[1],)),
            keras.layers.Dense(hidden, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
    fit_started = time.monotonic()
    scaled = images.astype("float32") / 255
    network.fit(scaled, labels.astype("int32"), batch_size=64, epochs=1, verbose=0)
    fit_s = time.monotonic() - fit_started
    scaled = test_images.astype("float32") / 255
    _, accuracy = network.evaluate(scaled, test_labels.astype("int32"), batch_size=1000, verbose=0)
    keras.backend.clear_session()
    return hidden, rate, float(accuracy), time.monotonic() - started, fit_s


def tune(address):
    environment = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    settings = {f"spark.executorEnv.{name}": value for name, value in environment.items()}
    with spark_cluster.driver(address, "spark_seed", settings) as context:
        data = context.broadcast(mnist())
        tasks = context.parallelize(CONFIGURATIONS, len(CONFIGURATIONS))
        return tasks.map(lambda configuration: train(configuration, data)).collect(), time.monotonic() - STARTED


def main():
    with spark_cluster.cluster(workers=1) as address:
        trials, cold_total_s = tune(address)
    for hidden, rate, accuracy, task_s, fit_s in trials:
        print(f"hidden={hidden} learning_rate={rate} accuracy={accuracy:.4f} task={task_s:.1f}s fit={fit_s:.1f}s")
    hidden, rate, accuracy, *_ = max(trials, key=lambda trial: trial[2])
    print(f"best: hidden={hidden} learning_rate={rate} accuracy={accuracy:.4f}")
    print(f"cold total {cold_total_s:.2f} s")


if __name__ == "__main__":
    main()
