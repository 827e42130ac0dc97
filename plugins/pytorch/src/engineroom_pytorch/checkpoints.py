"""What ``torch.load`` and ``torch.jit.load`` do differently for a script."""

from __future__ import annotations

import functools
import logging
import os
import pickle
import re
from typing import Any

from engineroom.lending import Stage, asking
from engineroom_pytorch.device import devices
from engineroom_pytorch.files import is_torchscript

log = logging.getLogger("engineroom")
KINDS = ("cuda", "npu", "mps")

# What a network that was pickled whole lacks, with the value by which it did what it always did:
# PyTorch 1.9 to 1.12. What else there is of that kind, layers do by themselves.
LATER: dict[str, dict[str, Any]] = {
    "GELU": {"approximate": "none"},
    "MultiheadAttention": {"batch_first": False},
    "TransformerEncoderLayer": {"norm_first": False, "activation_relu_or_gelu": 0},
    "TransformerDecoderLayer": {"norm_first": False},
    "TransformerEncoder": {"enable_nested_tensor": False, "mask_check": False},
}


def adapt(torch: Any) -> None:
    """Let the loading functions of ``torch`` heed the settings of the script that calls them.

    They do nothing for other callers, and to adapt them again changes nothing.
    """
    original, original_jit = torch.load, torch.jit.load
    if original.__module__ == __name__:
        return

    @functools.wraps(original, assigned=("__name__", "__qualname__", "__doc__"))
    def load(f: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
        stage = asking()
        if stage is None:
            return original(f, map_location, *args, **options)
        if "weights_only" not in options and is_torchscript(f):
            return original_jit(f, _jit_location(torch, map_location, stage))
        map_location = _location(torch, map_location, stage)
        found = read(stage, f, map_location, *args, **options)
        if stage.settings.lent_names:
            _complete(torch, found, stage)
        return found

    def read(stage: Stage, f: Any, *args: Any, **options: Any) -> Any:
        start = f.tell() if hasattr(f, "seek") else None
        try:
            return original(f, *args, **options)
        except pickle.UnpicklingError as error:
            if "weights_only" in options:
                raise
            if not stage.settings.allow_pickle:
                raise pickle.UnpicklingError(_advice(f, error)) from error
            if start is not None:
                f.seek(start)
            stage.warn(f"{_name(f)} holds more than weights: reading it runs code that is in it")
            return original(f, *args, weights_only=False, **options)

    @functools.wraps(original_jit)
    def load_jit(f: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
        stage = asking()
        if stage is not None:
            map_location = _jit_location(torch, map_location, stage)
        return original_jit(f, map_location, *args, **options)

    torch.load, torch.jit.load = load, load_jit


def _complete(torch: Any, found: Any, stage: Stage) -> None:
    """Give networks in what was ``found`` the attributes that their classes have got since."""
    for value in found.values() if isinstance(found, dict) else [found]:
        for module in value.modules() if isinstance(value, torch.nn.Module) else ():
            for name, attributes in LATER.items():
                missing = attributes.keys() - vars(module).keys()
                if missing and isinstance(module, getattr(torch.nn, name)):
                    vars(module).update({key: attributes[key] for key in missing})
                    shown = ", ".join(f"{key}={attributes[key]!r}" for key in sorted(missing))
                    stage.note(f"an old nn.{name}", shown)


def _name(file: Any) -> str:
    path = file if isinstance(file, str | os.PathLike) else getattr(file, "name", None)
    return str(path or type(file).__name__)


def _advice(file: Any, error: Exception) -> str:
    lines = str(error).splitlines()
    line = next((line for line in lines if re.search("Unsupported (global|class)", line)), None)
    if line is None:
        return f"{_name(file)} is no file that torch.save has written, or a damaged one"
    reason = line.strip().partition(" Please use")[0]
    return (
        f"{_name(file)} holds more than weights, and reading the rest would run code that is in it "
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
