"""Runs the ``nn.Module`` of a script on the device that the server was given."""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from engineroom.errors import DeviceError, InvalidTensorError
from engineroom_pytorch.device import executor, prepare_thread, torch_device
from engineroom_pytorch.loader import OURS, move, reason_of
from engineroom_pytorch.values import as_tensor, changed

log = logging.getLogger("engineroom")
_moving = threading.Lock()
_homes: weakref.WeakKeyDictionary[nn.Module, torch.device] = weakref.WeakKeyDictionary()
"""Where scripts had the modules that have been moved."""

DEPENDS_ON_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


class RunningModule:
    """A module, moved once. What it returns lies where the script had put the module.

    So a script that was written for the CPU, and turns its results into numpy arrays, works on a
    graphics card as it is.
    """

    def __init__(self, module: nn.Module, behind: Any) -> None:
        """``behind`` is the engine's side of the service; None outside Engineroom."""
        self.module = module
        self.threads: int | None = behind.threads if behind is not None else None
        if behind is not None:
            with _moving:
                self._move(behind)
        self.home = _homes.get(module)
        kinds = (nn.Embedding, nn.EmbeddingBag)
        self._indexes = any(isinstance(part, kinds) for part in module.modules())
        if any(part.training and isinstance(part, DEPENDS_ON_MODE) for part in module.modules()):
            log.warning(
                "self.model is in training mode, so dropout and batch statistics depend on chance "
                "and on the batch; call self.model.eval() in the script"
            )

    def _move(self, behind: Any) -> None:
        tensors = itertools.chain(self.module.parameters(), self.module.buffers())
        devices = {tensor.device for tensor in tensors}
        if len(devices) != 1:  # without weights, or spread over devices by the script itself
            return
        (home,) = devices
        chosen, any_will_do = behind.chosen_device(), behind.place.wanted == "auto"
        place = torch_device(chosen)
        if home == place or self.module in _homes or (any_will_do and home.type != "cpu"):
            return
        try:
            move(lambda: self.module.to(place), chosen, "self.model")
        except DeviceError as error:
            self.module.to(home)  # some of it may have arrived
            if not any_will_do:
                raise
            log.warning("%s; it stays on %s, since no device was asked for", error, home)
        else:
            _homes[self.module] = home

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        weight = next(itertools.chain(self.module.parameters(), self.module.buffers()), None)
        place = weight.device if weight is not None else torch.device("cpu")
        if self.threads is not None:
            prepare_thread(place, self.threads)

        def prepared(value: Any) -> Any:
            if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
                # numpy's own floats have twice the digits; numbers of a JSON text may lack a point.
                casts = value.dtype.kind == "f" or (value.dtype.kind in "iu" and not self._indexes)
                value = as_tensor(value)
                if casts and weight is not None and weight.is_floating_point():
                    value = value.to(weight.dtype)
            return value.to(place) if isinstance(value, torch.Tensor) else value

        results = {}
        with torch.inference_mode(), executor(place):
            for key, value in data.items():
                try:
                    results[key] = self.module(changed(value, prepared))
                except (RuntimeError, IndexError) as error:
                    refusal = refusal_of(error, key, value)
                    if refusal is None:
                        raise
                    raise refusal from error
        return {key: changed(value, self._handed_over) for key, value in results.items()}

    def _handed_over(self, value: Any) -> Any:
        """A result where the script expects it, and as a tensor that it may change in place."""
        if not isinstance(value, torch.Tensor):
            return value
        value = value.to(self.home) if self.home is not None else value
        return value.clone() if value.is_inference() else value


def refusal_of(error: Exception, key: str, value: Any) -> InvalidTensorError | None:
    """The client's error for a value that the layers cannot take; None: it is ours."""
    reason = reason_of(error)
    if isinstance(error, torch.OutOfMemoryError) or OURS.search(reason):
        return None
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", type(value).__name__)
    got = f"{tuple(shape)} {dtype}" if shape is not None else str(dtype)
    return InvalidTensorError(
        f'self.model cannot run on "{key}", {got}: {reason}', input=key, got=got
    )
