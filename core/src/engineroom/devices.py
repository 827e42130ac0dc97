"""Where a process runs its models: the device setting, what a process sees of it, workers' places.

A process of its own hides every device but its own from the frameworks before any of them is
imported, so that a script which says ``cuda:0`` gets the card that the server was given.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engineroom.errors import DeviceError, SettingError
from engineroom.settings import Settings
from engineroom.values import CPU, Device, choose_device, parse_device

VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}
"""Read by the CUDA driver and by CANN at their start; both number what is left from 0."""
FILES = {"cuda": "nvidia", "npu": "davinci"}
VIRTUAL = ("dxg", "nvgpu", "nvhost-gpu", "nvhost-ctrl", "kfd")
"""Device files of machines (WSL, Jetson, AMD) that may have a card without a file of its own."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A device as this process has to ask for it, and as the user calls it."""

    wanted: str = "auto"
    shown: str = ""
    is_sure: bool = True
    """False while nobody has looked whether the device is there."""

    def choose(self, there: Sequence[Device]) -> list[Device]:
        """The devices to try in this order: one, unless any will do.

        Raises:
            DeviceError: not a device name, or not one of ``there``.
        """
        if self.wanted == "auto" and there:
            return list(there)
        device = choose_device(self.wanted, there)
        return [dataclasses.replace(device, name=self.shown)]


def machine_devices(kind: str, dev: Path = Path("/dev")) -> int | None:
    """How many devices of ``kind`` the machine has, by their files; None where files do not tell.

    No library is loaded for it: ``/dev/nvidia0`` and ``/dev/davinci0`` are the drivers' own.
    """
    if not sys.platform.startswith("linux") or any((dev / name).exists() for name in VIRTUAL):
        return None
    stem = FILES[kind]
    return sum(1 for path in dev.glob(f"{stem}[0-9]*") if path.name[len(stem) :].isdigit())


def visible_devices(kind: str, environ: Mapping[str, str], count: int | None) -> list[str]:
    """How the driver names the devices of ``kind`` that a process with ``environ`` sees, in order.

    ``count`` is how many the machine has; if nobody knows, one is assumed.
    """
    listed = environ.get(VISIBLE[kind])
    if listed is None or count == 0:
        return [str(index) for index in range(1 if count is None else count)]
    # The driver reads no further than the first that it cannot use.
    return list(itertools.takewhile(lambda part: part not in ("", "-1"), _parts(listed)))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def narrowed(
    device: str, environ: Mapping[str, str], count: int | None
) -> tuple[Place, dict[str, str]]:
    """The place of a process that sees only ``device``, and the variables that make it so.

    ``count`` is how many devices of its kind the machine has, None if nobody knows.

    Raises:
        DeviceError: not a device name, or not there.
    """
    kind, index = parse_device(device)
    if kind == "cpu":
        return Place("cpu"), dict.fromkeys(VISIBLE.values(), "")
    if kind not in VISIBLE:
        return Place(device, is_sure=kind == "auto"), {}
    variable, index = VISIBLE[kind], index or 0
    if count is None and variable not in environ:  # the engine will tell whether it is there
        return Place(f"{kind}:0", f"{kind}:{index}", is_sure=False), {variable: str(index)}
    seen = visible_devices(kind, environ, count)
    if index >= len(seen):
        names = ", ".join([*(f"{kind}:{i}" for i in range(len(seen))), str(CPU)])
        listed = (
            f"{variable}={environ[variable]} leaves"
            if count and variable in environ
            else "here are"
        )
        raise DeviceError(f"device {device!r} is not there; {listed}: {names}")
    return Place(f"{kind}:0", f"{kind}:{index}"), {variable: seen[index]}


def listed_devices(settings: Settings) -> list[str]:
    """The devices of the setting, one for each worker in turn.

    Raises:
        SettingError: not device names, or more of them than workers.
    """
    devices = _parts(settings.device.lower())
    try:
        for name in devices:
            parse_device(name)
    except DeviceError as error:
        raise SettingError(str(error)) from None
    if len(devices) > settings.workers:
        raise SettingError(
            f"device {settings.device!r} names {len(devices)} devices and there is "
            f"{settings.workers} worker for them; use --workers {len(devices)}, or name fewer"
        )
    return devices


def settle(settings: Settings, worker: int = 0) -> Place:
    """Give this process its device: narrow what frameworks see. Call it before any is imported.

    ``worker`` is its number among the workers of one server.

    Raises:
        DeviceError: the device is not there.
        SettingError: not a device name.
    """
    devices = listed_devices(settings)
    device = devices[worker % len(devices)]
    kind, _ = parse_device(device)
    place, variables = narrowed(
        device, os.environ, machine_devices(kind) if kind in FILES else None
    )
    os.environ.update(variables)
    return place


def unsettled(settings: Settings) -> Place:
    """The place of a model in a process that is not its own: nothing is hidden there."""
    wanted = settings.device.strip().lower()
    return Place(wanted, is_sure=wanted in ("auto", "cpu"))


def engine_threads(settings: Settings) -> int:
    """Threads for one prediction: the setting, the user's variable, or this worker's cores."""
    if settings.engine_threads:
        return settings.engine_threads
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    # The cores this process may use; not every platform can tell them from those of the machine.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // settings.workers)
