"""Where the steps of a script keep something between them: a static look at its code.

Steps of several requests that run by turns would find each other's.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from engineroom.package import Package
from engineroom.service import STEPS
from engineroom.sources import parsed

CHANGES = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem",
    "popleft", "remove", "setdefault", "update",
}  # fmt: skip
"""Methods of Python's own containers that change them."""


def line_of(function: Any, package: Package) -> str:
    """``customize_service.py:41`` for a function of the package's code, else its module's name."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or not package.owns(code.co_filename):
        return getattr(function, "__module__", None) or type(function).__name__
    return f"{package.relative(code.co_filename)}:{code.co_firstlineno}"


def kept_state(cls: type, package: Package) -> str | None:
    """Where a step of ``cls``, or what it calls in the package, keeps something; None: nowhere.

    What counts: ``self.name = …`` and its like, containers on ``self`` that are changed, the same
    of what its module holds (``Service.name = …``, ``CACHE[x] = …``), and ``global`` names.
    """
    for function in _reached(cls, package):
        node = _node(function)
        is_method = getattr(cls, function.__name__, None) is not None
        found = (
            next(_kept(node, *_keepers(node, function, is_method, package)), None) if node else None
        )
        if found is not None:
            line, what = found
            file = package.relative(function.__code__.co_filename)
            return f"{file}:{line}: {function.__name__} keeps {what}"
    return None


def _reached(cls: type, package: Package) -> Iterator[FunctionType]:
    """The functions of the package that the steps may call, the steps first."""
    waiting = [getattr(cls, name) for name in STEPS]
    seen: set[Any] = set()
    while waiting:
        function = inspect.unwrap(waiting.pop(0))
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        if package.owns(function.__code__.co_filename):
            yield function
            waiting += _called(function, cls)


def _called(function: FunctionType, cls: type) -> list[Any]:
    names = set(function.__code__.co_names)
    return [
        *(value for name in sorted(names) if (value := getattr(cls, name, None)) is not None),
        *(function.__globals__[name] for name in sorted(names) if name in function.__globals__),
    ]


def _node(function: FunctionType) -> ast.FunctionDef | None:
    """The syntax of ``function``; None for a lambda."""
    first = function.__code__.co_firstlineno
    for node in ast.walk(_tree(function.__code__.co_filename)):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            lines = [node.lineno, *(decorator.lineno for decorator in node.decorator_list)]
            if first in lines:
                return node
    return None


@functools.lru_cache(8)
def _tree(file: str) -> ast.Module:
    return parsed(Path(file))


def _keepers(
    node: ast.FunctionDef, function: FunctionType, is_method: bool, package: Package
) -> tuple[str, set[str]]:
    """The names in ``node`` of what outlives a call: ``self``, and what the module holds; not the
    libraries that it imports.
    """
    arguments = [*node.args.posonlyargs, *node.args.args]
    me = arguments[0].arg if arguments and is_method else ""
    own = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            own.add(part.id)
    held = {
        name
        for name, value in function.__globals__.items()
        if not isinstance(value, ModuleType) or package.owns(getattr(value, "__file__", None) or "")
    }
    return me, held - own


def _kept(function: ast.FunctionDef, me: str, held: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            yield node.lineno, f"global {', '.join(node.names)}"
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            if name := _owned(node, me, held):
                yield node.lineno, name
        elif isinstance(node, ast.Call) and (name := _changed(node, me, held)):
            yield node.lineno, name


def _owned(node: ast.expr, me: str, held: set[str]) -> str:
    """``self.name`` or ``NAME`` where ``node`` is that or a part of it."""
    name = ""
    while isinstance(node, ast.Attribute | ast.Subscript):
        name = node.attr if isinstance(node, ast.Attribute) else name
        node = node.value
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "type" and node.args:
            node = node.args[0]  # type(self).name
    if not isinstance(node, ast.Name) or (node.id not in held and not (node.id == me and name)):
        return ""
    return f"{node.id}.{name}" if name else node.id


def _changed(call: ast.Call, me: str, held: set[str]) -> str:
    function = call.func
    if isinstance(function, ast.Name) and function.id == "setattr" and len(call.args) == 3:
        owner, name, _ = call.args
        named = name.value if isinstance(name, ast.Constant) else "…"
        return _owned(ast.Attribute(owner, str(named), ast.Store()), me, held)
    if isinstance(function, ast.Attribute) and function.attr in CHANGES:
        return _owned(function.value, me, held)
    return ""
