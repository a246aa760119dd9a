"""A support vector machine on the digits that come with scikit-learn. One run is one fit."""

import argparse
import json
import os

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

parser = argparse.ArgumentParser()
parser.add_argument("--C", type=float, required=True)
parser.add_argument("--gamma", type=float, required=True)
options = parser.parse_args()

images, digits = load_digits(return_X_y=True)
train_images, validation_images, train_digits, validation_digits = train_test_split(
    images, digits, test_size=0.3, random_state=1, stratify=digits
)
model = SVC(C=options.C, gamma=options.gamma).fit(train_images, train_digits)

metrics = {
    "training_error": 1 - model.score(train_images, train_digits),
    "validation_error": 1 - model.score(validation_images, validation_digits),
    "support_vectors": len(model.support_),
}
with open(os.environ["BROADSWEEP_METRICS"], "a") as file:
    print(json.dumps(metrics), file=file)
