"""Devices, and what PyTorch keeps for each thread."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, cast

import torch

from engineroom.values import CPU, SINGLE, Device

_thread = threading.local()


def devices(torch: Any) -> tuple[Device, ...]:
    """What PyTorch sees now, best first.

    Rests on ``torch.cuda.device_count()``, on ``torch.npu.device_count()``, which is there once
    torch_npu has been imported (torch does that by itself), and on
    ``torch.backends.mps.is_available()``. None of them takes memory of a device.
    """
    found = [Device("cuda", index) for index in range(torch.cuda.device_count())]
    if hasattr(torch, "npu"):
        found += [Device("npu", index) for index in range(torch.npu.device_count())]
    if torch.backends.mps.is_available():
        found.append(Device("mps"))
    return (*found, CPU)


def torch_device(device: Device) -> torch.device:
    """``device`` as PyTorch writes it, whatever the user calls it."""
    if device == CPU:
        return torch.device("cpu")
    return torch.device(device.kind, 0 if device.kind in SINGLE else device.index)


def executor(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """How this thread runs TorchScript inside the block; other modules do not notice.

    The optimising executor takes tens of milliseconds in its first two runs, and again for new
    shapes. Where it fuses, on a graphics card, that pays; on the CPU it gains nothing.
    """
    optimized: Any = vars(torch.jit)["optimized_execution"]  # public, though the types lack it
    return cast("contextlib.AbstractContextManager[None]", optimized(device.type != "cpu"))


def prepare_thread(device: torch.device, threads: int) -> None:
    """Set what a thread that predicts has of its own: the thread count, and the current NPU."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if device.type == "npu" and getattr(_thread, "npu", None) != device.index:
        # Elsewhere a tensor's device is enough; CANN needs a context in every thread.
        getattr(torch, "npu").set_device(device.index)  # noqa: B009
        _thread.npu = device.index
