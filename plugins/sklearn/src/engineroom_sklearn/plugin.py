"""Declares the engine. Imports no framework."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from engineroom.engine import Engine, Predictor
from engineroom.hookspecs import hookimpl
from engineroom.lending import Stage
from engineroom.service import Service
from engineroom.values import Device


class SklearnEngine(Engine):
    """Models of scikit-learn, in pickles and skops files, and XGBoost's own files."""

    name = "sklearn"
    parent = "model_service.python_model_service.XgSklServingBaseService"
    model_types = ("Scikit_Learn", "scikit-learn", "XGBoost")
    model_files = (
        *("*.m", "*.pkl", "*.pickle", "*.joblib", "*.skops"),
        *("*.ubj", "*.xgb", "*.bst", "*.model", "*.json", "!config.json"),
    )
    frameworks = ("scikit-learn>=1.3",)
    watches = ("sklearn.exceptions",)
    path_alone = True
    body = "text"
    words = {  # noqa: RUF012
        "MR.0101": ("PY.0101", "The input data is invalid"),
        "MR.0105": ("PY.0105", "Predict failed"),
    }

    def is_model_file(self, path: Path) -> bool:
        from engineroom_sklearn.files import kind_of

        # Other files have these names too.
        return path.suffix not in {".json", ".model"} or kind_of(path) is not None

    def code_in(self, path: Path) -> str | None:
        from engineroom_sklearn.files import code_in

        return code_in(path)

    def load(self, path: Path, device: Device, threads: int) -> Predictor:  # noqa: ARG002
        from engineroom_sklearn.loader import load

        return load(path, threads)

    def environment(self, threads: int | None) -> dict[str, str]:
        # Read when numpy, scikit-learn and XGBoost are imported.
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return dict.fromkeys(names, str(threads)) if threads else {}

    def after_import(self, module: ModuleType, stage: Stage) -> None:  # noqa: ARG002
        from engineroom_sklearn.reading import log_versions

        log_versions(stage)

    def envelope(self, data: Any, result: Any) -> Any:
        from engineroom_sklearn.bodies import enveloped

        return enveloped(data, result)

    def service_class(self) -> type[Service]:
        from engineroom_sklearn.service import XgSklServingBaseService

        return XgSklServingBaseService


@hookimpl
def register_engine(register: Callable[[Engine], None]) -> None:
    register(SklearnEngine())
