"""What a file holds, found without running anything that is in it."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch

from engineroom.errors import ModelFileError

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch.save began before PyTorch 1.6: its magic number, pickled."""
ZIP_END, ZIP_END_SIZE = b"PK\x05\x06", 22
WAY_OUT = (
    "put the class of the network into a customize_service.py that loads this file and sets "
    "self.model (`engineroom init --engine pytorch FOLDER` writes such a package), or save the "
    "whole network with torch.export.save or torch.jit.save"
)


def kind_of(path: Path) -> Literal["torchscript", "exported"]:
    """Which of the two formats that hold a whole network.

    Raises:
        ModelFileError: neither; the message says what it is instead, and the way out.
    """
    names = _entries(path)
    if any(name.endswith("constants.pkl") for name in names):
        return "torchscript"
    if any(re.search(r"(^|/)models/[^/]+\.json$|serialized_exported_program", n) for n in names):
        return "exported"
    if any("aotinductor" in name for name in names):
        raise ModelFileError(
            f"{path}: compiled by AOTInductor for one kind of machine, which this engine does not "
            "run; save the program with torch.export.save"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise ModelFileError(f"{path}: a zip file without a PyTorch model in it")
    raise ModelFileError(f"{path}: it holds {_saved(path)}, not a network: {WAY_OUT}")


def is_torchscript(file: Any) -> bool:
    """Whether ``file``, the argument of a torch.load, is a TorchScript archive."""
    if not isinstance(file, str | Path):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False  # torch.load says what is wrong with it


def _entries(path: Path) -> list[str]:
    with path.open("rb") as file:
        head = file.read(len(LEGACY))
        file.seek(max(0, file.seek(0, io.SEEK_END) - ZIP_END_SIZE))
        end = file.read()
    try:
        if end.startswith(ZIP_END):  # where a file is cut off, zipfile finds that of one inside it
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        pass
    if head == LEGACY:
        raise ModelFileError(f"{path}: it holds {_saved(path)}, not a network: {WAY_OUT}")
    what = "it is no file that PyTorch has saved" if head else "the file is empty"
    if head.startswith(b"PK"):
        what = "it is cut off or damaged; copy it again"
    raise ModelFileError(f"{path}: not a PyTorch model: {what}")


def _saved(path: Path) -> str:
    """What torch.save has put into ``path``, in words."""
    try:
        # Weights only: no code runs. On "meta": of the tensors, no more than their shapes.
        value = torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        return f"pickled Python objects ({found[1] if found else 'of unknown classes'})"
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelFileError(f"{path}: not a PyTorch model: it is damaged: {reason}") from error
    if not isinstance(value, dict):
        return f"a {type(value).__name__}"
    keys = ", ".join(map(str, list(value)[:3])) + (", …" if len(value) > 3 else "")
    weights = all(isinstance(item, torch.Tensor) for item in value.values())
    kind = "the weights alone, a state dict" if weights else "a checkpoint"
    return f"{kind} ({keys})"
