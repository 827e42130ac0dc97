"""What ``torch.load`` and ``torch.jit.load`` do differently for a script."""

from __future__ import annotations

import functools
import logging
import pickle
import weakref
from types import ModuleType
from typing import Any, TypeAlias

from engineroom.lending import Stage
from engineroom_pytorch.device import devices
from engineroom_pytorch.files import is_torchscript

log = logging.getLogger("engineroom")
Stages: TypeAlias = "list[weakref.ref[Stage]]"
KINDS = ("cuda", "npu", "mps")


def adapt(torch: ModuleType, stage: Stage) -> None:
    """Let the loading functions of ``torch`` know the script of ``stage``.

    There is one wrapper for all the scripts of a process, and it does nothing for other callers.
    """
    stages: Stages | None = getattr(torch.load, "engineroom_stages", None)
    if stages is None:
        stages = _adapt(torch)
    # Newest first: a package that is loaded again, with another setting, means that one.
    stages[:] = [weakref.ref(stage), *(known for known in stages if known() is not None)]


def _adapt(torch: Any) -> Stages:
    stages: Stages = []
    original, original_jit = torch.load, torch.jit.load

    @functools.wraps(original)
    def load(f: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
        for known in stages:
            stage = known()
            if stage is not None and stage.asks():
                break
        else:
            return original(f, map_location, *args, **options)
        if "weights_only" not in options and is_torchscript(f):
            return original_jit(f, _jit_location(torch, map_location, stage))
        if stage.settings.allow_pickle:
            options.setdefault("weights_only", False)
        map_location = _location(torch, map_location, stage)
        try:
            return original(f, map_location, *args, **options)
        except pickle.UnpicklingError as error:
            if "weights_only" in options or "Unsupported" not in str(error):
                raise
            raise pickle.UnpicklingError(_advice(f, error)) from error

    @functools.wraps(original_jit)
    def load_jit(f: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
        for known in stages:
            stage = known()
            if stage is not None and stage.asks():
                map_location = _jit_location(torch, map_location, stage)
                break
        return original_jit(f, map_location, *args, **options)

    torch.load, torch.jit.load = load, load_jit
    load.engineroom_stages = stages  # type: ignore[attr-defined]
    return stages


def _advice(file: Any, error: Exception) -> str:
    name = file if isinstance(file, str) else getattr(file, "name", type(file).__name__)
    line = next(line for line in str(error).splitlines() if "Unsupported" in line)
    reason = line.strip().partition(" Please use")[0]
    return (
        f"{name} holds more than weights, and reading the rest would run code that is in it "
        f"({reason}). Save the state_dict() of the network instead; or, if you trust this file, "
        "allow it with --allow-pickle or ENGINEROOM_ALLOW_PICKLE=1"
    )


def _location(torch: Any, wanted: Any, stage: Stage) -> Any:
    """The map_location for a checkpoint of a script that gives ``wanted``."""
    if wanted is None:
        return functools.partial(_restored, torch)
    return _there(torch, wanted, stage)


def _jit_location(torch: Any, wanted: Any, stage: Stage) -> Any:
    """Likewise for TorchScript, where it can only be one device for all of the file."""
    if wanted is None:
        return None if devices(torch)[0].kind == "cuda" else torch.device("cpu")
    return _there(torch, wanted, stage)


def _restored(torch: Any, storage: Any, location: str) -> Any:
    """``storage``, on the device it was saved from or the nearest thing to it that is there."""
    kind, _, index = location.partition(":")
    if kind in KINDS:
        there = [device.index for device in devices(torch) if device.kind == kind]
        if not there:
            return storage  # which is on the CPU
        if int(index or 0) not in there:
            location = f"{kind}:0"
    return torch.serialization.default_restore_location(storage, location)


def _there(torch: Any, wanted: Any, stage: Stage) -> Any:
    """``wanted``, unless it names an accelerator that is not there and the CPU will do."""
    if not isinstance(wanted, str | torch.device) or stage.device not in ("auto", "cpu"):
        return wanted
    kind = str(wanted).partition(":")[0]
    if kind not in KINDS or any(device.kind == kind for device in devices(torch)):
        return wanted
    log.warning("the script wants its checkpoint on %s, which is not there: on the CPU", wanted)
    return torch.device("cpu")
