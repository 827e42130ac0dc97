"""Loads an ``.onnx`` file and runs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    RuntimeException,
)

from engineroom.engine import Predictor
from engineroom.errors import DeviceError, InvalidTensorError, ModelFileError
from engineroom.values import STRING, Array, Device, TensorSpec
from engineroom_onnx.device import CPU_PROVIDER, provider, with_options

# Source: the type strings of NodeArg, https://onnxruntime.ai/docs/api/python/api_summary.html
DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    "string": STRING, "complex64": "complex64", "complex128": "complex128",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


class OnnxPredictor(Predictor):
    """An ONNX Runtime session. Safe to call from several threads at once."""

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the core that the HTTP loop needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The runtime would print each failed run to the log, beside the error that it raises.
        options.log_severity_level = 4
        wanted = provider(device, ort.get_available_providers())
        try:
            self.session = ort.InferenceSession(
                str(path), options, providers=with_options(wanted, device)
            )
        except Exception as error:  # the runtime's exceptions have no common base but this
            raise ModelFileError(
                f"{path}: not a model that ONNX Runtime can load: {error}"
            ) from error
        if self.session.get_providers()[0] != wanted:
            # The runtime only prints why, and goes on with the CPU.
            raise DeviceError(
                f"{path.name}: {wanted} could not be started for device {device}; ONNX Runtime has "
                "printed the reason. Use --device cpu to run it there"
            )
        self.device = device
        self.backend = "" if wanted == CPU_PROVIDER else wanted
        self.inputs = tuple(_input(node, path) for node in self.session.get_inputs())
        self.outputs = tuple(_output(node) for node in self.session.get_outputs())
        self._names = [spec.name for spec in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        try:
            values: Sequence[Any] = self.session.run(self._names, feeds)
        except InvalidArgument as error:
            # A value out of range, such as an index beyond an embedding.
            raise InvalidTensorError(f"ONNX Runtime refuses the input: {error}") from error
        except (Fail, RuntimeException) as error:
            # The declared shape left a size open which the layers inside do not.
            if not self.has_open_sizes or re.search("alloc|memory|CUDA", str(error)):
                raise
            raise self.refusal(feeds, error) from error
        return dict(zip(self._names, values, strict=True))


def _input(node: Any, path: Path) -> TensorSpec:
    """A ``NodeArg`` such as ``images, tensor(float), ['N', 784]``."""
    kind = _kind(node)
    if kind not in DTYPES:
        raise ModelFileError(f"{path}: input {node.name!r} is a {node.type}, which cannot be fed")
    return TensorSpec(node.name, _shape(node), DTYPES[kind])


def _output(node: Any) -> TensorSpec:
    # Sequences and maps, as scikit-learn's classifiers put out, have no shape.
    kind = _kind(node)
    return TensorSpec(node.name, _shape(node) if kind in DTYPES else None, DTYPES.get(kind, kind))


def _kind(node: Any) -> str:
    kind = str(node.type)
    return kind[len("tensor(") : -1] if kind.startswith("tensor(") else kind


def _shape(node: Any) -> tuple[int | str | None, ...] | None:
    # An empty shape is a scalar's, or that of a value whose rank nobody has declared.
    return tuple(size or None for size in node.shape) or None
