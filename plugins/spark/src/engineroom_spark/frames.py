"""Rows of a request to a DataFrame, and a DataFrame to rows of an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from pyspark.ml.linalg import DenseVector, Vector, VectorUDT
from pyspark.sql import Row
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from engineroom.decoding import parse_json
from engineroom.errors import InvalidTensorError
from engineroom_spark.columns import (
    ANYTHING,
    NUMBER,
    NUMBER_OR_WORD,
    VECTOR,
    WORD,
    WORDS,
    Column,
)
from engineroom_spark.reasons import blames_input, reason

ACCEPTS = {
    NUMBER: {"number"},
    WORD: {"string"},
    NUMBER_OR_WORD: {"number", "string"},
    VECTOR: {"numbers"},
    WORDS: {"strings", "numbers"},
    ANYTHING: {"number", "string", "numbers", "strings"},
}
COUNT = "_engineroom_count"
LONGS = range(-(2**63), 2**63)


# --- in


def rows(data: Any, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The rows in a body: ``{"data": {"req_data": [{…}, …]}}``, or the list alone.

    Raises:
        InvalidBodyError: it is not JSON.
        InvalidTensorError: it holds no rows.
    """
    value = parse_json(data) if isinstance(data, str) else data
    if isinstance(value, dict) and isinstance(value.get("data"), dict):
        value = value["data"].get("req_data", value)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return value
    if isinstance(value, dict):
        got = f"an object with {', '.join(map(repr, value)) or 'no keys'}"
    else:
        got = "an empty list" if value == [] else f"{_shown(value)}"
    row = ", ".join(f'"{column.name}": {column.kind}' for column in columns) or '"column": value'
    raise InvalidTensorError(
        f'expected {{"data": {{"req_data": [{{{row}}}, …]}}}} or that list alone, got {got}',
        got=got,
    )


def frame(spark: Any, rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> Any:
    """A DataFrame of ``rows`` with what ``columns`` wants, and whatever else they bring.

    Raises:
        InvalidTensorError: a column is missing, or a value in it is of the wrong kind.
    """
    wanted = {column.name: column for column in columns}
    names = list(dict.fromkeys([*wanted, *(str(name) for row in rows for name in row)]))
    for index, row in enumerate(rows):
        if missing := [name for name in wanted if name not in row]:
            _refuse(f"row {index} has no {', '.join(map(repr, missing))}", columns)
    fields, values = [], []
    for name in names:
        column = wanted.get(name, Column(name, ANYTHING))
        given = [row.get(name) for row in rows]
        for index, value in enumerate(given):
            _check(value, index, column, columns)
        kind = _type(given, column)
        fields.append(StructField(name, kind))
        values.append([_converted(value, kind) for value in given])
    made = spark.createDataFrame(
        list(zip(*values, strict=True)), StructType(fields), verifySchema=False
    )
    return counted(made, len(rows))


def counted(frame: Any, count: int | None) -> Any:
    """``frame``, with the number of its rows on it, which Spark would have to count."""
    vars(frame)[COUNT] = count
    return frame


def count_of(frame: Any) -> int | None:
    """The number that :func:`counted` has put there."""
    count: int | None = vars(frame).get(COUNT)  # not getattr, which asks for a column
    return count


def _check(value: Any, index: int, column: Column, columns: Sequence[Column]) -> None:
    if value is None or _kind(value) in ACCEPTS[column.kind]:
        return
    _refuse(
        f'column "{column.name}", row {index}: expected {column.kind}, got {_shown(value)}', columns
    )


def _refuse(problem: str, columns: Sequence[Column]) -> NoReturn:
    expected = ", ".join(map(str, columns))
    raise InvalidTensorError(
        f"{problem}; the model reads {expected}" if columns else problem, expected=expected
    )


def _kind(value: Any) -> str:
    if isinstance(value, int | float):
        return "number" if math.isfinite(value) else "infinity"
    if isinstance(value, str):
        return "string"
    kinds = {_kind(part) for part in value} if isinstance(value, list) else {"other"}
    return f"{kinds.pop()}s" if len(kinds) == 1 else "numbers" if not kinds else "mixed"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _type(values: Iterable[Any], column: Column) -> DataType:
    """The type that holds all ``values``; that of the column's kind where all are null."""
    there = [value for value in values if value is not None]
    if not there:
        return {VECTOR: VectorUDT(), NUMBER: DoubleType(), WORDS: ArrayType(StringType())}.get(
            column.kind, StringType()
        )
    if any(isinstance(value, list) for value in there):
        words = column.kind == WORDS or any(_kind(value) == "strings" for value in there)
        return ArrayType(StringType()) if words else VectorUDT()
    if any(isinstance(value, str) for value in there):
        return StringType()
    if all(isinstance(value, bool) for value in there):
        return BooleanType()
    whole = all(isinstance(value, int) and value in LONGS for value in there)
    return LongType() if whole else DoubleType()


def _converted(value: Any, kind: DataType) -> Any:
    if value is None:
        return None
    if isinstance(kind, VectorUDT):
        return DenseVector([float(part) for part in value])
    if isinstance(kind, ArrayType):
        return [str(part) for part in value]
    if isinstance(kind, StringType):
        return str(value)
    return float(value) if isinstance(kind, DoubleType) else value


# --- out


def listed(frame: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """An object for each row of ``frame``, with the columns ``names``. This runs the model.

    Raises:
        InvalidTensorError: Spark refuses a value, or leaves out rows.
    """
    try:
        found = frame.select(*(f"`{name}`" for name in names)).collect()
    except Exception as error:
        if blames_input(error):
            raise InvalidTensorError(f"Spark refuses the input: {reason(error)}") from error
        raise
    count = count_of(frame)
    if count is not None and len(found) != count:
        raise InvalidTensorError(
            f"the model answers {len(found)} of {count} rows: it leaves out those with a value "
            'that it does not know (handleInvalid="skip"), and nobody could tell which'
        )
    return [_plain(row) for row in found]


def _plain(value: Any) -> Any:
    if isinstance(value, Vector):
        return value.toArray().tolist()
    if isinstance(value, Row):
        return {name: _plain(part) for name, part in value.asDict().items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | None) else str(value)
