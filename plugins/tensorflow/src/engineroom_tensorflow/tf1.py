"""Lends scripts written for TensorFlow 1 the names that TensorFlow 2 keeps in ``tf.compat.v1``."""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
from types import ModuleType
from typing import Any

from engineroom.lending import lend

log = logging.getLogger("engineroom")

APART = {"compat", "keras"}
"""Namespaces that stay as they are."""

# What TensorFlow 2 refuses, or does otherwise, unless there is a graph to add to.
NEEDS_GRAPH = {
    "tf.placeholder", "tf.sparse_placeholder", "tf.get_variable", "tf.GraphDef", "tf.train.Saver",
    "tf.train.import_meta_graph", "tf.train.export_meta_graph", "tf.summary.merge_all",
}  # fmt: skip


# What scripts around a Keras model enter, which runs eagerly today: `with graph.as_default():`.
TAKES_GRAPH = {"tf.get_default_graph", "tf.Session", "tf.InteractiveSession"}
_default_graphs: collections.deque[Any] = collections.deque(maxlen=16)


def lend_names(tf: Any) -> None:
    """For ``tf`` and each namespace in it: what the same namespace of ``tf.compat.v1`` has more.

    A script that calls one of ``NEEDS_GRAPH`` outside any graph was written for graphs: from then
    on its process builds graphs by default, as all of TensorFlow 1 did.
    """

    def lend_from(module: ModuleType, old: ModuleType, path: str) -> None:
        def find(name: str) -> tuple[Any, str] | None:
            try:
                value = getattr(old, name)
            except AttributeError:
                return None
            shown = f"{path}.{name}"
            if shown == "tf.saved_model.loader":
                value = _loader(value)
            if shown in TAKES_GRAPH:
                _stay_eager(tf)
            if shown in NEEDS_GRAPH:
                value = _for_graphs(tf, value, shown)
            return value, f"tf.compat.v1{shown[2:]}"

        lend(module, find, path)
        for name in list(vars(module)):
            inner, mate = vars(module)[name], vars(old).get(name)
            if name[0] == "_" or name in APART or mate is inner:
                continue
            if isinstance(inner, ModuleType) and isinstance(mate, ModuleType):
                lend_from(_loaded(module, name), mate, f"{path}.{name}")

    lend_from(tf, tf.compat.v1, "tf")


def _stay_eager(tf: Any) -> None:
    """Let this thread's default graph be entered without leaving eager mode, while that is on."""
    if tf.executing_eagerly():
        _default_graphs.append(tf.compat.v1.get_default_graph())
    enter = tf.Graph.as_default

    def as_default(graph: Any) -> Any:
        is_ours = any(graph is known for known in _default_graphs)
        return contextlib.nullcontext(graph) if is_ours and tf.executing_eagerly() else enter(graph)

    if enter.__module__ != __name__:
        tf.Graph.as_default = as_default


def _for_graphs(tf: Any, old: Any, shown: str) -> Any:
    """``old``, which is called for the first time outside a graph: graphs it is from then on."""

    @functools.wraps(old)
    def call(*args: Any, **kwargs: Any) -> Any:
        if tf.executing_eagerly():
            log.info("the script uses %s outside a graph: eager mode is off from here", shown)
            tf.compat.v1.disable_eager_execution()
        return old(*args, **kwargs)

    return call


def _loader(old: ModuleType) -> ModuleType:
    """``tf.saved_model.loader``, with a ``load`` that tells of no signature but the model's own.

    TensorFlow 2 writes one for the initialisation as well, and scripts go by the number of them.
    """
    new = ModuleType(old.__name__, old.__doc__)
    vars(new).update({name: getattr(old, name) for name in dir(old) if name[:2] != "__"})

    @functools.wraps(vars(new)["load"])
    def load(*args: Any, **kwargs: Any) -> Any:
        graph = vars(old)["load"](*args, **kwargs)
        for key in [key for key in graph.signature_def if key.startswith("__")]:
            del graph.signature_def[key]
        return graph

    vars(new)["load"] = load
    return new


def _loaded(module: ModuleType, name: str) -> ModuleType:
    """The namespace itself, where a lazy loader stands in for one of Keras until it is used.

    ``import tensorflow`` has imported Keras before, so this costs nothing; unless it is Keras that
    is importing TensorFlow, and not ready to be looked at.
    """
    with contextlib.suppress(ImportError, AttributeError):
        dir(vars(module)[name])
    found: ModuleType = vars(module)[name]
    return found
