"""Devices, and the execution provider that stands for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import onnxruntime as ort

from engineroom.devices import machine_devices, visible_devices
from engineroom.values import CPU, Device

CPU_PROVIDER = "CPUExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
# What runs a device, best first; a build of ONNX Runtime has one or two of them. Source: the pages
# of the providers, https://onnxruntime.ai/docs/execution-providers/
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider",),
    "npu": ("CANNExecutionProvider", OPENVINO),
    "mps": ("CoreMLExecutionProvider",),
    "cpu": (OPENVINO, CPU_PROVIDER),
}


def devices() -> tuple[Device, ...]:
    """What :func:`listed` makes of this build and this machine.

    Rests on ``get_available_providers``, which lists what was compiled in and not what works, so
    cards are counted by their drivers' files. That one works is known when a session runs on it.
    """
    counts = {kind: len(_visible(kind)) for kind in ("cuda", "npu")}
    return listed(ort.get_available_providers(), counts, _openvino_devices())


def listed(
    available: Sequence[str], counts: dict[str, int], openvino: Sequence[str]
) -> tuple[Device, ...]:
    """The devices of a build with the providers ``available``, best first.

    ``counts`` are the cards of each kind that the process sees, ``openvino`` OpenVINO's devices.
    """
    found: list[Device] = []
    if "CUDAExecutionProvider" in available:
        found += [Device("cuda", index) for index in range(counts["cuda"])]
    if "CANNExecutionProvider" in available:
        found += [Device("npu", index) for index in range(counts["npu"])]
    elif "NPU" in openvino:
        found.append(Device("npu"))
    if "CoreMLExecutionProvider" in available:
        found.append(Device("mps"))
    return (*found, CPU)


def provider(device: Device, available: Sequence[str]) -> str:
    """The name of the provider that runs ``device``."""
    names = PROVIDERS[device.kind]
    return next((name for name in names if name in available), names[-1])


def with_options(name: str, device: Device) -> list[Any]:
    """The ``providers`` argument of a session: ``name`` first, the CPU for what it cannot run."""
    if name == CPU_PROVIDER:
        return [CPU_PROVIDER]
    options: dict[str, Any] = {}
    if name == OPENVINO:
        options["device_type"] = device.kind.upper()
    elif device.kind != "mps":
        options["device_id"] = device.index
    return [(name, options), CPU_PROVIDER]


def _visible(kind: str) -> list[str]:
    return visible_devices(kind, os.environ, machine_devices(kind))


def _openvino_devices() -> list[str]:
    # Only in builds with OpenVINO, and under a private name.
    ask = getattr(ort.capi._pybind_state, "get_available_openvino_device_ids", list)
    found: list[str] = ask()
    return found
