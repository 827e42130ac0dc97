"""Makes iris/model/iris.npz from scikit-learn's iris data, and prints its accuracy.

    pip install scikit-learn
    python make_iris.py

The data come with scikit-learn. The seed is fixed, so that the figure can be checked.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

iris = load_iris()
train_x, test_x, train_y, test_y = train_test_split(
    iris.data, iris.target, test_size=50, random_state=0, stratify=iris.target
)
labels = iris.target_names
centroids = np.stack([train_x[train_y == kind].mean(axis=0) for kind in range(len(labels))])
distance = np.linalg.norm(test_x[:, np.newaxis] - centroids, axis=2)
right = int((distance.argmin(axis=1) == test_y).sum())
print(f"{right} of {len(test_y)} held-out flowers right: {right / len(test_y):.4f}")

path = Path(__file__).resolve().parent / "iris" / "model" / "iris.npz"
np.savez(path, centroids=centroids.astype(np.float32), labels=labels)
