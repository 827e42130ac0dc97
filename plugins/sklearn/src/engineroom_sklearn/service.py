"""The parent class of scikit-learn and XGBoost services. Imports neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineroom.decoding import parse_json
from engineroom.service import Service
from engineroom_sklearn.bodies import rows_of
from engineroom_sklearn.tables import RESULT, UNKNOWN, Features


class XgSklServingBaseService(Service):
    """What ``model_service.python_model_service`` holds.

    A service is made with the path of its model file alone, and its first step gets the text of the
    request's body.
    """

    def _preprocess(self, data: Any) -> Any:
        """From JSON text to rows, each a list of values: those of ``data.req_data``.

        Raises:
            InvalidBodyError: not JSON.
            InvalidTensorError: JSON without rows in it.
        """
        value = parse_json(data) if isinstance(data, str) else data
        return rows_of(value, self._features())

    def _features(self) -> Features:
        """What the model file says about its columns, where this class runs it."""
        predictor = getattr(self._engineroom, "predictor", None)
        features: Features = getattr(predictor, "features", UNKNOWN)
        return features

    def _inference(self, data: Any) -> Any:
        """From rows, as lists or as an array, to a list with one prediction for each."""
        return super()._inference(data)[RESULT].tolist()

    def _postprocess(self, data: Any) -> Any:
        """``[{"predictresult": …}, …]``."""
        if isinstance(data, str | Mapping) or not hasattr(data, "__iter__"):
            raise TypeError(
                f"the default _postprocess takes a list of predictions, got {type(data).__name__}; "
                "return a list from _inference, or override _postprocess"
            )
        return [{RESULT: prediction} for prediction in data]
