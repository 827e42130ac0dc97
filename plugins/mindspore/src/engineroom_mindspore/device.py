"""Devices, the one that a process runs on, and what becomes of a script's own choice.

MindSpore runs on one device per process, chosen before its first operation. Its names for them are
"targets", and its functions come in as ``ms``, the module, so that tests can bring a machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from engineroom.errors import DeviceError
from engineroom.lending import Stage, asking
from engineroom.values import CPU, Device, choose_device, parse_device

TARGETS = {"npu": "Ascend", "cuda": "GPU", "cpu": "CPU"}
KINDS = {"Ascend": "npu", "Davinci": "npu", "GPU": "cuda", "CPU": "cpu"}

# What we know of the process is kept in the module, because it is the module's state.
PLACED = "_engineroom_device"


@dataclasses.dataclass(frozen=True)
class Choice:
    """The device that a script gets, and what the log says where it asked for another."""

    device: Device
    warning: str = ""


@functools.cache  # settled by the import of MindSpore; and it warns of what is not there
def devices(ms: Any) -> tuple[Device, ...]:
    """Ascend first, then GPU, then the CPU.

    Rests on ``is_available`` and ``device_count`` of ``device_context.ascend`` and ``.gpu``, which
    tell whether MindSpore's library for them could be loaded and not whether a chip is healthy.
    """
    found: list[Device] = []
    for kind, context in (("npu", ms.device_context.ascend), ("cuda", ms.device_context.gpu)):
        if context.is_available():
            found += [Device(kind, index) for index in range(context.device_count())]
    return (*found, CPU)


def select(
    setting: str, there: Sequence[Device], target: str | None, device_id: int | None
) -> Choice:
    """The device for a script that asks for ``target`` and ``device_id`` (None: says nothing).

    ``setting`` is the server's ``--device``, ``there`` what :func:`devices` reports.

    Raises:
        DeviceError: the server's device is not there.
    """
    device, kind = choose_device(setting, there), KINDS.get(target or "")
    is_open = parse_device(setting)[0] == "auto"
    if is_open:
        device = next((other for other in there if other.kind == kind), device)
    if kind not in (None, device.kind):
        why = "which is not there" if is_open else f"and the server has --device {setting}"
        gets = TARGETS[device.kind]
        return Choice(
            device, f'the script asks for device_target="{target}", {why}; it gets {gets}'
        )
    if device.kind != "cpu" and device_id not in (None, device.index):
        return Choice(
            device, f"the script asks for device_id={device_id}; it gets {device}, the server's"
        )
    return Choice(device)


def place(ms: Any, device: Device) -> None:
    """Make ``device`` the one of this process.

    Raises:
        DeviceError: the process has another one already, or MindSpore cannot use this one.
    """
    placed = vars(ms).get(PLACED)
    if placed is None:
        wanted = TARGETS[device.kind], device.index
        try:
            ms.set_device(*wanted)
        except RuntimeError as error:
            # It also refuses once the runtime has started, be it with this very device.
            if tuple(ms.get_current_device()) != wanted:
                raise DeviceError(
                    f"MindSpore cannot use {device}: {str(error).strip().splitlines()[0]}"
                ) from error
        setattr(ms, PLACED, device)
    elif placed != device:
        raise DeviceError(
            f"MindSpore runs on one device per process, which is {placed} here; serve the model "
            f"that needs {device} in a process of its own"
        )


def limit_threads(ms: Any, threads: int) -> None:
    """Use ``threads`` threads for an operation on the CPU; the first to say so decides."""
    with contextlib.suppress(RuntimeError):  # it cannot be set twice
        ms.device_context.cpu.op_tuning.threads_num(threads)


def adapt(ms: Any, stage: Stage) -> None:
    """Give the script of ``stage`` the server's device, whatever it asks MindSpore for.

    Raises:
        DeviceError: a device other than ``auto`` that is not there.
    """
    if stage.settings.engine_threads:
        limit_threads(ms, stage.settings.engine_threads)
    # A script under another engine's parent class may have a device that MindSpore lacks.
    if parse_device(stage.device)[0] != "auto" and stage.engine in ("", "mindspore"):
        place(ms, choose_device(stage.device, devices(ms)))
    _wrap(ms)


@functools.cache
def meet_numpy(ms: Any) -> None:
    """Let MindSpore run its first operation, which fails beside numpy 2; the later ones do not.

    Seen with MindSpore 2.10 in PyNative mode: parts of it were compiled for numpy 1. Not where
    there is more than the CPU, since an operation settles the device.
    """
    if devices(ms) == (CPU,) and int(np.__version__.partition(".")[0]) >= 2:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemError):
            ms.Tensor([1.0]) + 1


@functools.cache  # once, for all scripts of the process
def _wrap(ms: Any) -> None:
    set_context, set_device = ms.set_context, ms.set_device

    @functools.wraps(set_context)
    def set_context_here(**settings: Any) -> None:
        stage = asking()
        if stage is not None and settings.get("device_target", "CPU") in KINDS:
            target = settings.pop("device_target", None)
            device_id = settings.pop("device_id", None)
            if (target, device_id) != (None, None):
                _follow(ms, stage, target, device_id)
        set_context(**settings)

    @functools.wraps(set_device)
    def set_device_here(device_target: Any, device_id: Any = None) -> None:
        stage = asking()
        if stage is not None and device_target in KINDS:
            _follow(ms, stage, device_target, device_id)
        else:
            set_device(device_target, device_id)

    ms.set_context = ms.context.set_context = set_context_here
    ms.set_device = ms.device_manager.set_device = set_device_here


def _follow(ms: Any, stage: Stage, target: str | None, device_id: int | None) -> None:
    choice = select(stage.device, devices(ms), target, device_id)
    if choice.warning:
        stage.warn(choice.warning)
    place(ms, choice.device)
