"""Trains networks with PyTorch and its fused SGD, and prints the samples a second: see training_networks.py.

    plain           images with their channels first, as PyTorch has them
    channels_last   images with their channels last in memory
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from torch import nn

import training_networks

RATE, MOMENTUM = 0.001, 0.9


class Mean(nn.Module):
    """Over all pixels."""

    def forward(self, images):
        return images.mean((2, 3))


def layers(network):
    """One module after the other."""
    shape, last = network.shape, len(network.layers) - 1
    for place, (kind, *sizes) in enumerate(network.layers):
        if kind in ("conv", "norm"):
            kernel, filters = sizes
            yield nn.Conv2d(shape[2], filters, kernel, padding=kernel // 2)
            shape = (*shape[:2], filters)
            if kind == "norm":
                yield nn.BatchNorm2d(filters, momentum=0.1)
        elif kind == "dense":
            yield nn.Linear(shape[0], sizes[0])
            shape = (sizes[0],)
        elif kind == "pool":
            yield nn.MaxPool2d(sizes[0], ceil_mode=True)
            shape = (-(-shape[0] // sizes[0]), -(-shape[1] // sizes[0]), shape[2])
        elif kind == "mean":
            yield Mean()
            shape = (shape[2],)
        elif kind == "flatten":
            yield nn.Flatten()
            shape = (shape[0] * shape[1] * shape[2],)
        elif kind == "dropout":
            yield nn.Dropout(sizes[0])
        if kind in ("conv", "norm", "dense") and place != last:
            yield nn.ReLU()


def trainer(network, mode):
    """A function that makes steps and returns the last loss."""
    torch.manual_seed(1)
    order = torch.channels_last if mode == "channels_last" else torch.contiguous_format
    model = nn.Sequential(*layers(network)).to(memory_format=order)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)
    loss_of = nn.CrossEntropyLoss()
    ready = []
    for rows, classes in network.batches():
        rows = torch.from_numpy(rows)
        if rows.dim() == 4:
            rows = rows.permute(0, 3, 1, 2).contiguous(memory_format=order)
        ready.append((rows, torch.from_numpy(classes)))

    def train(count):
        for number in range(count):
            rows, classes = ready[number % len(ready)]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(rows), classes)
            loss.backward()
            optimizer.step()
        return loss.item()

    return train


def main():
    options = training_networks.arguments(["plain", "channels_last"])
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    for name in options.network:
        network = training_networks.Network(name)
        training_networks.measure("torch", network, trainer(network, options.mode), options)


if __name__ == "__main__":
    main()
