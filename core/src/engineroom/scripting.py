"""Loads a ``customize_service.py`` and makes its service.

While a script runs, and only then, these exist: the modules of the contract (``model_service.*``,
``log``, ``metric.metrics_manager``), its folders on ``sys.path``, and its working directory.
Source: ModelArts contract, "Parent classes" and "Loading environment".
"""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import threading
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from engineroom.adapting import Libraries
from engineroom.engine import Engine
from engineroom.errors import LoadError, ScriptError
from engineroom.failures import load_failure, reraise_interrupt
from engineroom.lending import Stage
from engineroom.package import Package
from engineroom.parents import Manifest, parent_named
from engineroom.plugins import Registry
from engineroom.service import STEPS, Service
from engineroom.sources import OwnLoader, OwnModules, parsed
from engineroom.surface import LENT, Surface, is_parent_module
from engineroom.threads import watched_threads
from engineroom.workplace import Workplace

MODULE = "customize_service"

_stage = threading.RLock()


class Surroundings:
    """What a script finds around itself: a context manager.

    Entering is process-wide, so only one script is on stage at a time. A process that serves one
    script calls :meth:`stay` and never leaves.
    """

    def __init__(self, registry: Registry, stage: Stage) -> None:
        self.package = package = stage.package
        self.paths = list(dict.fromkeys([str(package.folder), str(package.root)]))
        self.surface = Surface(registry, self.paths)
        self.libraries = Libraries(registry, stage)
        self.stage = stage
        self._own = OwnModules(stage, self.paths)
        # What the process has imported under these names is not what the script would import.
        self._names = {MODULE, *LENT, *_modules_in([package.folder, package.root])}
        self._depth = 0
        self._stays = False
        self._modules: dict[str, types.ModuleType] = {}
        self._workplace: Workplace | None = None

    # --- on stage

    def __enter__(self) -> None:
        if self._stays:
            return
        _stage.acquire()
        try:
            _ = self.libraries.adapters  # imports plugins, which is not to come by find_spec
            if self._depth == 0:
                self._cwd, self._argv = os.getcwd(), sys.argv
                self._set_up()
        except BaseException:
            _stage.release()
            raise
        self._depth += 1
        if self._depth == 1:
            self.libraries.adapt_imported()

    def __exit__(self, *_: object) -> None:
        if self._stays:
            return
        self._depth -= 1
        try:
            if self._depth == 0:
                self._tear_down()
        finally:
            _stage.release()

    def stay(self) -> None:
        """Enter for good: for a process that belongs to this package."""
        self.__enter__()
        self._stays = True

    def close(self) -> None:
        """Remove the script's working directory."""
        if self._workplace is not None:
            if self._stays:
                os.chdir(self.package.root)
            self._workplace.close()
            self._workplace = None

    def _set_up(self) -> None:
        if self._workplace is None:
            self._workplace = Workplace(self.package)
        os.chdir(self._workplace.path)
        aside = {name for name in self._names if name in sys.modules and self._is_another(name)}
        self._aside = {
            name: sys.modules.pop(name)
            for name in list(sys.modules)
            if name.partition(".")[0] in aside
        }
        self._before = set(sys.modules)
        sys.modules.update(self._modules)
        sys.path[:0] = self.paths
        # What Python has built in comes before what a package brings.
        before = sys.meta_path.index(importlib.machinery.PathFinder)
        sys.meta_path.insert(before, self._own)
        sys.meta_path[:0] = (self.libraries, self.surface)
        sys.argv = [str(self.package.script)]  # some scripts parse it when they are imported

    def _tear_down(self) -> None:
        # First of all, and before one of them goes: a folder's place is looked up on sys.path, or
        # asked of its parent.
        new = {name: sys.modules.get(name) for name in set(sys.modules) - self._before}
        own = [name for name, module in new.items() if module and self._owns(name, module)]
        self._modules.update((name, sys.modules.pop(name)) for name in own)
        sys.modules.update(self._aside)
        os.chdir(self._cwd)
        sys.argv = self._argv
        for finder in (self.libraries, self.surface, self._own):
            sys.meta_path.remove(finder)
        for path in self.paths:
            with contextlib.suppress(ValueError):  # the script may have taken it off itself
                sys.path.remove(path)

    def _owns(self, name: str, module: types.ModuleType) -> bool:
        if name.partition(".")[0] in LENT or self.libraries.moved(name) is not None:
            return True
        return any(self.package.owns(f"{place}{os.sep}") for place in _places(module))

    def _is_another(self, name: str) -> bool:
        """Whether the module ``name`` of this process hides the package's; a library stays."""
        if name in (MODULE, *LENT):
            return True
        places = _places(sys.modules[name])
        return name not in sys.stdlib_module_names and not any(
            "site-packages" in place or self.package.owns(place) for place in places
        )


def _places(module: types.ModuleType) -> list[str]:
    # A folder without __init__.py has no file, but its place.
    return [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]


def _modules_in(folders: Iterable[Path]) -> set[str]:
    """The names of the modules and packages in ``folders``, but for ``__init__`` and its like."""
    files = {path.stem for folder in folders for path in folder.glob("*.py")}
    names = files | {file.parent.name for it in folders for file in it.glob("*/__init__.py")}
    return {name for name in names if name[:2] != "__" and name[:10] != "engineroom"}


def imported_parent(package: Package) -> str | None:
    """The module of the parent class that a script, or one beside it, imports; nothing is run.

    Raises:
        ScriptError: the script is not Python.
    """
    if package.script is None:
        return None
    found = _parent_modules(parsed(package.script))
    for path in () if found else sorted(package.folder.glob("*.py")):
        with contextlib.suppress(ScriptError):  # the script may never import it
            found = found or _parent_modules(parsed(path))
    return found[0] if found else None


def _parent_modules(tree: ast.Module) -> list[str]:
    """The modules of parent classes that ``tree`` imports; those it derives from come first."""
    known = dict(_imported_parents(tree))
    bases = [
        ast.unparse(base)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    ]
    used = {known.get(base) or known.get(base.rpartition(".")[0]) for base in bases}
    return sorted(dict.fromkeys(known.values()), key=lambda module: module not in used)


def _imported_parents(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The names under which a parent class or its module is known, and that module."""
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            shown = alias.asname or alias.name
            origin = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
            if is_parent_module(origin):
                parent = parent_named(origin) if shown == "*" else None
                yield parent.name.rpartition(".")[2] if parent else shown, origin
            elif isinstance(node, ast.ImportFrom) and is_parent_module(f"{origin}.{alias.name}"):
                yield shown, f"{origin}.{alias.name}"


def make_service(surroundings: Surroundings, name: str, path: str, engine: Engine) -> Service:
    """Run the script, construct its service, wait for the threads it starts. Call it on stage.

    The constructor is given ``name`` and ``path``, as the ``engine`` of its parent class has it.

    Raises:
        ScriptError: the script fails, has no service class or several, or its constructor or one
            of its threads fails.
    """
    package, refusing = surroundings.package, surroundings.libraries.refusing
    with refusing(), watched_threads(package, surroundings.stage.settings.load_timeout_s):
        with refusing():  # before the constructor runs
            cls = _load_class(surroundings, engine)
        arguments = _arguments(cls, name, path, engine.path_alone)
        try:
            service = cls(*arguments.values())
        except BaseException as error:
            reraise_interrupt(error)
            if isinstance(error, LoadError):
                raise
            what = f"class {cls.__name__} could not be made"
            raise load_failure(what, error, package, **arguments) from error
    for key, value in (("model_name", name), ("model_path", path)):
        if getattr(cls, key, None) == getattr(Service, key):  # the script has no such default
            vars(service).setdefault(key, value)
    return service


def _load_class(surroundings: Surroundings, engine: Engine) -> type[Service]:
    package, script = surroundings.package, surroundings.package.script
    loader = OwnLoader(MODULE, str(script), surroundings.stage)
    spec = importlib.util.spec_from_file_location(MODULE, script, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        loader.exec_module(module)
    except BaseException as error:
        reraise_interrupt(error)
        if isinstance(error, LoadError):
            raise
        raise load_failure("importing the script failed", error, package) from error
    return _service_class(module, package, surroundings.surface.parents, engine)


def _service_class(
    module: types.ModuleType, package: Package, parents: Sequence[type[Service]], engine: Engine
) -> type[Service]:
    classes = [value for value in vars(module).values() if inspect.isclass(value)]
    services = [c for c in classes if issubclass(c, Service) and c not in (Service, *parents)]
    leaves = [c for c in services if not any(o is not c and issubclass(o, c) for o in services)]
    own = [c for c in leaves if c.__module__ == MODULE]
    leaves = list(dict.fromkeys(own or leaves))
    if len(leaves) == 1:
        return leaves[0]
    if leaves:
        found = " and ".join(f"{c.__name__} (line {_line(c)})" for c in leaves)
        raise ScriptError(
            f"{package.script}: expected one service class, found {found}; "
            "keep one, or make one the parent of the other"
        )
    alike = [c.__name__ for c in classes if any(step in vars(c) for step in STEPS)]
    found = f"found {', '.join(alike)} without such a parent" if alike else "found none"
    parent = engine.parent.rpartition(".")[2]
    raise ScriptError(
        f"{package.script}: expected one class whose parent comes from model_service, {found}; "
        f"write: {engine.import_line} and class {(alike or ['Service'])[0]}({parent})"
    )


def _line(cls: type) -> int | str:
    try:
        return inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return "?"


def _arguments(cls: type[Service], name: str, path: str, path_alone: bool) -> dict[str, Any]:
    """What the constructor is given, in this order: the path alone, or the name and the path."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if path_alone:  # the engine's own habit, which a script may not share
        count = max(1, sum(p.default is p.empty for p in by_place))
    else:
        count = 4 if takes_any else len(by_place)
    if count < 2:
        return {"model_path": path} if count else {}
    # MXNet's parent takes a manifest and a GPU, too.
    both: dict[str, Any] = {"model_name": name, "model_path": path, "manifest": {}, "gpu": None}
    return dict(list(both.items())[: count if issubclass(cls, Manifest) else 2])
