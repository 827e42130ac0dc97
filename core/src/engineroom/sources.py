"""Reads the Python files of a package: old encodings, and paths of the platform's own machines.

Nothing is written beside them: no ``__pycache__`` in a user's folder.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import linecache
import os
import re
import tokenize
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engineroom.errors import ScriptError
from engineroom.lending import Stage
from engineroom.old_calls import OldCalls, guard_unused_imports

# Where the platform put packages; scripts have these paths in their code.
# Source: ModelArts contract, "Loading environment".
PLATFORM_FOLDERS = ("/home/mind/model", "/home/ma-user/infer/model")
PLATFORM_PATH = re.compile(rf"(?:{'|'.join(PLATFORM_FOLDERS)})(?:/1)?(?=/|$)")
PYTHON_2 = re.compile(
    r"Missing parentheses in call to '(print|exec)'|multiple exception types must be|"
    r"leading zeros in decimal|invalid decimal literal.*\d[lL]\b|raise [\w.]+ *,|\w *<> *\w"
)
# What was a name until Python 3.7: an argument of PyTorch and TensorFlow at that time.
ASYNC = re.compile(r"\basync *=|\.async\b")


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ScriptError: it is not Python, with the line.
    """
    try:
        return _tree(path)
    except SyntaxError as error:
        raise ScriptError(f"{path}:{error.lineno}: {not_python(error)}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ScriptError(f"{path}: not Python: {error}") from error


def not_python(error: SyntaxError) -> str:
    """Why a file cannot be read, in words."""
    text = (error.text or "").strip()
    line = f"; line: {text}" if text else ""
    if ASYNC.search(text):
        return f"'async' is a word of Python since 3.7: write non_blocking for the argument{line}"
    if PYTHON_2.search(f"{error.msg} {error.text}"):
        what = error.msg.replace("invalid syntax", "").partition(" Did you")[0]
        what = f" ({what})" if what else ""
        return f"it is written for Python 2{what}: convert it, for example with 2to3{line}"
    return f"not Python: {error.msg}{line}"


def _tree(path: Path) -> ast.Module:
    return ast.parse(_decoded(path, path.read_bytes()), str(path))


def _decoded(path: Path, raw: bytes) -> bytes | str:
    """``raw``, or its text where Python could not decode it itself."""
    lines = iter(raw.splitlines(keepends=True))
    try:
        encoding, _ = tokenize.detect_encoding(lambda: next(lines, b""))
        raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        # Written on Chinese Windows, without the line that says so; gb18030 is GBK's superset.
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("gb18030", errors="replace")
        # Tracebacks and MindSpore read source lines from here, and could not from the file.
        linecache.cache[str(path)] = (len(raw), None, text.splitlines(keepends=True), str(path))
        return text
    return raw


def compiled(path: Path, stage: Stage) -> Any:
    """The code of a file of the package of ``stage``.

    Raises:
        SyntaxError: it is not Python.
    """
    tree = _tree(path)
    if stage.settings.lent_names:
        tree = OldCalls(stage).visit(tree)
        if path.name != "__init__.py":  # whose names others use
            guard_unused_imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = _here(node.value, f"{path}:{node.lineno}", stage)
    return compile(tree, str(path), "exec", dont_inherit=True)


def _here(text: str, place: str, stage: Stage) -> str:
    """A string constant, in which a path of the platform may mean the package's folder."""
    found = PLATFORM_PATH.match(text)
    if not found or Path(found[0]).exists():
        return text
    folder = str(stage.package.folder)
    if found[0].endswith("/1") and Path(folder, "1").is_dir():
        folder += "/1"
    if stage.settings.platform_paths:
        return folder + text[found.end() :]
    stage.warn(
        f"{place}: {text!r} is a path on the platform's machines; with "
        f"--platform-paths it means {folder}"
    )
    return text


class OwnModules(importlib.abc.MetaPathFinder):
    """Finds the package's own modules, beside its script."""

    def __init__(self, stage: Stage, paths: Sequence[str]) -> None:
        self.stage, self.paths = stage, list(paths)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a module whose file is the package's; None for the others."""
        package = self.stage.package
        places = self.paths if path is None else [p for p in path if package.owns(f"{p}{os.sep}")]
        spec = importlib.machinery.PathFinder.find_spec(name, places, target) if places else None
        if spec is None and name == "model" and path is None:
            return self._model()
        if spec is None or type(spec.loader) is not importlib.machinery.SourceFileLoader:
            return None  # also for a folder without __init__.py, which an installed module beats
        spec.loader = OwnLoader(spec.loader.name, spec.loader.path, self.stage)
        return spec

    def _model(self) -> importlib.machinery.ModuleSpec:
        """The package ``model``, for a folder of another name."""
        spec = importlib.machinery.ModuleSpec("model", None, is_package=True)
        spec.submodule_search_locations = [str(self.stage.package.folder)]
        return spec


class OwnLoader(importlib.machinery.SourceFileLoader):
    """Loads a module of the package from its source."""

    def __init__(self, name: str, path: str, stage: Stage) -> None:
        super().__init__(name, path)
        self._stage = stage

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002
        """Compiled anew: a cached file misses a change within the same second."""
        return compiled(Path(self.path), self._stage)
