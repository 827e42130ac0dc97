"""What travels between modules: devices, tensor specs, and the check of a value against a spec."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from engineroom.errors import DeviceError, InvalidTensorError

Array: TypeAlias = npt.NDArray[Any]

STRING = "string"


@dataclasses.dataclass(frozen=True)
class Device:
    """A place where a model runs: ``cpu``, ``cuda:0``, ``npu:1``.

    ``index`` is the one that this process uses; ``name`` what the user calls it, if that differs.
    """

    kind: str
    index: int = 0
    name: str = dataclasses.field(default="", compare=False)

    def __str__(self) -> str:
        return self.name or (self.kind if self.kind in SINGLE else f"{self.kind}:{self.index}")


SINGLE = ("cpu", "mps")
CPU = Device("cpu")


def parse_device(text: str) -> tuple[str, int | None]:
    """Kind and index of a device setting such as ``cuda:1``; ``auto`` is a kind here.

    Raises:
        DeviceError: it is not written like a device.
    """
    match = re.fullmatch(r"([a-z]+)(?::(\d{1,4}))?", text.strip().lower())
    if match is None or (match[2] and match[1] == "auto"):
        raise DeviceError(f"device {text!r}: expected auto, cpu, or a device such as cuda:0")
    return match[1], int(match[2]) if match[2] else None


def choose_device(wanted: str, there: Sequence[Device]) -> Device:
    """The device for the setting ``wanted`` among those an engine reports, best first.

    Raises:
        DeviceError: it is not a device name, or the device is not there.
    """
    kind, index = parse_device(wanted)
    for device in there:
        if kind == "auto" or (device.kind == kind and index in (None, device.index)):
            return device
    names = ", ".join(map(str, there)) or "none"
    raise DeviceError(f"device {wanted!r} is not there; this engine sees: {names}")


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A declared input or output.

    A dimension is an int, a name (symbolic: any size, the same everywhere in one request) or None
    (any size). ``shape`` None means that nothing is declared. ``dtype`` is a numpy name, or
    ``string``.
    """

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        return f"{_shown(self.shape)} {self.dtype}"

    @functools.cached_property
    def _numpy(self) -> np.dtype[Any]:
        return np.dtype(object if self.dtype == STRING else self.dtype)

    @property
    def is_certain(self) -> bool:
        """Whether a model must answer :meth:`smallest`: only its batch may be open."""
        shape = self.shape or (None,)
        return self.dtype != STRING and all(
            isinstance(size, int) for size in (shape[1:] if len(shape) > 1 else shape)
        )

    def smallest(self) -> Array:
        """Zeros (empty strings) of this spec with every open dimension as 1, for a warm-up."""
        shape = [size if isinstance(size, int) else 1 for size in self.shape or ()]
        return np.full(shape, "" if self.dtype == STRING else 0, self._numpy)

    def array(self, value: Any, model: str) -> Array:
        """``value`` (array or nested list) as an array of this dtype, its shape checked.

        Raises:
            InvalidTensorError: with what was expected and what came.
        """
        array = value if type(value) is np.ndarray else self._from_object(value, model)
        if array.dtype.kind == "O":
            array = self._from_leaves(array, model)
        if array.dtype != self._numpy:
            array = self._cast(array, model)
        self._check_shape(array, model)
        return array

    def _from_object(self, value: Any, model: str) -> Array:
        if is_upload(value):
            self._refuse(model, "an uploaded file", "make an array of it in _preprocess")
        if isinstance(value, Mapping | bytes) or value is None:
            self._refuse(model, type(value).__name__, "give an array or a nested list")
        if hasattr(value, "__array__"):  # tensors of the frameworks
            return np.asarray(value)
        # Objects first: for a list with one long string in it, numpy would make room for a string
        # of that length in every place.
        try:
            return np.array(value, dtype=object)
        except ValueError:
            self._refuse(model, "a ragged list", "give rows of one length")

    def _from_leaves(self, array: Array, model: str) -> Array:
        """An array of Python objects as one of the dtype that all of them have."""
        kinds = set(map(type, array.ravel().tolist()))
        if self.dtype == STRING:
            if not all(issubclass(kind, str) for kind in kinds):
                self._refuse(model, "values that are not strings", "give strings")
            return array
        if any(issubclass(kind, list | tuple) for kind in kinds):
            self._refuse(model, "a ragged list", "give rows of one length")
        if any(issubclass(kind, str) for kind in kinds):
            self._refuse(model, "strings", f"give {self.dtype} numbers")
        if not all(issubclass(kind, Number | np.generic) for kind in kinds):
            self._refuse(model, "values that are not numbers", f"give {self.dtype} numbers")
        integers = all(issubclass(kind, int | np.integer | np.bool_) for kind in kinds)
        if all(issubclass(kind, bool | np.bool_) for kind in kinds):
            return array.astype(bool)
        for dtype in ("int64", "uint64", "float64") if integers else ("float64", "complex128"):
            try:
                numbers = array.astype(dtype)
            except (OverflowError, TypeError):  # too large, or complex
                continue
            if dtype == "float64":
                self._check_finite(numbers, model)
            return numbers
        self._refuse(model, "numbers out of range", f"give numbers that {self.dtype} can hold")

    def _check_finite(self, array: Array, model: str) -> None:
        bad = ~np.isfinite(array)
        if bad.any():
            at = [int(i) for i in np.argwhere(bad)[0]]
            self._refuse(model, f"{array[tuple(at)]} at index {at}", "send finite numbers")

    def _cast(self, array: Array, model: str) -> Array:
        """Changes of dtype that lose nothing but floating-point digits."""
        source, target = array.dtype, self._numpy
        if self.dtype == STRING:
            if source.kind not in "UT":
                self._refuse(model, f"{_shown(array.shape)} {source}", "give strings")
            return array.astype(object)
        if source.kind not in "biuf" and not (source.kind == "c" and target.kind == "c"):
            kind = "strings" if source.kind in "US" else "values that are not numbers"
            self._refuse(model, kind, f"give {target} numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            result: Array = array.astype(target)
        fits = True
        if target.kind in "iu" and source.kind in "iuf":
            fits = not array.size or self._holds(array, result)
        elif target.kind == "b" and source.kind != "b":
            fits = bool(np.isin(array, (0, 1)).all())
        elif target.kind == "f":
            fits = not np.any(np.isinf(result) & np.isfinite(array))
        if not fits:
            self._refuse(model, f"{source} values", f"give values that {target} can hold")
        return result

    def _holds(self, array: Array, result: Array) -> bool:
        limits = np.iinfo(self._numpy)
        # Python compares integers with floats exactly; numpy would round both to a float.
        inside = array.min().item() >= limits.min and array.max().item() < limits.max + 1
        return inside and bool((result == array).all())

    def _check_shape(self, array: Array, model: str) -> None:
        if self.shape is None:
            return
        same_rank = array.ndim == len(self.shape)
        if not same_rank or any(
            isinstance(want, int) and want != got
            for want, got in zip(self.shape, array.shape, strict=True)
        ):
            hint = (
                ""
                if same_rank
                else "; the first dimension is the batch" * (array.ndim < len(self.shape))
            )
            self._refuse(model, f"{_shown(array.shape)} {array.dtype}", f"give this shape{hint}")
        if 0 in array.shape:
            self._refuse(model, f"{_shown(array.shape)}, an empty batch", "give at least one row")

    def _refuse(self, model: str, got: str, advice: str) -> NoReturn:
        raise InvalidTensorError(
            f'input "{self.name}" of model "{model}": expected {self}, got {got}; {advice}',
            model=model,
            input=self.name,
            expected=str(self),
            got=got,
        )


def tensors(specs: Sequence[TensorSpec], data: Any, model: str) -> dict[str, Array]:
    """``data`` as arrays for the inputs ``specs``, by name.

    Raises:
        InvalidTensorError: not a dict, an unknown or missing name, a value that does not fit, or
            two inputs that give one symbolic dimension different sizes.
    """
    if not isinstance(data, dict | Mapping):  # asking a dict for the abstract class takes longer
        expected, got = _declared(specs), type(data).__name__
        raise InvalidTensorError(
            f'model "{model}": expected a dict with the inputs {expected}, got {got}',
            model=model, expected=expected, got=got,
        )  # fmt: skip
    if len(data) != len(specs) or any(spec.name not in data for spec in specs):
        raise _wrong_names(specs, data, model)
    arrays = {spec.name: spec.array(data[spec.name], model) for spec in specs}
    _check_symbols(specs, arrays, model)
    return arrays


def _declared(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f'"{spec.name}" {spec}' for spec in specs)


def _wrong_names(
    specs: Sequence[TensorSpec], data: Mapping[str, Any], model: str
) -> InvalidTensorError:
    names = [spec.name for spec in specs]
    unknown = [str(key) for key in data if key not in names]
    missing = [name for name in names if name not in data]
    problem = "; ".join(
        f"{what} {', '.join(map(repr, which))}"
        for what, which in (("unknown input", unknown), ("missing input", missing))
        if which
    )
    return InvalidTensorError(
        f'model "{model}": {problem}; its inputs are {_declared(specs)}',
        model=model, expected=names, got=[str(key) for key in data],
    )  # fmt: skip


def _check_symbols(specs: Sequence[TensorSpec], arrays: Mapping[str, Array], model: str) -> None:
    sizes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        for symbol, size in zip(spec.shape or (), arrays[spec.name].shape, strict=False):
            if not isinstance(symbol, str):
                continue
            first, owner = sizes.setdefault(symbol, (size, spec.name))
            if first != size:
                raise InvalidTensorError(
                    f'model "{model}": dimension {symbol} is {first} in input "{owner}" and {size} '
                    f'in input "{spec.name}"; give both the same size',
                    model=model, input=spec.name, expected=first, got=size,
                )  # fmt: skip


def is_upload(value: Any) -> bool:
    """Whether ``value`` is what a form's file field decodes to."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(content, io.BytesIO) for content in value.values())
    )


def _shown(shape: Sequence[int | str | None] | None) -> str:
    if shape is None:
        return "(any shape)"
    inside = ", ".join("?" if size is None else str(size) for size in shape)
    return f"({inside},)" if len(shape) == 1 else f"({inside})"
