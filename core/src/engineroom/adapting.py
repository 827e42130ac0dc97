"""Imports libraries as a script expects them: adapted to it, and under the names they once had."""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import logging
import sys
import types
from collections.abc import Callable, Iterator, Sequence

from engineroom.errors import LoadError
from engineroom.lending import MOVED, Stage, is_in_moved, moved_module, take_over
from engineroom.old_names import ADAPTERS
from engineroom.plugins import Registry

log = logging.getLogger("engineroom")


class Libraries(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the libraries that are to be adapted to the script of ``stage``, and the moved ones."""

    def __init__(self, registry: Registry, stage: Stage) -> None:
        self.registry, self.stage = registry, stage
        self._adapted: set[str] = set()
        self._refusal: LoadError | None = None

    @functools.cached_property
    def adapters(self) -> dict[str, list[Callable[[types.ModuleType, Stage], None]]]:
        """What is to be done to a library once it is imported, by its name. Imports plugins."""
        adapters = {name: [adapt] for name, adapt in ADAPTERS.items()}
        # Of every engine: which framework a script runs its parent class does not tell.
        for engine in self.registry.usable():
            for name in engine.watches:
                adapters.setdefault(name, []).append(engine.after_import)
        return adapters

    @functools.cached_property
    def _all_moved(self) -> dict[str, str]:
        engines = self.registry.usable()
        return MOVED | {old: new for engine in engines for old, new in engine.moved.items()}

    def moved(self, name: str) -> str | None:
        """The module that scripts get for ``name``, which is gone; None for the others."""
        return moved_module(name, self._all_moved)

    def adapt_imported(self) -> None:
        """Adapt what others have imported already."""
        for name in self.adapters:
            if (module := sys.modules.get(name)) is not None:  # None: nobody is to import it
                self._adapt(module)

    def _adapt(self, module: types.ModuleType) -> None:
        name = module.__name__
        if name in self._adapted:
            return
        self._adapted.add(name)
        for adapt in self.adapters.get(name, ()):  # another may stand under the name
            # Nothing is raised here: an import that fails half way leaves a library that cannot be
            # imported again.
            try:
                adapt(module, self.stage)
            except LoadError as error:
                self._refusal = self._refusal or error
            except Exception:
                log.warning("%s was not adapted to the script", name, exc_info=True)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Raise what an adapter has had against the script's use of a library once this block is
        done, also in the place of what that use has led to.

        Raises:
            LoadError: the first of them.
        """
        try:
            yield
        finally:
            if self._refusal is not None:
                raise self._refusal

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a library that is to be adapted or has moved; None for the others."""
        if name in self.adapters:
            if self._stand_in(name) is None:
                return self._adapted_spec(name, path, target)
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if self.stage.settings.lent_names and self.moved(name) is not None:
            # Inside a moved package the others would find its files, and load them twice.
            found = None if is_in_moved(name) else self._spec_of_others(name, path, target)
            return found or importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def _stand_in(self, name: str) -> str | None:
        """The module that an engine puts in the place of one that it watches."""
        watching = [engine for engine in self.registry.usable() if name in engine.watches]
        for other in filter(None, (it.before_import(name, self.stage) for it in watching)):
            self._all_moved[name] = other
            return other
        return None

    def _spec_of_others(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None
    ) -> importlib.machinery.ModuleSpec | None:
        for finder in sys.meta_path:
            if not isinstance(finder, Libraries):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None

    def _adapted_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None
    ) -> importlib.machinery.ModuleSpec | None:
        """The library's own spec, whose loader calls the adapters when it is done."""
        spec = self._spec_of_others(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_adapt(module: types.ModuleType) -> None:
            execute(module)
            if module.__name__ == name:
                self._adapt(module)

        # This object's method: a loader of our own would have to stand for it in everything that
        # reads a module's source or its data.
        vars(spec.loader)["exec_module"] = execute_and_adapt
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill a module of an old name."""
        if moved := self.moved(module.__name__):
            if not is_in_moved(module.__name__):
                self.stage.note(module.__name__, moved)
            take_over(module, moved)
