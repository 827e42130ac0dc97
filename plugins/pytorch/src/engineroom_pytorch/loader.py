"""Loads a file that holds a whole network, and runs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from engineroom.engine import Predictor
from engineroom.errors import DeviceError, InvalidTensorError
from engineroom.values import CPU, Array, Device
from engineroom_pytorch.device import executor, prepare_thread, torch_device
from engineroom_pytorch.files import kind_of
from engineroom_pytorch.values import as_array, as_tensor, named

OURS = re.compile("alloc|memory|CUDA|HIP|NPU|MPS")
"""Found in errors of the machine, which no other input would avoid."""
REFUSALS = (RuntimeError, AssertionError, IndexError, ValueError, TypeError)
"""What layers and the guards of exported programs raise on an input they cannot take."""


def load(path: Path, device: Device, threads: int) -> Predictor:
    """The network in ``path`` on ``device``.

    Raises:
        ModelFileError: the file holds no network, or cannot be read.
        DeviceError: the device could not be used.
    """
    if kind_of(path) == "torchscript":
        from engineroom_pytorch.torchscript import TorchScriptPredictor

        return TorchScriptPredictor(path, device, threads)
    from engineroom_pytorch.exported import ExportedPredictor

    return ExportedPredictor(path, device, threads)


class TorchPredictor(Predictor):
    """A network called with one tensor per declared input. Safe to call from several threads."""

    call: Callable[..., Any]
    dtypes: Sequence[torch.dtype]
    """Of the tensors, in the order of ``inputs``; numpy lacks some."""

    def __init__(self, device: Device, threads: int) -> None:
        self.device, self.threads = device, threads
        self.place = torch_device(device)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        prepare_thread(self.place, self.threads)
        try:
            with torch.inference_mode(), executor(self.place):
                tensors = [
                    as_tensor(feeds[spec.name]).to(self.place, dtype)
                    for spec, dtype in zip(self.inputs, self.dtypes, strict=True)
                ]
                return {name: as_array(value) for name, value in named(self.call(*tensors))}
        except REFUSALS as error:
            refusal = self._refusal(error, feeds)
            if refusal is None:
                raise
            raise refusal from error

    def _refusal(self, error: Exception, feeds: Mapping[str, Array]) -> InvalidTensorError | None:
        """The client's error for an input that the layers cannot take; None: it is ours."""
        reason = reason_of(error)
        # Where every size is declared only a value can be wrong: an index beyond an embedding.
        is_fixed = not self.has_open_sizes and type(error) is not IndexError
        if is_fixed or isinstance(error, torch.OutOfMemoryError) or OURS.search(reason):
            return None
        return self.refusal(feeds, reason)

    def warm_up(self) -> None:
        """Run on the example that the file came with, else on zeros where shapes are declared."""
        if self.example is not None or all(spec.shape is not None for spec in self.inputs):
            for _ in range(3):  # PyTorch is at its speed from the third run on
                super().warm_up()

    def close(self) -> None:
        del self.call
        if self.device != CPU:
            getattr(torch, self.device.kind).empty_cache()


def move(move_there: Callable[[], Any], device: Device, name: str) -> Any:
    """What ``move_there()`` returns.

    Raises:
        DeviceError: it could not be done.
    """
    try:
        return move_there()
    except Exception as error:  # an AssertionError where PyTorch was built without the device
        raise DeviceError(
            f"{name}: the device {device} cannot be used: {reason_of(error)}; --device cpu runs it "
            "on the CPU"
        ) from error


def reason_of(error: Exception) -> str:
    """The line of a message that says what is wrong; TorchScript puts a traceback before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    marked = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return (marked or lines[:1])[-1]
