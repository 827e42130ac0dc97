"""Reads pickles, those of other versions too."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib

from engineroom.lending import forget, is_in_moved, moved_module, take_over
from engineroom_sklearn.reading import reading


def read_pickle(path: Path) -> Any:
    """The object in a pickle that joblib or pickle has written. Runs code that is in it.

    Raises:
        ModelFileError: it cannot be unpickled here, and what it was made with.
    """
    with _old_names(), reading(path):
        model = joblib.load(path)
    for part in [model, *(step for _, step in getattr(model, "steps", ()))]:
        _complete(part)
    return model


def _complete(model: Any) -> None:
    """Give an estimator the parameters that a newer version of its class has, at their defaults."""
    if not hasattr(model, "get_params"):
        return
    for name, parameter in inspect.signature(type(model).__init__).parameters.items():
        if parameter.default is not parameter.empty and not hasattr(model, name):
            setattr(model, name, parameter.default)


class _OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules under the names that they had when a pickle was made."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if moved_module(name) is None:
            return None
        # What there is under such a name stays.
        find = importlib.machinery.PathFinder.find_spec
        if not is_in_moved(name) and find(name, path, target):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Let it be the module of today."""
        if moved := moved_module(module.__name__):
            take_over(module, moved)


@contextlib.contextmanager
def _old_names() -> Iterator[None]:
    finder, before = _OldNames(), set(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if moved_module(name) is not None:
                forget(name)
