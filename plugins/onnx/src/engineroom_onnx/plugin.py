"""Declares the engine. Imports no framework."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engineroom.engine import Engine, Predictor
from engineroom.hookspecs import hookimpl
from engineroom.values import Device


class OnnxEngine(Engine):
    """``.onnx`` files on ONNX Runtime."""

    name = "onnx"
    parent = "model_service.onnx_model_service.OnnxServingBaseService"
    model_types = ("ONNX", "ONNXRuntime")
    model_files = ("*.onnx",)
    # Only one of these can be installed, since all of them own the package `onnxruntime`.
    batches = True
    frameworks = (
        "onnxruntime>=1.17",
        "onnxruntime-gpu>=1.17",
        "onnxruntime-openvino>=1.17",
        "onnxruntime-cann>=1.17",
    )

    def load(self, path: Path, device: Device, threads: int) -> Predictor:
        from engineroom_onnx.loader import OnnxPredictor

        return OnnxPredictor(path, device, threads)

    def devices(self) -> tuple[Device, ...]:
        from engineroom_onnx.device import devices

        return devices()


@hookimpl
def register_engine(register: Callable[[Engine], None]) -> None:
    register(OnnxEngine())
