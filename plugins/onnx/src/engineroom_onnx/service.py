"""The parent class of ONNX services."""

from __future__ import annotations

from engineroom.service import Service


class OnnxServingBaseService(Service):
    """What ``model_service.onnx_model_service`` holds.

    The default ``_inference`` takes ``{input name: array or nested list}`` and returns ``{output
    name: numpy array}``, with the shapes and dtypes that the model file declares.
    """
