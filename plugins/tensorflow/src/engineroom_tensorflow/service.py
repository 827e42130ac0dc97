"""The parent class of TensorFlow services."""

from __future__ import annotations

from typing import Any

from engineroom.service import Service


class TfServingBaseService(Service):
    """What ``model_service.tfserving_model_service`` holds.

    The default ``_inference`` takes ``{input name: array or nested list}`` and returns ``{output
    name: nested list}``: lists and not arrays, because scripts call ``.index()`` on them.
    """

    def _inference(self, data: Any) -> Any:
        return {name: array.tolist() for name, array in super()._inference(data).items()}
