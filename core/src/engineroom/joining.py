"""Arrays of several requests as those of one: what fits, what is padded, what is split again."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from engineroom.errors import EngineError
from engineroom.values import TensorSpec


class NoRowsError(EngineError):
    """An output without a row for each row of the inputs."""


class Padding:
    """Brings inputs of other sizes to those of the largest in their batch, and the outputs back.

    ``values`` are what the inputs are filled up with, at the end of each dimension but the first. A
    dimension of an output is cut back if it has the name of a dimension of such an input.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        inputs: Sequence[TensorSpec] = (),
        outputs: Sequence[TensorSpec] = (),
    ) -> None:
        self.values = values
        self._names = {spec.name: spec.shape or () for spec in inputs if spec.name in values}
        self._outputs = {spec.name: spec.shape or () for spec in outputs}

    def pad(self, feeds: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """``feeds`` of one size for each name."""
        if not self.values:
            return feeds
        largest = {
            name: np.max([each[name].shape for each in feeds], axis=0)
            for name in feeds[0]
            if name in self.values
        }
        return [
            {name: self._padded(name, value, largest.get(name)) for name, value in each.items()}
            for each in feeds
        ]

    def _padded(self, name: str, value: Any, largest: Any) -> Any:
        if largest is None:
            return value
        missing = [
            (0, 0),
            *((0, want - got) for want, got in zip(largest[1:], value.shape[1:], strict=True)),
        ]
        return np.pad(value, missing, constant_values=self.values[name])

    def cut(self, outputs: Any, feeds: Mapping[str, Any]) -> Any:
        """``outputs`` of one request in the sizes of its own ``feeds``."""
        sizes = {
            symbol: size
            for name, shape in self._names.items()
            for symbol, size in zip(shape[1:], feeds[name].shape[1:], strict=True)
            if isinstance(symbol, str)
        }
        if not sizes or not isinstance(outputs, Mapping):
            return outputs
        return {name: self._cut(name, value, sizes) for name, value in outputs.items()}

    def _cut(self, name: str, value: Any, sizes: Mapping[str, int]) -> Any:
        spans = [slice(sizes.get(str(symbol))) for symbol in self._outputs.get(name, ())[1:]]
        own = (slice(None), *spans)
        return value[own] if isinstance(value, np.ndarray) else value


def signature(feeds: Any, ragged: Container[str] = ()) -> Any:
    """What two requests must have in common to share a run; None: this one can share with none.

    Of inputs in ``ragged`` the sizes need not be the same.
    """
    if not isinstance(feeds, Mapping) or not feeds:
        return None
    shapes = [getattr(value, "shape", None) for value in feeds.values()]
    if not all(shapes) or len({shape[0] for shape in shapes if shape}) > 1:
        return None
    return tuple(
        (name, type(value), value.dtype, value.ndim if name in ragged else tuple(value.shape[1:]))
        for name, value in feeds.items()
    )


def split(outputs: Any, rows: Sequence[int], size: int) -> list[Any]:
    """The outputs of each request, of which each has its number of ``rows`` out of ``size``.

    Raises:
        NoRowsError: an output without a row for each row of the inputs.
    """
    ends = itertools.accumulate(rows)
    spans = [slice(end - count, end) for end, count in zip(ends, rows, strict=True)]
    if not isinstance(outputs, Mapping):
        _check_rows("the output", outputs, size)
        return [outputs[span] for span in spans]
    for name, value in outputs.items():
        _check_rows(f'output "{name}"', value, size)
    return [{name: value[span] for name, value in outputs.items()} for span in spans]


def _check_rows(name: str, value: Any, rows: int) -> None:
    shape = getattr(value, "shape", None)
    got = shape[0] if shape else len(value) if isinstance(value, list) else "none"
    if got != rows:
        raise NoRowsError(f"{name}: expected {rows} rows for {rows} rows of input, got {got}")
