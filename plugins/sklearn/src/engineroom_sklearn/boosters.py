"""XGBoost's own model files."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from engineroom.errors import InvalidTensorError, ModelFileError
from engineroom_sklearn.estimators import TablePredictor
from engineroom_sklearn.reading import first_line, reading
from engineroom_sklearn.tables import INPUT, Features


def read_booster(path: Path, is_binary: bool) -> Any:
    """The ``xgboost.Booster`` in ``path``.

    Raises:
        ModelFileError: no XGBoost is installed, or it cannot read the file.
    """
    try:
        import xgboost
    except ImportError as error:
        raise ModelFileError(
            f"{path} is an XGBoost model, and xgboost cannot be imported ({error}); run: "
            "pip install 'engineroom-sklearn[xgboost]'"
        ) from error
    with reading(path):
        try:
            # Bytes and not the path: XGBoost goes by the suffix, and `.m` tells it nothing.
            return xgboost.Booster(model_file=bytearray(path.read_bytes()))
        except Exception as error:
            if is_binary:
                raise ModelFileError(_conversion(path, xgboost.__version__)) from error
            raise ModelFileError(
                f"{path}: not a model that XGBoost can load: {first_line(error)}"
            ) from error


def _conversion(path: Path, version: str) -> str:
    return (
        f"{path} is in XGBoost's old binary format, which xgboost {version} does not read; convert "
        "it once, in another environment: pip install 'xgboost<3.1', then python -c \"import "
        f"xgboost; xgboost.Booster(model_file='{path.name}').save_model('{path.stem}.json')\""
    )


class BoosterPredictor(TablePredictor):
    """A Booster. What it answers depends on its objective: probabilities rather than classes."""

    def __init__(self, booster: Any, path: Path, threads: int) -> None:
        booster.set_param({"nthread": threads})
        self.booster = booster
        self.backend = f"XGBoost {sys.modules['xgboost'].__version__}"
        learner = json.loads(booster.save_config())["learner"]
        # Others cannot, or round otherwise than predict(), which only trees have thread-safe.
        self._in_place = learner["gradient_booster"]["name"] == "gbtree"
        self._lock = contextlib.nullcontext() if self._in_place else threading.Lock()
        names = booster.feature_names
        features = Features(tuple(names) if names else None, booster.num_features())
        super().__init__(path, features, threads)

    def predict(self, table: Any) -> Any:
        if hasattr(table, "iloc") or hasattr(table, "tocsr"):
            return self._predict(table)
        if table.dtype.kind == "O":
            try:
                table = table.astype(np.float64)
            except ValueError as error:
                raise InvalidTensorError(
                    f'input "{INPUT}": expected {self.features.spec}, got strings ({error}); '
                    "XGBoost takes numbers: send the codes of categories",
                    input=INPUT, expected=str(self.features.spec), got="strings",
                ) from None  # fmt: skip
        return self._predict(table)

    def _predict(self, table: Any) -> Any:
        with self._lock:
            if self._in_place:
                return self.booster.inplace_predict(table)
            import xgboost

            return self.booster.predict(
                xgboost.DMatrix(table, feature_names=self.booster.feature_names)
            )

    def close(self) -> None:
        del self.booster
