"""A network with two hidden layers on MNIST, in PyTorch. It goes on from a checkpoint if there is one."""

import argparse
import gzip
import os

import torch
from torch import nn

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
        shape = [int.from_bytes(file.read(4), "big") for _ in range(dimensions)]
        return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).reshape(shape)


torch.manual_seed(options.seed % 2**63)
images = read_idx("train-images-idx3-ubyte").flatten(1).float() / 255
labels = read_idx("train-labels-idx1-ubyte").long()
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))  # MNIST's last rows are easier
images, labels = images[order], labels[order]
train_images, validation_images = images[:-VALIDATION], images[-VALIDATION:]
train_labels, validation_labels = labels[:-VALIDATION], labels[-VALIDATION:]

model = nn.Sequential(
    nn.Linear(784, options.units),
    nn.ReLU(),
    nn.Linear(options.units, options.units),
    nn.ReLU(),
    nn.Linear(options.units, 10),
)
optimizer = torch.optim.SGD(model.parameters(), options.learning_rate, momentum=0.9)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
parts = {"model": model, "optimizer": optimizer, "schedule": schedule}

done = 0
saved = os.path.join(options.checkpoints or "", "state.pt")
if options.checkpoints and os.path.exists(saved):
    state = torch.load(saved)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["random"])
    done = state["epoch"]

for epoch in range(done + 1, options.epochs + 1):
    total = 0.0
    for rows in torch.randperm(len(train_images)).split(BATCH):
        loss = nn.functional.cross_entropy(model(train_images[rows]), train_labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    schedule.step()
    with torch.no_grad():
        wrong = model(validation_images).argmax(1) != validation_labels
    if options.checkpoints:
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"random": torch.get_rng_state(), "epoch": epoch}
        partial = os.path.join(options.checkpoints, ".partial.pt")
        torch.save(state, partial)
        os.replace(partial, saved)
    print(f"epoch={epoch} loss={total / len(train_images):.4f} validation_error={wrong.float().mean().item():.4f}")
