"""Runs whatever has a ``predict``: scikit-learn's estimators, and those made in their likeness."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from engineroom.engine import Predictor
from engineroom.errors import InvalidTensorError
from engineroom.values import STRING, Array, TensorSpec
from engineroom_sklearn.bodies import rows_of
from engineroom_sklearn.reading import first_line
from engineroom_sklearn.tables import INPUT, RESULT, Features, framed, has_pandas, table_of

log = logging.getLogger("engineroom")
_thread = threading.local()


class TablePredictor(Predictor):
    """A model whose one input is a table. Safe to call from several threads."""

    def __init__(self, path: Path, features: Features, threads: int) -> None:
        self.name, self.features, self.threads = path.name, features, threads
        self.inputs = (features.spec,)
        self.outputs = (self._seen(),)
        self._told = False

    def predict(self, table: Any) -> Any:
        """The framework's own answer."""
        raise NotImplementedError

    def feeds(self, data: Any, model: str) -> Mapping[str, Any]:
        if isinstance(data, Mapping):
            data = rows_of(data, self.features)
        return {INPUT: table_of(data, self.features, model)}

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        limit_threads(self.threads)
        try:
            result = self.predict(feeds[INPUT])
        except (ValueError, TypeError) as error:
            raise self._refusal(error) from error
        return {RESULT: np.asarray(result)}

    def _refusal(self, error: Exception) -> Exception:
        """A table of the right width that the model cannot take: an unknown word, a gap."""
        reason = first_line(error)
        if "dataframe" in reason.lower() and not has_pandas():
            return RuntimeError(
                f"{self.name} takes its columns by name, and needs pandas: pip install pandas"
            )
        return InvalidTensorError(
            f'input "{INPUT}": the model {self.name} refuses it: {reason}',
            input=INPUT,
            expected=str(self.features.spec),
        )

    def warm_up(self) -> None:
        """Run on one row of zeros, which a model of words may rightly refuse."""
        try:
            self.run(self._smallest())
        except InvalidTensorError as error:
            if not self._told and self.features.is_known:
                log.warning("no warm-up on zeros: %s; put a request into examples/", error)
            self._told = True

    def _smallest(self) -> Mapping[str, Any]:
        return {INPUT: self.features.spec.smallest()}

    def _seen(self) -> TensorSpec:
        """The output, as one row of zeros gives it."""
        array = np.empty(0)
        with contextlib.suppress(Exception):  # the warm-up will say so
            array = self.run(self._smallest())[RESULT]
        dtype = STRING if array.dtype.kind in "OUS" else str(array.dtype)
        return TensorSpec(RESULT, ("N", *array.shape[1:]), dtype)


class EstimatorPredictor(TablePredictor):
    """An object with ``predict``."""

    def __init__(self, model: Any, path: Path, threads: int) -> None:
        self.model = model
        features = features_of(model)
        # Only what was fitted on a data frame wants one, and warns where it gets none.
        self._names = features.names if _ask(model, "feature_names_in_") is not None else None
        self.backend = type(model).__name__
        _limit_jobs(model, threads)
        if self._names and not has_pandas():
            log.warning("%s was fitted on a data frame, and pandas is not installed", path.name)
        super().__init__(path, features, threads)

    def predict(self, table: Any) -> Any:
        if self._names is not None:
            table = framed(table, self._names)
        return self.model.predict(table)

    def close(self) -> None:
        del self.model


def features_of(model: Any) -> Features:
    """What a model says about its columns: scikit-learn's attributes, then those of LightGBM."""
    names = _first(model, "feature_names_in_", "feature_name", "feature_names_")
    count = _first(model, "n_features_in_", "num_feature", "n_features_")
    if count is None and (weights := _ask(model, "coef_")) is not None:  # before 0.24
        count = np.shape(weights)[-1]
    return Features(
        tuple(map(str, names)) if names is not None else None,
        int(count) if count is not None else None,
        _is_text(model),
    )


def _is_text(model: Any) -> bool:
    """Whether the first step is a vectorizer of scikit-learn, which takes texts and no rows."""
    model = _first(model, "best_estimator_") or model
    steps = _ask(model, "steps")
    return hasattr(steps[0][1] if steps else model, "build_analyzer")


def _first(model: Any, *names: str) -> Any:
    return next((value for name in names if (value := _ask(model, name)) is not None), None)


def _ask(model: Any, name: str) -> Any:
    with contextlib.suppress(Exception):  # properties of a model of another version
        value = getattr(model, name, None)
        return value() if callable(value) else value
    return None


def _limit_jobs(model: Any, threads: int) -> None:
    """Let a model that was fitted with ``n_jobs=-1`` use the threads it has here."""
    parameters: Mapping[str, Any] = _ask(model, "get_params") or {}
    jobs = {
        name: threads
        for name, value in parameters.items()
        if name.rpartition("__")[2] == "n_jobs" and value not in (None, 1)
    }
    set_params: Callable[..., Any] | None = getattr(model, "set_params", None)
    if jobs and set_params is not None:
        with contextlib.suppress(Exception):
            set_params(**jobs)


def limit_threads(threads: int) -> None:
    """Threads of OpenMP, which keeps their number per thread, and of the BLAS."""
    if getattr(_thread, "limit", None) != threads:
        threadpool_limits(limits=threads)
        _thread.limit = threads
