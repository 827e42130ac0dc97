"""Exported programs: what ``torch.export.save`` writes."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils import _pytree as pytree

from engineroom.errors import ModelFileError
from engineroom.values import CPU, Device, TensorSpec
from engineroom_pytorch.device import torch_device
from engineroom_pytorch.loader import TorchPredictor, move, reason_of
from engineroom_pytorch.values import as_array, dtype_name, named

SYMBOL = re.compile(r"\bs\d+\b")
INPUT = object()
"""Stands for an input among what a program is called with."""


class ExportedPredictor(TorchPredictor):
    """An exported program. Its file names the inputs and the outputs with shapes and dtypes."""

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        super().__init__(device, threads)
        program = _program(path)
        self.inputs, self.dtypes, leaves = _inputs(program, path)
        self.inputs, self.outputs = _with_plain_names(self.inputs, _outputs(program))
        if program.example_inputs is not None:
            examples = pytree.tree_leaves(program.example_inputs)
            arrays = [as_array(value) for value in examples if isinstance(value, torch.Tensor)]
            self.example = dict(zip((spec.name for spec in self.inputs), arrays, strict=True))
        module = move(lambda: _module(program, device), device, path.name)
        self.call = _call(module, leaves, program.call_spec.in_spec)


def _program(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return torch.export.load(_for_cpu(path) or file)
    except Exception as error:  # it raises whatever its many parts raise
        raise ModelFileError(
            f"{path}: not a program that torch.export.load can read: {reason_of(error)}"
        ) from error


def _for_cpu(path: Path) -> io.BytesIO | None:
    """A copy with the CPU for every device; None if the program was exported on the CPU.

    ``torch.export.load`` has no map_location and makes each tensor where it was.
    """
    result = io.BytesIO()
    with zipfile.ZipFile(path) as archive:
        texts = {n: archive.read(n) for n in archive.namelist() if n.endswith(".json")}
        elsewhere = rb'"type": "(cuda|npu|mps)", "index": (\d+|null)'
        if not any(re.search(elsewhere, text) for text in texts.values()):
            return None
        with zipfile.ZipFile(result, "w") as copy:
            for name in archive.namelist():
                content = texts.get(name) or archive.read(name)
                if name in texts:
                    content = re.sub(elsewhere, rb'"type": "cpu", "index": null', content)
                elif name.endswith(".pt") and content:
                    content = _weights_for_cpu(content)
                copy.writestr(name, content)
    result.seek(0)
    return result


def _weights_for_cpu(content: bytes) -> bytes:
    result = io.BytesIO()
    torch.save(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), result)
    return result.getvalue()


def _inputs(
    program: Any, path: Path
) -> tuple[tuple[TensorSpec, ...], list[torch.dtype], list[Any]]:
    """The inputs, their dtypes, and what the program is called with: ``INPUT`` or a number."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    specs: list[TensorSpec] = []
    dtypes: list[torch.dtype] = []
    leaves: list[Any] = []
    for name in program.graph_signature.user_inputs:
        value = values.get(name)
        if name not in values:  # a number that was fixed stands there itself
            leaves.append(name)
        elif isinstance(value, torch.Tensor) and dtype_name(value.dtype):
            specs.append(_spec(name, value))
            dtypes.append(value.dtype)
            leaves.append(INPUT)
        else:
            kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise ModelFileError(
                f"{path}: its input {name!r} is a {kind}, and requests carry tensors of numpy's "
                "dtypes only; call the program in the _inference of a script"
            )
    return tuple(specs), dtypes, leaves


def _outputs(program: Any) -> tuple[TensorSpec, ...]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    leaves = [values.get(name, name) for name in program.graph_signature.user_outputs]
    tree = pytree.tree_unflatten(leaves, program.call_spec.out_spec)
    return tuple(_spec(name, value) for name, value in named(tree) if torch.is_tensor(value))


def _spec(name: str, value: torch.Tensor) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    return TensorSpec(name, shape, dtype_name(value.dtype) or str(value.dtype))


def _with_plain_names(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """``N``, ``N1``, … for the sizes that the exporter has called ``s77`` and ``s15``."""
    sizes = [str(size) for spec in inputs for size in spec.shape or ()]
    found = dict.fromkeys(symbol for size in sizes for symbol in SYMBOL.findall(size))
    names = {symbol: f"N{i}" if i else "N" for i, symbol in enumerate(found)}

    def plain(size: int | str | None) -> int | str | None:
        if not isinstance(size, str):
            return size
        return SYMBOL.sub(lambda match: names.get(match[0], match[0]), size)

    def renamed(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(spec.name, tuple(map(plain, spec.shape or ())), spec.dtype) for spec in specs
        )

    return renamed(inputs), renamed(outputs)


def _module(program: Any, device: Device) -> Any:
    if device != CPU:
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, str(torch_device(device)))
    return program.module()


def _call(module: Any, leaves: Sequence[Any], tree: Any) -> Callable[..., Any]:
    """A function of the inputs alone, in their order."""
    args, kwargs = pytree.tree_unflatten(leaves, tree)
    if not kwargs and all(leaf is INPUT for leaf in args):
        return cast("Callable[..., Any]", module)

    def call(*tensors: torch.Tensor) -> Any:
        rest = iter(tensors)
        filled = [next(rest) if leaf is INPUT else leaf for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(filled, tree)
        return module(*args, **kwargs)

    return call
