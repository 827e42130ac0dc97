"""Loads a model file, with what its kind needs and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engineroom.engine import Predictor
from engineroom.errors import ModelFileError
from engineroom_sklearn.files import kind_of, untrusted_types


def load(path: Path, threads: int) -> Predictor:
    """The model in ``path``. Whether code in it may run has been asked before.

    Raises:
        ModelFileError: the file holds no model, or one that cannot be read.
    """
    kind = kind_of(path)
    if kind in ("xgboost", "xgboost-binary"):
        from engineroom_sklearn.boosters import BoosterPredictor, read_booster

        return BoosterPredictor(read_booster(path, kind == "xgboost-binary"), path, threads)
    if kind is None:
        raise ModelFileError(
            f"{path}: expected a pickle (joblib or pickle), a skops file or an XGBoost model "
            f"(JSON, UBJSON), got {_shown(path)}"
        )
    read = _read_pickle if kind == "pickle" else _read_skops
    return _predictor(read(path), path, threads)


def _shown(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    return f"a file that begins with {head!r}" if head else "an empty file"


def _read_pickle(path: Path) -> Any:
    from engineroom_sklearn.pickles import read_pickle

    return read_pickle(path)


def _read_skops(path: Path) -> Any:
    import skops.io

    from engineroom_sklearn.reading import reading

    with reading(path):
        return skops.io.load(path, trusted=untrusted_types(path))


def _predictor(model: Any, path: Path, threads: int) -> Predictor:
    if type(model).__module__.partition(".")[0] == "xgboost" and type(model).__name__ == "Booster":
        from engineroom_sklearn.boosters import BoosterPredictor

        return BoosterPredictor(model, path, threads)
    if not hasattr(model, "predict"):
        keys = f" with the keys {', '.join(map(str, model))}" if isinstance(model, dict) else ""
        raise ModelFileError(
            f"{path}: expected a model with a method predict, got {type(model).__name__}{keys}; "
            "load it in a customize_service.py and write an _inference of its own"
        )
    from engineroom_sklearn.estimators import EstimatorPredictor

    return EstimatorPredictor(model, path, threads)
