"""Looks up every name that a package takes from elsewhere, whether a request has come by it or not.

What a library lacks and we lend is noted by the stage, as if the script had asked; what nobody has
is a finding.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from engineroom.adapting import Libraries
from engineroom.distributions import NAMES_OF_PYTHON_2
from engineroom.findings import Finding
from engineroom.imports import import_failure

ASK = "getattr(value, name)"


def missing_names(libraries: Libraries) -> Iterator[Finding]:
    """The names that the package's code asks of imported libraries and that do not exist; the
    modules that its functions import and that are not here.

    Call it on stage, when the script has been loaded: only what has been imported is looked at.
    """
    package = libraries.stage.package
    files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
    for file in sorted(filter(package.owns, files)):
        with contextlib.suppress(SyntaxError, ValueError, OSError):
            tree = ast.parse(Path(file).read_bytes(), file)
            yield from _missing(tree, Path(file))
            yield from _of_python_2(tree, Path(file))
            yield from _not_installed(tree, Path(file), libraries)


def _missing(tree: ast.Module, path: Path) -> Iterator[Finding]:
    libraries = dict(_libraries(tree))
    ask = compile(ASK, str(path), "eval")  # in the package's name, so that it is lent what it lacks
    seen: set[str] = set()
    for node in ast.walk(tree):
        root, *names = _chain(node)
        library, shown = libraries.get(root), root
        for name in names:
            if library is None:
                break
            shown += f".{name}"
            try:
                value = eval(ask, {"value": library, "name": name})
            except Exception as error:  # libraries that import late raise whatever that does
                if shown not in seen and not _is_submodule(library, name):
                    seen.add(shown)
                    line = getattr(node, "lineno", None)
                    yield Finding("warning", path, _words(shown, library, error), line)
                break
            library = value if isinstance(value, ModuleType) else None


def _not_installed(tree: ast.Module, path: Path, libraries: Libraries) -> Iterator[Finding]:
    """Modules that a step is going to import."""
    stage = libraries.stage
    guarded = _guarded(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) or id(node) in guarded:
            continue
        for module in _imported(node):
            moved = libraries.moved(module) if stage.settings.lent_names else None
            if module in sys.modules:
                continue
            if moved is not None:
                stage.note(module, moved)
            elif importlib.util.find_spec(module.partition(".")[0]) is None:
                error = ModuleNotFoundError(name=module)
                yield Finding("warning", path, import_failure(error, stage.package), node.lineno)


def _guarded(tree: ast.Module) -> set[int]:
    """The nodes, by their ids, of each ``try`` that only asks whether something is there."""
    asks = ast.Import | ast.ImportFrom | ast.Assign | ast.Expr
    guards = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and all(isinstance(line, asks) for line in node.body[:3])
    ]
    return {id(node) for guard in guards for node in ast.walk(guard)}


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if node.module and not node.level else []


def _of_python_2(tree: ast.Module, path: Path) -> Iterator[Finding]:
    """Names that only Python 2 has, unless the file has given them itself."""
    guarded = _guarded(tree)
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in guarded]
    given = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            given.add(node.asname or node.name)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            given.add(node.name)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
    for node in names:
        if node.id in NAMES_OF_PYTHON_2 and node.id not in given:
            given.add(node.id)
            words = f"{node.id!r} is a name of Python 2; today: {NAMES_OF_PYTHON_2[node.id]}"
            yield Finding("warning", path, words, node.lineno)


def _is_submodule(library: ModuleType, name: str) -> bool:
    return bool(
        "__path__" in vars(library) and importlib.util.find_spec(f"{library.__name__}.{name}")
    )


def _words(shown: str, library: ModuleType, error: Exception) -> str:
    if not isinstance(error, AttributeError):
        return f"{shown} cannot be had: {type(error).__name__}: {error}"
    top = sys.modules.get(library.__name__.partition(".")[0])
    version = getattr(top, "__version__", "")
    return f"{shown} does not exist in the installed {getattr(top, '__name__', '?')} {version}"


def _libraries(tree: ast.Module) -> Iterator[tuple[str, ModuleType]]:
    """The names under which imported modules are known, and those modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known_as = alias.asname or alias.name.partition(".")[0]
                module = sys.modules.get(alias.name if alias.asname else known_as)
                if module is not None:
                    yield known_as, module


def _chain(node: ast.AST) -> list[str]:
    """``np.random.rand`` as its parts; one empty part for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else [""]
