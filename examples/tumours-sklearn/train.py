"""Train the tumours model and write it, and the example, into model/.

The data are the 569 tumours that come with scikit-learn (Breast Cancer Wisconsin, Diagnostic), so
nothing is downloaded. It takes a second.

    pip install pandas scikit-learn skops
    python train.py

Run it from any directory: the files are written next to this script.
"""

import json
from pathlib import Path

import numpy as np
import skops.io
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
# The means over a tumour's cells: the first ten of scikit-learn's thirty columns.
COLUMNS = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity"),
    *("concave_points", "symmetry", "fractal_dimension"),
)


def split():
    """Return train cells, held-out cells, train diagnoses, held-out diagnoses."""
    data = load_breast_cancer()
    cells, diagnoses = data.data[:, : len(COLUMNS)], data.target_names[data.target]
    return train_test_split(cells, diagnoses, test_size=0.4, random_state=0, stratify=diagnoses)


def as_request(rows):
    """Turn rows of numbers into what the server takes."""
    named = [dict(zip(COLUMNS, map(float, row), strict=True)) for row in rows]
    return {"data": {"req_data": named}}


def train(cells, diagnoses):
    """Return the pipeline. Fitted on a data frame it knows its columns by name."""
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(as_frame(cells), diagnoses)


def as_frame(cells):
    """Give the columns their names."""
    import pandas as pd

    return pd.DataFrame(cells, columns=COLUMNS)


def main():
    train_cells, test_cells, train_diagnoses, test_diagnoses = split()
    path = HERE / "model" / "tumours.skops"
    skops.io.dump(train(train_cells, train_diagnoses), path)
    predicted = skops.io.load(path).predict(as_frame(test_cells))  # what the written file gives
    right = int((predicted == test_diagnoses).sum())
    total = len(test_diagnoses)
    print(f"held-out accuracy: {right / total:.4f} ({right} of {total})")
    # The first held-out tumour of each diagnosis.
    kinds = ("benign", "malignant")
    rows = [test_cells[np.flatnonzero(test_diagnoses == kind)[0]] for kind in kinds]
    example = json.dumps(as_request(rows), indent=2) + "\n"
    (HERE / "model" / "examples" / "two_tumours.json").write_text(example)


if __name__ == "__main__":
    main()
