"""Reads the three kinds of model file, each into a :class:`Graph` that can be called."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from engineroom.errors import ModelFileError
from engineroom.values import STRING, TensorSpec

Tensors: TypeAlias = Sequence[Any]

SAVED_MODEL = "saved_model.pb"
DEFAULT = "serving_default"
SERVE = ["serve"]
VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}

TRACE = re.compile(r"Graph execution error|Detected at node|<stack traces|\s+File \"|\s*\[\[")
INNER = re.compile(r"\{\{.*?\}\}|\[Op:.*?\]")
LONGEST = 300


@dataclasses.dataclass(frozen=True)
class Graph:
    """What a model file holds: ``call`` takes one tensor per input and gives tensors by name."""

    call: Callable[[Tensors], dict[str, Any]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    owner: Any
    """Holds the variables, which live as long as it does: functions do not keep them alive."""


def read(path: Path) -> Graph:
    """The model in the file ``path``.

    Raises:
        ModelFileError: with what is wrong with it, and what to do.
    """
    if path.suffix == ".keras":
        return _keras(path)
    return _saved_model(path) if path.name == SAVED_MODEL else _frozen(path)


# --- SavedModel


def _saved_model(path: Path) -> Graph:
    tags, key = _choice(path)
    try:
        loaded = tf.saved_model.load(str(path.parent), tags=tags)
    except Exception as error:  # whatever the restoring of one of its objects raises
        hint = f"; {path.parent / 'variables'} is missing, copy it from where the model was saved"
        raise ModelFileError(
            f"{path}: this SavedModel cannot be loaded with the files beside it: {_named(error)}"
            + hint * (not path.with_name("variables").is_dir())
        ) from error
    function = loaded.signatures[key]
    declared = function.structured_input_signature[1]
    inputs = tuple(_spec(path, f"input {name!r}", name, it) for name, it in declared.items())
    outputs = _outputs(path, function.structured_outputs)
    names = list(declared)

    def call(tensors: Tensors) -> dict[str, Any]:
        results: dict[str, Any] = function(**dict(zip(names, tensors, strict=True)))
        return results

    if all(name.isidentifier() for name in names):
        return Graph(call, inputs, outputs, loaded)
    # TensorFlow would log a warning about such a name at every call.
    traced = tf.function(lambda *tensors: call(tensors)).get_concrete_function(*declared.values())
    return Graph(lambda tensors: traced(*tensors), inputs, outputs, loaded)


def _choice(path: Path) -> tuple[list[str], str]:
    """The tags and the signature to load."""
    saved = SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelFileError(
            f"{path}: not a SavedModel, or a truncated one ({path.stat().st_size} bytes); "
            "copy the whole folder again"
        ) from error
    graphs = {tuple(sorted(g.meta_info_def.tags)): g for g in saved.meta_graphs}
    if not graphs:
        raise ModelFileError(
            f"{path}: this SavedModel holds no graph; a frozen graph must have another file name"
        )
    tags = tuple(SERVE) if tuple(SERVE) in graphs else next(iter(graphs))
    if len(graphs) > 1 and tags != tuple(SERVE):
        found = " and ".join(f"{{{', '.join(tags)}}}" for tags in graphs)
        raise ModelFileError(
            f"{path}: expected one graph, or one tagged {{serve}}; found the tags {found}"
        )
    # Those that begin with two underscores are TensorFlow's own.
    keys = sorted(key for key in graphs[tags].signature_def if not key.startswith("__"))
    if not keys:
        raise ModelFileError(
            f"{path}: this SavedModel has no signature, so nothing says what goes in and comes "
            "out; save it with tf.saved_model.save(model, folder, signatures=…)"
        )
    if len(keys) > 1 and DEFAULT not in keys:
        raise ModelFileError(
            f"{path}: expected one signature, or one called {DEFAULT!r}; found {', '.join(keys)}"
        )
    return list(tags), keys[0] if len(keys) == 1 else DEFAULT


# --- Keras


def _keras(path: Path) -> Graph:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelFileError(
            f"{path}: Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=tensorflow"
        )
    if not zipfile.is_zipfile(path):
        raise ModelFileError(
            f"{path}: not a .keras file, or not all of one ({path.stat().st_size} bytes); copy it "
            "again, or save the model anew with Keras 3"
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ModelFileError(
            f"{path}: Keras {keras.__version__} cannot load this file: {_named(error)}; a model "
            "with code of your own can be served as a folder written by model.export(folder)"
        ) from error
    # A model that has none yet may raise for it.
    inputs = list(getattr(model, "inputs", None) or ())
    if not inputs:
        raise ModelFileError(
            f"{path}: this model was saved before it knew its inputs; call it once or build it, "
            "then save it again"
        )
    # A Sequential model takes its one tensor as it is; others the structure they were made with.
    structure = inputs[0] if isinstance(model, keras.Sequential) else model.input

    def run(*tensors: Any) -> dict[str, Any]:
        result = model(keras.tree.pack_sequence_as(structure, tensors), training=False)
        if isinstance(result, dict):
            return result
        values = keras.tree.flatten(result)
        names = list(getattr(model, "output_names", None) or [model.layers[-1].name])
        if len(set(names)) != len(values):
            names = [f"output_{index}" for index in range(len(values))]
        return dict(zip(names, values, strict=True))

    declared = [tf.TensorSpec(it.shape, it.dtype, name=it.name) for it in inputs]
    try:
        function = tf.function(run).get_concrete_function(*declared)
    except Exception as error:  # a layer that cannot be traced
        raise ModelFileError(f"{path}: this model cannot be called: {_named(error)}") from error
    return Graph(
        lambda tensors: function(*tensors),
        tuple(_spec(path, f"input {it.name!r}", it.name, it) for it in declared),
        _outputs(path, function.structured_outputs),
        owner=model,
    )


# --- frozen graph


def _frozen(path: Path) -> Graph:
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelFileError(
            f"{path}: not a graph, or a truncated one ({path.stat().st_size} bytes); a SavedModel "
            f"must be a folder with {SAVED_MODEL} and variables/"
        ) from error
    variables = [node.name for node in definition.node if node.op in VARIABLES]
    if variables or not definition.node:
        found = f"variables ({variables[0]}, …)" if variables else "no operations"
        raise ModelFileError(
            f"{path}: expected a frozen graph, with its weights inside; found {found}; save the "
            "model as a SavedModel folder"
        )
    try:
        whole = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(definition, name=""), []
        )
        operations = [whole.graph.get_operation_by_name(node.name) for node in definition.node]
    except Exception as error:
        raise ModelFileError(f"{path}: not a graph that can be run: {_named(error)}") from error
    feeds = {op.name: op.outputs[0] for op in operations if op.type == "Placeholder"}
    # What nobody inside takes, the world outside must want.
    sinks = [
        op
        for op in operations
        if op.outputs
        and not op.type.startswith(("Placeholder", "Const"))
        and not any(out.consumers() for out in op.outputs)
    ]
    fetches = {
        op.name if len(op.outputs) == 1 else f"{op.name}:{out.value_index}": out
        for op in sinks
        for out in op.outputs
    }
    if not fetches:
        raise ModelFileError(f"{path}: this graph has no output: it holds constants only")
    function = whole.prune(list(feeds.values()), fetches)
    return Graph(
        lambda tensors: function(*tensors),
        tuple(_spec(path, f"input {name!r}", name, it) for name, it in feeds.items()),
        _outputs(path, fetches),
        owner=whole,
    )


# --- what goes in and comes out


def _outputs(path: Path, structure: dict[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(_spec(path, f"output {name!r}", name, value) for name, value in structure.items())


def _spec(path: Path, what: str, name: str, value: Any) -> TensorSpec:
    """For a dense tensor, or anything that describes one by ``shape`` and ``dtype``."""
    if not isinstance(value, tf.Tensor | tf.TensorSpec):
        raise ModelFileError(f"{path}: {what} is a {type(value).__name__}; only dense tensors work")
    dtype = value.dtype
    if dtype.is_quantized or dtype in (tf.resource, tf.variant):
        raise ModelFileError(f"{path}: {what} is a {dtype.name}, which a request cannot hold")
    shape = None if value.shape.rank is None else tuple(value.shape.as_list())
    return TensorSpec(name, shape, STRING if dtype == tf.string else dtype.name)


def text(error: Exception) -> str:
    """An error of TensorFlow in one line, without its graph's inner names and stack traces."""
    message = str(getattr(error, "message", None) or error)
    lines = [line for line in message.splitlines() if not TRACE.match(line)]
    return " ".join(INNER.sub("", " ".join(lines or [message])).split())[:LONGEST]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {text(error)}"
