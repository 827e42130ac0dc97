"""Loads a model file on a device and runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# Private, and where it was in 2017: the way back into eager mode has no public name.
from tensorflow.python.eager.context import eager_mode

from engineroom.engine import Predictor
from engineroom.errors import InvalidTensorError
from engineroom.values import Array, Device, TensorSpec
from engineroom_tensorflow import formats
from engineroom_tensorflow.device import start


class TensorFlowPredictor(Predictor):
    """A graph, ready to be called. Safe to call from several threads at once."""

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        with _eagerly():
            self._place = start(tf, device, threads)
            with tf.device(self._place):
                self._graph = formats.read(path)
        self.device = device
        self.inputs, self.outputs = self._graph.inputs, self._graph.outputs

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            with _eagerly(), tf.device(self._place):
                results = self._graph.call([tf.constant(feeds[it.name]) for it in self.inputs])
                return {spec.name: _array(results[spec.name]) for spec in self.outputs}
        except tf.errors.InvalidArgumentError as error:
            # A size that the declared shape left open and the layers inside do not, or a value
            # out of range, such as an index beyond an embedding.
            raise self.refusal(feeds, formats.text(error)) from error

    def warm_up(self) -> None:
        super().warm_up()
        # A graph is prepared twice: for its first shape, then once for whatever shapes follow.
        with contextlib.suppress(InvalidTensorError):
            larger = {spec.name: _larger(spec) for spec in self.inputs}
            for _ in range(3):  # and the calls after that still get faster
                self.run(larger)


def _eagerly() -> contextlib.AbstractContextManager[Any]:
    """Eager mode, also where a script for TensorFlow 1 has left it."""
    return contextlib.nullcontext() if tf.executing_eagerly() else eager_mode()


def _larger(spec: TensorSpec) -> Array:
    """The smallest value of ``spec`` with 2 for its batch, if that is open."""
    smallest = spec.smallest()
    is_open = spec.shape and spec.shape[0] is None
    return np.repeat(smallest, 2, axis=0) if is_open else smallest


def _array(tensor: Any) -> Array:
    array = np.asarray(tensor.numpy())
    if tensor.dtype == tf.bfloat16:
        return array.astype(np.float32)
    return _decoded(array) if tensor.dtype == tf.string else array


def _decoded(array: Array) -> Array:
    """An array of bytes as one of text, where it is text."""
    try:
        texts = [value.decode() for value in array.ravel().tolist()]
    except UnicodeDecodeError:
        return array
    return np.array(texts, dtype=object).reshape(array.shape)
