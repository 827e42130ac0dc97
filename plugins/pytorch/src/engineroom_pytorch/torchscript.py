"""TorchScript: what ``torch.jit.save`` writes."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engineroom.errors import ModelFileError, RequestError
from engineroom.values import CPU, Device, TensorSpec
from engineroom_pytorch.loader import REFUSALS, TorchPredictor, move, reason_of
from engineroom_pytorch.values import dtype_name

CHANNELS = (1, 3, 4)


class TorchScriptPredictor(TorchPredictor):
    """``forward`` of a TorchScript module, in eval mode.

    Its file says no more of the inputs than their names, unless it was traced: then it holds the
    inputs of that one run.
    """

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        super().__init__(device, threads)
        module = _module(path)
        self.inputs, self.dtypes, sizes = _inputs(module, path)
        if None not in sizes:
            self.example = {
                spec.name: np.zeros(size or (), spec.dtype)
                for spec, size in zip(self.inputs, sizes, strict=True)
            }
        self.call = module
        if device != CPU:
            # Not module.to(), which leaves the constants behind.
            self.call = move(lambda: _read(path, self.place), device, path.name)
        self.outputs = _declared(module)
        if self.example is not None:
            # Its shapes are known to fit; if its zeros do not, the warm-up will say so.
            with contextlib.suppress(*REFUSALS, RequestError):
                self.outputs = _seen(self.run(self.example))


def _module(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        traced = any(name.endswith("traced_inputs.pkl") for name in archive.namelist())
    try:
        # Without traced inputs PyTorch would warn on standard error that there are none.
        module = _read(path, torch.device("cpu"), _restore_shapes=traced)
    except Exception as error:
        raise ModelFileError(
            f"{path}: not TorchScript that PyTorch can load: {reason_of(error)}"
        ) from error
    if not hasattr(module, "forward"):
        raise ModelFileError(f"{path}: its module has no forward; call its methods in a script")
    return module


def _read(path: Path, place: torch.device, **options: bool) -> Any:
    read: Any = torch.jit.load  # has no types
    # PyTorch calls TorchScript deprecated whenever a file is loaded; the file has no choice.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return read(path, map_location=place, **options).eval()


def _inputs(
    module: Any, path: Path
) -> tuple[tuple[TensorSpec, ...], list[torch.dtype], list[list[int] | None]]:
    """The inputs without a default value, their dtypes, and their sizes where they were traced."""
    arguments = module.forward.schema.arguments[1:]
    graph = module.inlined_graph  # held here: its values are gone when it is
    values = list(graph.inputs())[1:]
    indices = {node.inputsAt(1).debugName() for node in graph.findAllNodes("aten::embedding")}
    floats = [p.dtype for p in module.parameters() if p.is_floating_point()]
    specs: list[TensorSpec] = []
    dtypes: list[torch.dtype] = []
    traced: list[list[int] | None] = []
    for argument, value in zip(arguments, values, strict=True):
        if argument.has_default_value():
            continue  # the network is called without it
        if str(argument.type) != "Tensor":
            raise ModelFileError(
                f"{path}: its forward takes {argument.name!r}, a {argument.type}, and requests "
                "carry tensors only; call it in the _inference of a script"
            )
        dtype, sizes = value.type().dtype(), value.type().sizes()
        if dtype is None:
            by_use = torch.int64 if value.debugName() in indices else None
            dtype = by_use or (floats or [torch.float32])[0]
        name = dtype_name(dtype)
        if name is None:
            raise ModelFileError(f"{path}: its input {argument.name!r} is a {dtype}")
        specs.append(TensorSpec(argument.name, _open(sizes), name))
        dtypes.append(dtype)
        traced.append(sizes)
    return tuple(specs), dtypes, traced


def _open(sizes: list[int] | None) -> tuple[int | None, ...] | None:
    """The shape of a traced input, of which only the rank binds, and the channels of pictures."""
    if sizes is None:
        return None
    is_picture = len(sizes) == 4 and sizes[1] in CHANNELS
    return tuple(size if is_picture and i == 1 else None for i, size in enumerate(sizes))


def _declared(module: Any) -> tuple[TensorSpec, ...]:
    """The outputs as far as the type of ``forward`` tells them: the keys of a dict it does not."""
    kind = module.forward.schema.returns[0].type
    if str(kind) == "Tensor":
        return (TensorSpec("output", None, "tensor"),)
    if str(kind).startswith("Tuple[") and {str(item) for item in kind.elements()} == {"Tensor"}:
        return tuple(TensorSpec(f"output_{i}", None, "tensor") for i in range(len(kind.elements())))
    return ()


def _seen(outputs: dict[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, (None,) * array.ndim, str(array.dtype))
        for name, array in outputs.items()
        if isinstance(array, np.ndarray)
    )
