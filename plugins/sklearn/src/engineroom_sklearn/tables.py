"""Rows as a model takes them: checked against its columns, as an array or a data frame."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from engineroom.errors import InvalidTensorError
from engineroom.values import STRING, Array, TensorSpec, is_upload

INPUT, RESULT = "x", "predictresult"
SHOWN = 4
"""Columns that a message names."""


@dataclasses.dataclass(frozen=True)
class Features:
    """What a model says about its columns."""

    names: tuple[str, ...] | None = None
    count: int | None = None
    is_text: bool = False
    """One text for each row, as the vectorizers of scikit-learn take it."""

    @property
    def spec(self) -> TensorSpec:
        """The input of the model."""
        if self.is_text:
            return TensorSpec(INPUT, ("N",), STRING)
        return TensorSpec(INPUT, ("N", self.count), "float64")

    @property
    def is_known(self) -> bool:
        """Whether a row that fits can be made up."""
        return self.is_text or self.count is not None

    def example(self) -> str:
        """A request, for messages."""
        if self.is_text:
            return '{"data": {"req_data": [{"text": "…"}]}}'
        names = self.names or [f"column_{i + 1}" for i in range(self.count or SHOWN)]
        keys = [f'"{name}": 0' for name in names[:SHOWN]] + ["…"] * (len(names) > SHOWN)
        return f'{{"data": {{"req_data": [{{{", ".join(keys)}}}]}}}}'


UNKNOWN = Features()


def table_of(data: Any, features: Features, model: str) -> Any:
    """``data`` for the model named ``model``: (N, columns) float64 or, with words in it, object.

    Data frames and sparse matrices, which scripts make, pass as they are.

    Raises:
        InvalidTensorError: with what was expected and what came.
    """
    check = _Check(features, model)
    if isinstance(data, Mapping):
        data = check.named(data)
    if features.is_text:
        return check.texts(data)
    if hasattr(data, "iloc") or hasattr(data, "tocsr"):
        return data
    array = check.array(data) if hasattr(data, "__array__") else check.rows(data)
    if features.count is not None and array.shape[1] != features.count:
        check.refuse(f"{array.shape[1]} values in a row", check.columns())
    return array


class _Check:
    """The checks of one value, and what their messages say about the model."""

    def __init__(self, features: Features, model: str) -> None:
        self.features, self.model = features, model

    def refuse(self, got: str, advice: str) -> NoReturn:
        spec = str(self.features.spec)
        raise InvalidTensorError(
            f'input "{INPUT}" of model "{self.model}": expected {spec}, got {got}; {advice}',
            model=self.model, input=INPUT, expected=spec, got=got,
        )  # fmt: skip

    def columns(self) -> str:
        names = self.features.names
        return f"its columns are {', '.join(names)}" if names else "give each row all its values"

    def named(self, data: Mapping[str, Any]) -> Any:
        """The one input of a dict of inputs by name."""
        if INPUT not in data:
            raise InvalidTensorError(
                f'model "{self.model}": missing input {INPUT!r}: send {self.features.example()}, '
                f'or {{"{INPUT}": [[…]]}} with {self.features.spec}',
                model=self.model, expected=self.features.example(), got=list(map(str, data)),
            )  # fmt: skip
        if unknown := [str(key) for key in data if key != INPUT]:
            raise InvalidTensorError(
                f'model "{self.model}": unknown input {", ".join(map(repr, unknown))}; its input '
                f'is "{INPUT}" {self.features.spec}',
                model=self.model, expected=[INPUT], got=list(map(str, data)),
            )  # fmt: skip
        return data[INPUT]

    def texts(self, data: Any) -> list[str]:
        rows = self.listed(data)
        texts = [row[0] if isinstance(row, list | tuple) and len(row) == 1 else row for row in rows]
        if not all(isinstance(text, str) for text in texts):
            self.refuse("other values", "give one text for each row")
        return texts

    def array(self, data: Any) -> Array:
        """An array, or what becomes one, of a script or an upload."""
        array = np.asarray(data)
        if array.ndim != 2 or 0 in array.shape:
            self.refuse(f"{array.shape} {array.dtype}", "give rows of equal length, at least one")
        return array if array.dtype.kind in "biuf" else self.rows(array.tolist())

    def rows(self, data: Any) -> Array:
        """A list of lists. ``null`` is a missing value."""
        rows = self.listed(data)
        for index, row in enumerate(rows):
            if not isinstance(row, list | tuple):
                self.refuse(f"{_kind(row)} as row {index}", "give a list of rows")
            if len(row) != len(rows[0]):
                got = f"{len(rows[0])} values in row 0 and {len(row)} in row {index}"
                self.refuse(got, "give rows of equal length")
        if not rows[0]:
            self.refuse("rows without values", self.columns())
        return self.filled(rows)

    def filled(self, rows: Sequence[Sequence[Any]]) -> Array:
        kinds = set(map(type, itertools.chain.from_iterable(rows)))
        for kind in kinds:
            if not issubclass(kind, int | float | str | np.generic | type(None)):
                self.refuse(f"{_kind(kind())} as a value", "give numbers, strings or null")
        if any(issubclass(kind, str) for kind in kinds):
            # Objects, or numpy would make strings of the numbers beside them.
            full = [[np.nan if value is None else value for value in row] for row in rows]
            return np.array(full, dtype=object)
        try:
            return np.array(rows, dtype=np.float64)
        except (OverflowError, TypeError, ValueError) as error:
            self.refuse(f"a value that is no float64 ({error})", "give numbers, strings or null")

    def listed(self, data: Any) -> Sequence[Any]:
        if is_upload(data):
            self.refuse("an uploaded file", "send an .npy file, or read it in _preprocess")
        if hasattr(data, "tolist"):
            data = data.tolist()
        if not isinstance(data, list | tuple):
            self.refuse(_kind(data), f"send {self.features.example()}")
        if not data:
            self.refuse("no rows", "give at least one")
        return data


KINDS = {dict: "an object", list: "a list", str: "a string", type(None): "null"}


def _kind(value: Any) -> str:
    """What a JSON value is called."""
    return KINDS.get(type(value), f"{type(value).__name__} {value!r:.40}")


@functools.cache
def has_pandas() -> bool:
    """Whether pandas can be imported."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        return False
    return True


def framed(table: Any, names: tuple[str, ...]) -> Any:
    """An array as a data frame with the columns that a model was fitted on."""
    if not isinstance(table, np.ndarray) or not has_pandas():
        return table
    import pandas as pd

    # Columns of objects get the type of what is in them, as those that the model was fitted on.
    rows = table.tolist() if table.dtype.kind == "O" else table
    return pd.DataFrame(rows, columns=list(names))
