"""Make model/model.skops: a small model that tells which of three irises a flower is.

    pip install scikit-learn skops
    python make_model.py

This script is a stand-in. Once you have a model of your own, put it into model/
and delete this file: the server never reads it.
"""

from pathlib import Path

import skops.io
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

MODEL = Path(__file__).resolve().parent / "model" / "model.skops"

iris = load_iris()
species = iris.target_names[iris.target]
train_x, test_x, train_y, test_y = train_test_split(
    iris.data, species, test_size=0.4, random_state=0, stratify=species
)
model = GaussianNB().fit(train_x, train_y)
print(f"accuracy on {len(test_y)} held-out flowers: {model.score(test_x, test_y):.4f}")
# skops and not pickle: reading this file runs no code that is in it. joblib.dump(model, "model.m")
# works too; the server reads both.
skops.io.dump(model, MODEL)
