"""A network with two hidden layers on MNIST, in Keras. It goes on from a checkpoint if there is one.

Under BROADSWEEP_WORKER it stays up, and trains one configuration after the other."""

import argparse
import gzip
import json
import os

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--learning_rate", type=float, required=True)
parser.add_argument("--units", type=int, required=True)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--checkpoints", help="folder of the checkpoint")

BATCH, VALIDATION = 64, 5000


def read_idx(name):
    with gzip.open(f"data/{name}.gz") as file:
        dimensions = file.read(4)[3]
        shape = np.frombuffer(file.read(4 * dimensions), ">u4")
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


class Checkpoint(keras.callbacks.Callback):
    """Saves the model after each epoch, under its name only once it is whole."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch, logs=None):
        partial = os.path.join(self.folder, ".partial.keras")
        self.model.save(partial)
        os.replace(partial, os.path.join(self.folder, "model.keras"))


def new_model(options):
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(options.units, activation="relu"),
            keras.layers.Dense(options.units, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = keras.optimizers.schedules.ExponentialDecay(options.learning_rate, steps, 0.7, staircase=True)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


images, labels = read_idx("train-images-idx3-ubyte"), read_idx("train-labels-idx1-ubyte")
order = np.random.default_rng(1).permutation(len(images))  # the last rows of MNIST are easier than the others
images, labels = images[order], labels[order]
steps = -(-(len(images) - VALIDATION) // BATCH)


def train(options):
    keras.utils.set_random_seed(options.seed % 2**32)
    saved = os.path.join(options.checkpoints or "", "model.keras")
    if options.checkpoints and os.path.exists(saved):
        model = keras.models.load_model(saved)
    else:
        model = new_model(options)
    model.fit(
        images[:-VALIDATION],
        labels[:-VALIDATION],
        batch_size=BATCH,
        epochs=options.epochs,
        initial_epoch=int(model.optimizer.iterations) // steps,
        validation_data=(images[-VALIDATION:], labels[-VALIDATION:]),
        callbacks=[Checkpoint(options.checkpoints)] if options.checkpoints else [],
        verbose=2,
    )
    model.save("model.keras")


if os.environ.get("BROADSWEEP_WORKER"):
    orders = open(int(os.environ["BROADSWEEP_WORKER_READS"]))
    answers = open(int(os.environ["BROADSWEEP_WORKER_WRITES"]), "w", buffering=1)
    for order in map(json.loads, orders):
        os.chdir(order["slot_dir"])
        train(parser.parse_args(order["command"][2:]))  # what follows `python3 keras_mnist.py`
        keras.backend.clear_session()
        print(json.dumps({"done": True}), file=answers)
else:
    train(parser.parse_args())
