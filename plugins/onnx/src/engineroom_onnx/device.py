"""Devices, and the execution provider that stands for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from engineroom.values import CPU, Device

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


def devices() -> tuple[Device, ...]:
    """CUDA devices first, where the installed build has CUDA and the machine has cards.

    ``get_available_providers`` lists what was compiled in and not what works, so the cards are
    counted by their device files. That one works is known when a session has been made on it.
    """
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        return (CPU,)
    cards = sum(1 for file in Path("/dev").glob("nvidia[0-9]*") if file.name[6:].isdigit())
    return (*(Device("cuda", index) for index in range(cards)), CPU)


def providers(device: Device) -> list[Any]:
    """The ``providers`` argument of a session on ``device``."""
    if device == CPU:
        return [PROVIDERS["cpu"]]
    return [(PROVIDERS[device.kind], {"device_id": device.index}), PROVIDERS["cpu"]]
