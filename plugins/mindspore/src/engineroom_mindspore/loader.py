"""Loads a ``.mindir`` file and runs it. The only module that needs MindSpore when imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
from google.protobuf.message import DecodeError
from mindspore import Tensor, nn
from mindspore.train import mind_ir_pb2 as pb

from engineroom.engine import Predictor
from engineroom.errors import ModelFileError
from engineroom.values import Array, Device, TensorSpec
from engineroom_mindspore.device import limit_threads, place

ENCRYPTED = b"\xd8^:\x7f"
"""The first bytes of a file exported with ``enc_key``, seen in those of MindSpore 2.7 and 2.10."""
UNKNOWN_RANK = -2

# Source: mind_ir.proto, TensorProto.DataType
DTYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "FLOAT64": "float64", "FLOAT16": "float16",
    "BOOL": "bool", "COMPLEX64": "complex64", "COMPLEX128": "complex128",
    **{f"{sign}INT{bits}": f"{sign}INT{bits}".lower()
       for sign in ("", "U") for bits in (8, 16, 32, 64)},
}  # fmt: skip


class MindSporePredictor(Predictor):
    """A MindIR graph. Nothing else of the process may be inside MindSpore while it runs.

    MindSpore compiles a graph anew for every shape that it is given. So there are two, on the same
    weights: one for the declared shape with its open sizes, compiled once for all of them, and
    where only the first size is open, one for a batch of one, which is a little faster.
    """

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        if path.suffix == ".ckpt":
            raise ModelFileError(
                f"{path}: a checkpoint holds weights and no network, so it needs a script that "
                "builds one, such as engineroom init --engine mindspore FOLDER makes; or export "
                'the network: mindspore.export(network, input, file_format="MINDIR")'
            )
        graph = _read(path)
        self.inputs = tuple(_input(value, path) for value in graph.input)
        tensors = enumerate(_tensors(graph.output))
        self.outputs = tuple(_output(index, tensor) for index, tensor in tensors)
        place(ms, device)
        limit_threads(ms, threads)
        try:
            self._graph = ms.load(str(path))
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"{path}: not a model that MindSpore can load: {_reason(error)}"
            ) from error
        self.device = device
        self._cells: dict[bool, Any] = {}
        self._names = [spec.name for spec in self.outputs]
        sizes = [spec.shape or (None,) for spec in self.inputs if spec.shape != ()]
        only_batch = all(None not in shape[1:] for shape in sizes)
        self._single = [spec.smallest().shape for spec in self.inputs] if only_batch else None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        shapes = [feeds[spec.name].shape for spec in self.inputs]
        return self._run(feeds, self.has_open_sizes and shapes != self._single)

    def warm_up(self) -> None:
        feeds = {spec.name: spec.smallest() for spec in self.inputs}
        for _ in range(3):  # the first compiles, and the second still takes thrice its time
            self.run(feeds)
            if self.has_open_sizes:
                self._run(feeds, is_open=True)

    def close(self) -> None:
        self._cells.clear()
        self._graph = None

    def _run(self, feeds: Mapping[str, Array], is_open: bool) -> dict[str, Any]:
        try:
            cell = self._cell(is_open)
            result = cell(*(Tensor(feeds[spec.name]) for spec in self.inputs))
            return dict(zip(self._names, _leaves(result), strict=True))
        except Exception as error:  # MindSpore raises whatever its C++ was translated to
            # A graph that has failed once while it ran refuses every later call.
            self._cells.pop(is_open, None)
            reason = _reason(error)
            if not self._may_be_the_input(reason):
                raise RuntimeError(f"MindSpore failed: {reason}") from error
            raise self.refusal(feeds, reason) from error

    def _cell(self, is_open: bool) -> Any:
        cell = self._cells.get(is_open)
        if cell is None:
            cell = nn.GraphCell(self._graph)
            if is_open:
                cell.set_inputs(*map(_placeholder, self.inputs))
            self._cells[is_open] = cell
        return cell

    def _may_be_the_input(self, reason: str) -> bool:
        """Whether sizes left open, or integers such as an index, can have made the model fail."""
        has_integers = any("int" in spec.dtype for spec in self.inputs)
        return (self.has_open_sizes or has_integers) and not re.search("memory|alloc", reason)


def _read(path: Path) -> Any:
    """The ``GraphProto`` of a MindIR file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path}: {error.strerror}; MindSpore makes its files readable for their owner alone"
        ) from error
    if content.startswith(ENCRYPTED):
        raise ModelFileError(
            f"{path}: encrypted; export it without enc_key, or load it in a script with "
            "mindspore.load(…, dec_key=…)"
        )
    model = pb.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelFileError(f"{path}: not a MindIR file, or not all of one: {error}") from error
    if not model.HasField("graph"):
        raise ModelFileError(f"{path}: not a MindIR file: there is no graph in it")
    return model.graph


def _input(value: Any, path: Path) -> TensorSpec:
    # The graph's own name comes first: 12_1___main___Net_construct_8:x
    name = value.name.rpartition(":")[2]
    tensors = list(_tensors([value]))
    shape, dtype = _described(tensors[0]) if len(tensors) == 1 else (None, "group of tensors")
    if dtype not in DTYPES.values():
        raise ModelFileError(f"{path}: input {name!r} is a {dtype}, which cannot be fed")
    return TensorSpec(name, shape, dtype)


def _output(index: int, tensor: Any) -> TensorSpec:
    shape, dtype = _described(tensor)
    # numpy has no bfloat16; _leaves makes the same of it.
    return TensorSpec(f"output_{index}", shape, "float32" if dtype == "bfloat16" else dtype)


def _tensors(values: Any) -> Iterator[Any]:
    """Every ``TensorProto`` in values that may be tuples of others; a number is one, too."""
    for value in values:
        if value.HasField("attr_info"):
            yield from _members(value.attr_info)
        else:
            yield from value.tensor


def _members(attribute: Any) -> Iterator[Any]:
    for member in attribute.values:
        yield from _members(member)
    for tensor in attribute.tensors:
        if attribute.type == pb.AttributeProto.SCALAR:
            tensor.ClearField("dims")  # it says 0
        yield tensor


def _described(tensor: Any) -> tuple[tuple[int | None, ...] | None, str]:
    sizes = tuple(None if size < 0 else int(size) for size in tensor.dims)
    kind = pb.TensorProto.DataType.Name(tensor.data_type)
    return None if UNKNOWN_RANK in tensor.dims else sizes, DTYPES.get(kind, kind.lower())


def _placeholder(spec: TensorSpec) -> Any:
    dtype = getattr(ms, "bool_" if spec.dtype == "bool" else spec.dtype)
    return Tensor(shape=None if spec.shape is None else list(spec.shape), dtype=dtype)


def _leaves(value: Any) -> Iterator[Any]:
    """The arrays and numbers of a result: a tensor, or tuples of them."""
    if isinstance(value, tuple | list):
        for member in value:
            yield from _leaves(member)
    elif isinstance(value, Tensor):
        value = value.astype(ms.float32) if value.dtype == ms.bfloat16 else value
        yield value.asnumpy()
    else:
        yield value


def _reason(error: Exception) -> str:
    """The line of MindSpore's message that tells what is wrong; a C++ stack comes after it."""
    lines = [line.strip() for line in str(error).splitlines()]
    line = next((line for line in lines if line and line[0] != "-"), type(error).__name__)
    return re.sub(r"^Catch primitive:\S+ \w+ exception:", "", line)[:300]
