"""Arrays to tensors, and whatever a model returns to arrays by name."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from engineroom.values import Array

DTYPES = {
    "bool", "float16", "float32", "float64", "complex64", "complex128",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}  # fmt: skip
"""The dtypes that numpy and PyTorch share, under the same names."""


@functools.cache
def dtype_name(dtype: torch.dtype) -> str | None:
    """The numpy dtype that carries a ``dtype``; None: numpy has nothing like it."""
    name = str(dtype).removeprefix("torch.")
    if name in DTYPES:
        return name
    return "float32" if dtype.is_floating_point else None  # bfloat16 and the 8-bit floats


def as_tensor(array: Array) -> torch.Tensor:
    """A tensor on the CPU, on the same memory where PyTorch can use it as it is."""
    # PyTorch takes no negative strides, and warns of memory that it must not write to.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def as_array(value: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu().resolve_conj().resolve_neg()
    if dtype_name(value.dtype) == "float32":
        value = value.float()
    return value.numpy()


def named(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What a model returned, flat: a dict's keys, ``output_0`` in a tuple, else ``output``."""
    if _is_named_tuple(value):
        value = value._asdict()
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from named(item, f"{name}_{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from named(item, f"{name or 'output'}_{index}")
    else:
        yield name or "output", value


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` with ``change`` done to what is inside its tuples, lists and dicts."""
    if _is_named_tuple(value):
        return type(value)(*(changed(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(changed(item, change) for item in value)
    if isinstance(value, dict):
        result = copy.copy(value)  # keeps its class, which may be one with attributes
        for key, item in value.items():
            result[key] = changed(item, change)
        return result
    return change(value)


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")
