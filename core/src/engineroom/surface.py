"""What a script can import that no installed library has: the modules of the contract.

They exist while a script runs and are never installed.
Source: ModelArts contract, "Parent classes".
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import types
from collections.abc import Sequence
from typing import Any, ClassVar

from engineroom.engine import Engine
from engineroom.errors import EngineError
from engineroom.plugins import Registry
from engineroom.service import Service

LENT = ("model_service", "log", "metric")
"""The top-level names."""


class MetricsManager:
    """``metric.metrics_manager.MetricsManager``: scripts update the metrics that are there."""

    metrics: ClassVar[dict[str, Any]] = {}


class Surface(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and fills the lent modules."""

    def __init__(self, registry: Registry, paths: Sequence[str] = ()) -> None:
        """``paths`` are the script's own folders, whose modules win."""
        self.registry, self.paths = registry, list(paths)
        self.parents: list[type[Service]] = []
        """The parent classes that the script has imported."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: types.ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a lent module; None for the others."""
        top, _, rest = name.partition(".")
        if top not in LENT:
            return None
        if top != "model_service":
            # A module of this name in the package wins, with all that is inside it.
            own = importlib.machinery.PathFinder.find_spec(top, self.paths)
            if own is not None:
                return None if rest else own
        if name in {"model_service", "metric"}:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if name in {"model_service.log", "log", "metric.metrics_manager"} or self._engine(name):
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """None: the import system makes an ordinary module."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill a lent module."""
        name = module.__name__
        if name.rpartition(".")[2] == "log":
            public = {key: value for key, value in vars(logging).items() if key[0] != "_"}
            vars(module).update(public, get_logger=logging.getLogger)
        elif name == "metric.metrics_manager":
            vars(module)["MetricsManager"] = MetricsManager
        elif engine := self._engine(name):
            parent = engine.service_class()
            self.parents.append(parent)
            vars(module)[engine.parent.rpartition(".")[2]] = parent

    def _engine(self, module: str) -> Engine | None:
        """The engine whose parent class lives in the module ``model_service.<…>``.

        Raises:
            ModuleNotFoundError: none does; the message says what to install.
        """
        if not module.startswith("model_service."):
            return None
        try:
            return self.registry.engine_with_parent(module)
        except EngineError as error:
            raise ModuleNotFoundError(str(error), name=module) from None
