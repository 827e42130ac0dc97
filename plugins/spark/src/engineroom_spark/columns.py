"""What a saved model reads and what it adds, from the parameters of its stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from engineroom.values import STRING, TensorSpec

NUMBER, WORD, NUMBER_OR_WORD = "a number", "a string", "a string or a number"
VECTOR, WORDS, ANYTHING = "a list of numbers", "a list of strings", "a value"

# What the stages of pyspark.ml take; one that is not here takes ANYTHING, until Spark refuses it.
# Source: transformSchema of each class, https://spark.apache.org/docs/latest/ml-features.html
KINDS = {
    NUMBER: "VectorAssembler Imputer ImputerModel Bucketizer Binarizer OneHotEncoderModel ALSModel "
    "IsotonicRegressionModel",
    WORD: "Tokenizer RegexTokenizer",
    NUMBER_OR_WORD: "StringIndexerModel FeatureHasher",
    WORDS: "HashingTF CountVectorizerModel NGram StopWordsRemover Word2VecModel FPGrowthModel",
    VECTOR: "IDFModel StandardScalerModel MinMaxScalerModel MaxAbsScalerModel RobustScalerModel "
    "Normalizer PCAModel PolynomialExpansion DCT VectorIndexerModel VectorSlicer "
    "ElementwiseProduct ChiSqSelectorModel UnivariateFeatureSelectorModel "
    "VarianceThresholdSelectorModel",
}
BY_STAGE = {name: kind for kind, names in KINDS.items() for name in names.split()}

READ = ("inputCol", "inputCols", "featuresCol", "userCol", "itemCol", "itemsCol")
ADDED = ("outputCol", "outputCols")
RESULTS = ("predictionCol", "probabilityCol", "topicDistributionCol")
INTERNAL = ("rawPredictionCol", "leafCol")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that the model reads."""

    name: str
    kind: str
    size: int | None = None
    """Of a vector, where the model says it."""
    example: Any = None
    """A value that the model knows."""

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    @property
    def spec(self) -> TensorSpec:
        """``(N,) float64``; numbers may also come as integers."""
        if self.kind == ANYTHING:
            return TensorSpec(self.name, None, "object")
        dtype = "float64" if self.kind in (NUMBER, VECTOR) else STRING
        shape = ("N", self.size) if self.kind in (VECTOR, WORDS) else ("N",)
        return TensorSpec(self.name, shape, dtype)

    def smallest(self) -> Any:
        """A value for a warm-up."""
        if self.example is not None:
            return self.example
        return {NUMBER: 0.0, VECTOR: [0.0] * (self.size or 1), WORDS: [""]}.get(self.kind, "")


def stages_of(model: Any) -> list[Any]:
    """The stages of a pipeline, those of pipelines inside it among them; a model alone is one."""
    inner = getattr(model, "stages", None)
    if inner is None:
        return [getattr(model, "bestModel", model)]
    return [stage for part in inner for stage in stages_of(part)]


def without_labels(stages: Sequence[Any]) -> list[Any]:
    """The stages but those that index the labels of a training, whose column no request has.

    They are the indexers whose output no later stage reads. Spark does without some of them itself.
    """

    def is_read(index: int) -> bool:
        later = {name for stage in stages[index + 1 :] for name in _names(stage, READ)}
        return not later or bool(later.intersection(_names(stages[index], ADDED)))

    return [
        stage
        for index, stage in enumerate(stages)
        if type(stage).__name__ != "StringIndexerModel" or is_read(index)
    ]


def read_columns(stages: Sequence[Any]) -> tuple[Column, ...]:
    """The columns that a request has to bring, in the order in which the stages read them."""
    made: set[str] = set()
    found: dict[str, Column] = {}
    for stage in stages:
        for place, name in enumerate(_names(stage, READ)):
            if name not in made and (name not in found or found[name].kind == ANYTHING):
                found[name] = _column(stage, name, place)
        made.update(_names(stage, ADDED + RESULTS + INTERNAL))
        if stage.hasParam("formula"):
            made.update(_names(stage, ("featuresCol", "labelCol")))
    return tuple(found.values())


def result_columns(stages: Sequence[Any]) -> list[str]:
    """The columns to answer with: predictions of any stage, and what the last one makes."""
    names = [name for stage in stages for name in _names(stage, RESULTS)]
    return list(dict.fromkeys([*names, *_names(stages[-1], ADDED)])) if stages else []


def _names(stage: Any, params: Sequence[str]) -> Iterator[str]:
    for param in params:
        # A formula's features are what it makes.
        if param == "featuresCol" and params is READ and stage.hasParam("formula"):
            continue
        if stage.hasParam(param) and stage.isDefined(param):
            value = stage.getOrDefault(param)
            yield from [value] if isinstance(value, str) else value


def _column(stage: Any, name: str, place: int) -> Column:
    kind = BY_STAGE.get(type(stage).__name__, ANYTHING)
    size, example = None, None
    if stage.hasParam("featuresCol") and stage.getOrDefault("featuresCol") == name:
        if kind == ANYTHING:
            kind = VECTOR
        size = getattr(stage, "numFeatures", None)
    if kind == NUMBER_OR_WORD and hasattr(stage, "labelsArray"):
        labels = stage.labelsArray[place] if place < len(stage.labelsArray) else ()
        example = labels[0] if labels else None
    return Column(name, kind, size if isinstance(size, int) and size > 0 else None, example)
