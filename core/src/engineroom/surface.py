"""What a script can import that no installed library has: the modules of the contract.

They exist while a script runs and are never installed.
Source: ModelArts contract, "Parent classes".
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import types
from collections.abc import Sequence
from typing import Any

from engineroom.errors import EngineError
from engineroom.plugins import Registry
from engineroom.service import Service

LENT = ("model_service", "log", "metric", "mms")
"""The top-level names."""
PACKAGES = ("model_service", "metric", "mms", "mms.model_service", "mms.utils", "mms.utils.mxnet")
MODULES = {
    "log": "engineroom.lent.log",
    "model_service.log": "engineroom.lent.log",
    "mms.log": "engineroom.lent.log",
    "mms.utils.mxnet.image": "engineroom.lent.image",
    "mms.utils.mxnet.ndarray": "engineroom.lent.ndarray",
}
"""Where the public names of a lent module come from."""
METRICS = ("metric.metrics_manager", "mms.metrics_manager")
PARENTS_IN = ("model_service.", "mms.model_service.")


def is_parent_module(name: str) -> bool:
    """Whether a module of this name holds a parent class, if there is one."""
    return name.startswith(PARENTS_IN) and name not in MODULES


class Surface(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and fills the lent modules."""

    def __init__(self, registry: Registry, paths: Sequence[str] = ()) -> None:
        """``paths`` are the script's own folders, whose modules win."""
        self.registry, self.paths = registry, list(paths)
        self.parents: list[type[Service]] = []
        """The parent classes that the script has imported."""
        self.metrics: dict[str, Any] = {}
        """``MetricsManager.metrics``."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: types.ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a lent module; None for the others."""
        top = name.partition(".")[0]
        if top not in LENT:
            return None
        if top != "model_service":
            # A module of this name in the package wins; a folder of logs is none.
            own = importlib.machinery.PathFinder.find_spec(top, self.paths)
            if own is not None and own.has_location:
                return None
        if name in PACKAGES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if name in MODULES or name in METRICS or self._parent(name) is not None:
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill a lent module."""
        name = module.__name__
        if name in MODULES:
            source = importlib.import_module(MODULES[name])
            vars(module).update({key: getattr(source, key) for key in source.__all__})
        elif name in METRICS:
            vars(module)["MetricsManager"] = type("MetricsManager", (), {"metrics": self.metrics})
        elif parent := self._parent(name):
            self.parents.append(parent)
            vars(module)[parent.__name__] = parent

    def _parent(self, module: str) -> type[Service] | None:
        """The parent class that lives in the module ``model_service.<…>``.

        Raises:
            ModuleNotFoundError: none does; the message says which there are.
        """
        if not is_parent_module(module):
            return None
        try:
            return self.registry.engine_with_parent(module).service_class()
        except EngineError as error:
            raise ModuleNotFoundError(str(error), name=module) from None
