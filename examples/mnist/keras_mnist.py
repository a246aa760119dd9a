"""A network with two hidden layers on MNIST, in Keras. It goes on from a checkpoint if there is one."""

import argparse
import gzip
import os

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--learning_rate", type=float, required=True)
parser.add_argument("--units", type=int, required=True)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--checkpoints", help="folder of the checkpoint")
options = parser.parse_args()

BATCH, VALIDATION = 64, 5000


def read_idx(name):
    with gzip.open(f"data/{name}.gz") as file:
        dimensions = file.read(4)[3]
        shape = np.frombuffer(file.read(4 * dimensions), ">u4")
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


class Checkpoint(keras.callbacks.Callback):
    """Saves the model after each epoch, under its name only once it is whole."""

    def on_epoch_end(self, epoch, logs=None):
        partial = os.path.join(options.checkpoints, ".partial.keras")
        self.model.save(partial)
        os.replace(partial, os.path.join(options.checkpoints, "model.keras"))


def new_model(steps):
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


keras.utils.set_random_seed(options.seed % 2**32)
images, labels = read_idx("train-images-idx3-ubyte"), read_idx("train-labels-idx1-ubyte")
order = np.random.default_rng(1).permutation(len(images))  # the last rows of MNIST are easier than the others
images, labels = images[order], labels[order]
steps = -(-(len(images) - VALIDATION) // BATCH)

saved = os.path.join(options.checkpoints or "", "model.keras")
if options.checkpoints and os.path.exists(saved):
    model = keras.models.load_model(saved)
else:
    model = new_model(steps)

model.fit(
    images[:-VALIDATION],
    labels[:-VALIDATION],
    batch_size=BATCH,
    epochs=options.epochs,
    initial_epoch=int(model.optimizer.iterations) // steps,
    validation_data=(images[-VALIDATION:], labels[-VALIDATION:]),
    callbacks=[Checkpoint()] if options.checkpoints else [],
    verbose=2,
)
model.save("model.keras")
