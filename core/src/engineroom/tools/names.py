"""Looks up every name that a package takes from a library, whether a request has come by it or not.

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

from engineroom.findings import Finding
from engineroom.package import Package

ASK = "getattr(value, name)"


def missing_names(package: Package) -> Iterator[Finding]:
    """The names that the package's code asks of imported libraries and that do not exist.

    Call it when the script has been loaded: only what has been imported is looked at.
    """
    files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
    for file in sorted(filter(package.owns, files)):
        with contextlib.suppress(SyntaxError, ValueError, OSError):
            yield from _missing(ast.parse(Path(file).read_bytes(), file), Path(file))


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
