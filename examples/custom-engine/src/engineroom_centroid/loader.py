"""Loads an ``.npz`` file and runs it. The only module that needs the framework."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engineroom import Predictor, TensorSpec
from engineroom.errors import ModelFileError
from engineroom.values import STRING, Array


class CentroidPredictor(Predictor):
    """Gives each row the label of the nearest centroid. Keeps no state between calls."""

    def __init__(self, path: Path) -> None:
        self.centroids, self.labels = _read(path)
        count, width = self.centroids.shape
        dtype = STRING if self.labels.dtype.kind == "U" else str(self.labels.dtype)
        # "N" is any number of rows; the core checks every request against these.
        self.inputs = (TensorSpec("features", ("N", width), "float32"),)
        self.outputs = (
            TensorSpec("label", ("N",), dtype),
            TensorSpec("distance", ("N", count), "float32"),
        )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        difference = feeds["features"][:, np.newaxis] - self.centroids  # (N, K, D)
        distance = np.sqrt((difference**2).sum(axis=2))
        return {"label": self.labels[distance.argmin(axis=1)], "distance": distance}


def _read(path: Path) -> tuple[Array, Array]:
    try:
        # allow_pickle=False: a model file must not be able to run code.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            centroids, labels = arrays["centroids"].astype(np.float32), arrays["labels"]
    except Exception as error:  # a broken archive raises whatever zipfile, zlib or numpy raise
        raise ModelFileError(
            f"{path}: not an .npz file with centroids and labels: {error}"
        ) from error
    if centroids.ndim != 2 or 0 in centroids.shape or labels.shape != centroids.shape[:1]:
        raise ModelFileError(
            f"{path}: expected centroids (K, D) and labels (K,), got {centroids.shape} and "
            f"{labels.shape}; save one label for each centroid"
        )
    return centroids, labels
