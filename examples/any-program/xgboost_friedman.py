"""Boosted trees on Friedman's first function (1991): the sum of a wave, a parabola and a line, in noise."""

import argparse
import json
import os

import numpy as np
import xgboost

TREES_PER_EPOCH = 20

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--max_depth", type=int, required=True)
parser.add_argument("--eta", type=float, required=True)
parser.add_argument("--subsample", type=float, required=True)
options = parser.parse_args()

random = np.random.default_rng(1)
x = random.uniform(size=(3000, 10))
y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
y += random.normal(size=len(y))  # so no model can have an RMSE below 1
training = xgboost.DMatrix(x[:2000], y[:2000])
validation = xgboost.DMatrix(x[2000:], y[2000:])

settings = {
    "max_depth": options.max_depth,
    "eta": options.eta,
    "subsample": options.subsample,
    "nthread": int(os.environ.get("OMP_NUM_THREADS", "1")),
}
model = None
for epoch in range(1, options.epochs + 1):
    model = xgboost.train({**settings, "seed": epoch}, training, TREES_PER_EPOCH, xgb_model=model)
    rmse = float(np.sqrt(np.mean((model.predict(validation) - y[2000:]) ** 2)))
    with open(os.environ["BROADSWEEP_METRICS"], "a") as file:
        print(json.dumps({"epoch": epoch, "rmse": rmse}), file=file)
model.save_model("model.json")
