"""The parent class of Spark services. Starts Spark when it is first used."""

from __future__ import annotations

import functools
import os
from typing import Any

from engineroom.engine import LazyPredictor
from engineroom.service import Service


class SparkServingBaseService(Service):
    """What ``model_service.spark_model_service`` holds.

    The default ``_preprocess`` makes a DataFrame of the rows in the body, the default
    ``_inference`` runs the saved model on it, and the default ``_postprocess`` lists what the model
    has added, one object per row. The contract leaves all three open; these are ours.
    """

    @functools.cached_property
    def spark(self) -> Any:
        """The SparkSession of this process, started by whoever needs it first."""
        from engineroom_spark import session

        threads = getattr(self._engineroom, "threads", None) or os.cpu_count() or 1
        return session.shared(self, threads)

    def _preprocess(self, data: Any) -> Any:
        """From the body's text, or the same parsed, to a DataFrame."""
        from engineroom_spark.frames import frame, rows

        return frame(self.spark, rows(data, self._columns), self._columns)

    def _inference(self, data: Any) -> Any:
        """From a DataFrame, or a list of rows, to the model's DataFrame, not yet computed."""
        lazy: Any = self._engineroom
        if lazy is None:
            return super()._inference(data)
        if not hasattr(data, "schema"):
            data = SparkServingBaseService._preprocess(self, data)
        return lazy.load().transform(data)

    def _postprocess(self, data: Any) -> Any:
        """From the model's DataFrame to a list with an object for each row."""
        if not hasattr(data, "schema"):
            return data
        from engineroom_spark.frames import listed

        predictor = self._predictor
        return listed(data, predictor.results if predictor else data.columns)

    @property
    def _predictor(self) -> Any:
        lazy = self._engineroom
        return lazy.predictor if isinstance(lazy, LazyPredictor) else None

    @property
    def _columns(self) -> Any:
        predictor = self._predictor
        return predictor.columns if predictor else ()
