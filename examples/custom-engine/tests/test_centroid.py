"""The conformance suite, and what only this engine has."""

import numpy as np
import pytest

from engineroom import load
from engineroom.errors import ModelFileError
from engineroom.testing import EngineConformance

CENTROIDS = np.array([[0, 0], [3, 4]], np.float32)


class TestCentroidConformance(EngineConformance):
    engine = "centroid"
    request = {"features": [[1.0, 1.0]]}  # noqa: RUF012

    def write_model(self, folder):
        np.savez(folder / "model.npz", centroids=CENTROIDS, labels=["near", "far"])

    def direct(self, folder):
        rows = np.array(self.request["features"], np.float32)
        distance = np.linalg.norm(rows[:, np.newaxis] - CENTROIDS, axis=2)
        return {"label": np.array(["near", "far"])[distance.argmin(axis=1)], "distance": distance}


def test_labels_may_be_numbers(tmp_path):
    np.savez(tmp_path / "m.npz", centroids=CENTROIDS, labels=[10, 20])
    answer = load(tmp_path)({"features": [[0, 0], [3, 4]]})
    assert answer["label"].tolist() == [10, 20]
    assert answer["distance"].tolist() == [[0, 5], [5, 0]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"centroids": CENTROIDS}, "labels"),
        ({"centroids": CENTROIDS, "labels": ["one"]}, r"\(2, 2\) and \(1,\)"),
        ({"centroids": CENTROIDS[0], "labels": ["a", "b"]}, r"\(2,\) and \(2,\)"),
        ({"centroids": CENTROIDS[:0], "labels": np.zeros(0)}, r"\(0, 2\) and \(0,\)"),
        ({"centroids": [["x"]], "labels": ["a"]}, "could not convert"),
        ({"centroids": CENTROIDS, "labels": np.array([None, None])}, "pickle"),
    ],
)
def test_arrays_that_make_no_model_are_a_load_error(tmp_path, arrays, message):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ModelFileError, match=rf"m\.npz.*{message}"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"text"])
def test_a_file_that_is_no_archive_is_a_load_error(tmp_path, content):
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"m\.npz"):
        load(tmp_path)
