"""Loads a saved folder of pyspark.ml and runs it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.ml import Model, PipelineModel, Transformer
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import ArrayType, StringType

from engineroom.engine import Predictor
from engineroom.errors import InvalidTensorError, ModelFileError
from engineroom.values import STRING, Array, TensorSpec
from engineroom_spark import session
from engineroom_spark.columns import read_columns, result_columns, stages_of, without_labels
from engineroom_spark.frames import count_of, counted, frame, listed
from engineroom_spark.plugin import METADATA
from engineroom_spark.reasons import blames_input, is_from_java, reason


class SparkPredictor(Predictor):
    """A fitted pipeline, or a model alone. Safe to call from several threads at once."""

    def __init__(self, path: Path, threads: int) -> None:
        class_name = class_of(path)
        self.spark = session.shared(self, threads)
        self.path = path
        self.model = _loaded(path, class_name)
        all_stages = stages_of(self.model)
        stages = without_labels(all_stages)
        if len(stages) < len(all_stages):
            self.model = PipelineModel(stages)
        self.columns = read_columns(stages)
        self.results: Sequence[str] = result_columns(stages)
        self.inputs = tuple(column.spec for column in self.columns)
        self.outputs = self._outputs()

    def _outputs(self) -> tuple[TensorSpec, ...]:
        """The columns that are answered with; asks Spark what comes of the smallest row."""
        row = {column.name: column.smallest() for column in self.columns}
        given = frame(self.spark, [row], self.columns)
        try:
            fields = {field.name: field.dataType for field in self.model.transform(given).schema}
        except Exception as error:
            if not is_from_java(error):
                raise
            return ()  # a stage wants a type that nobody can guess
        self.results = [name for name in self.results if name in fields] or [
            name for name in fields if name not in row
        ]
        return tuple(_spec(name, fields[name]) for name in self.results)

    def frame(self, rows: Sequence[dict[str, Any]]) -> Any:
        """A DataFrame of ``rows``, checked against what the model reads."""
        return frame(self.spark, rows, self.columns)

    def transform(self, data: Any) -> Any:
        """The DataFrame ``data`` with what the model adds. Nothing is computed yet.

        Raises:
            InvalidTensorError: it lacks a column, or one has another type.
        """
        try:
            return counted(self.model.transform(data), count_of(data))
        except Exception as error:
            if not blames_input(error):
                raise
            came = ", ".join(f"{name} {kind}" for name, kind in data.dtypes)
            expected = ", ".join(map(str, self.columns))
            raise InvalidTensorError(
                f"the model reads {expected} and cannot take {came}: {reason(error)}",
                expected=expected,
                got=came,
            ) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        columns = [array.tolist() for array in feeds.values()]
        rows = [dict(zip(feeds, values, strict=True)) for values in zip(*columns, strict=True)]
        answers = listed(self.transform(self.frame(rows)), self.results)
        return {name: [answer[name] for answer in answers] for name in self.results}

    def warm_up(self) -> None:
        row = {column.name: column.smallest() for column in self.columns}
        for _ in range(3):  # the first two cost several times what the others do
            listed(self.transform(self.frame([row])), self.results)

    def close(self) -> None:
        session.release(self)


def class_of(folder: Path) -> str:
    """The Python class of what was saved in ``folder``, from its metadata.

    Raises:
        ModelFileError: the folder is not one that ``save`` has written, or is of another library.
    """
    try:
        (file,) = folder.glob(METADATA)
        with file.open(encoding="utf-8") as lines:
            name = str(json.loads(lines.readline())["class"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelFileError(
            f"{folder}: expected a folder that model.save() of pyspark.ml has written, with the "
            "file metadata/part-00000 in it; copy the whole folder"
        ) from None
    if name.startswith("org.apache.spark.mllib."):
        raise ModelFileError(
            f"{folder}: {name} is of the older API on RDDs, which has no pipeline: load it in a "
            "script with self.spark.sparkContext, or train it with pyspark.ml"
        )
    if not name.startswith(("org.apache.spark.ml.", "pyspark.ml.")):
        raise ModelFileError(f"{folder}: {name} is not a class of pyspark.ml; load it in a script")
    return name.replace("org.apache.spark", "pyspark")


def _loaded(folder: Path, class_name: str) -> Any:
    module, _, name = class_name.rpartition(".")
    cls = getattr(importlib.import_module(module), name, None) if module else None
    # CrossValidatorModel and its like hold a model; estimators are what is yet to be fitted.
    if not (isinstance(cls, type) and issubclass(cls, Model | PipelineModel | Transformer)):
        raise ModelFileError(
            f"{folder}: a {name} is not a fitted model; fit it, and save what that returns"
        )
    try:
        return cls.load(f"file://{folder}")  # type: ignore[attr-defined]
    except Exception as error:  # of a stage in it, whatever that raises
        raise ModelFileError(f"{folder}: {name} cannot be loaded: {reason(error)}") from error


def _spec(name: str, kind: Any) -> TensorSpec:
    if isinstance(kind, VectorUDT):
        return TensorSpec(name, ("N", None), "float64")
    if isinstance(kind, ArrayType):
        return TensorSpec(name, ("N", None), STRING)
    known = {"double": "float64", "bigint": "int64", "int": "int32", "boolean": "bool"}
    dtype = known.get(kind.simpleString(), "object")
    return TensorSpec(name, ("N",), STRING if isinstance(kind, StringType) else dtype)
