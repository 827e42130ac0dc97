"""Calls in a package's code that its libraries took once: put into today's words as a file is read.

Only what cannot be lent as a name, since it belongs to a type that nobody may change. And imports
that only an old library had, where the file does nothing with them.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

from engineroom.lending import Stage

# array.tostring() went in Python 3.9, ndarray.tostring() in numpy 2.3.
TO_BYTES = "(lambda a: a.tostring() if hasattr(a, 'tostring') else a.tobytes())"

# What a column can do to itself, unlike dropping rows.
IN_PLACE = {"fillna", "ffill", "bfill", "replace", "clip", "interpolate", "mask", "where"}


class OldCalls(ast.NodeTransformer):
    """Rewrites the calls of one file for the script of ``stage``."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """``table[column].fillna(…, inplace=True)``, which pandas 3 does to a copy."""
        self.generic_visit(node)
        call, column = node.value, getattr(getattr(node.value, "func", None), "value", None)
        if not isinstance(call, ast.Call) or not isinstance(column, ast.Subscript):
            return node
        kept = [word for word in call.keywords if ast.unparse(word) != "inplace=True"]
        method = getattr(call.func, "attr", "")
        is_one = isinstance(column.slice, ast.Constant | ast.Name)
        if len(kept) == len(call.keywords) or method not in IN_PLACE or not is_one:
            return node
        self.stage.note(f"[…].{method}(inplace=True)", f"… = ….{method}()")
        call.keywords = kept
        target = ast.Subscript(column.value, column.slice, ast.Store())
        return ast.fix_missing_locations(ast.copy_location(ast.Assign([target], call), node))

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """``json.loads(…, encoding=…)``, gone in Python 3.9, and the others below."""
        self.generic_visit(node)
        function = node.func
        if not isinstance(function, ast.Attribute):
            return node
        if function.attr in ("load", "loads") and _is_named(function.value, "json"):
            kept = [keyword for keyword in node.keywords if keyword.arg != "encoding"]
            if len(kept) < len(node.keywords):
                self.stage.note(f"json.{function.attr}(encoding=…)", f"json.{function.attr}")
            node.keywords = kept
        elif function.attr == "array" and _is_named(function.value, "np", "numpy"):
            _take_as_it_is(node, function, self.stage)
        elif function.attr == "tostring" and not node.args and not node.keywords:
            self.stage.note("….tostring()", "tobytes()")
            helper = ast.parse(TO_BYTES, mode="eval").body
            node = ast.copy_location(ast.Call(helper, [function.value], []), node)
            ast.fix_missing_locations(node)
        return node


def _take_as_it_is(node: ast.Call, function: ast.Attribute, stage: Stage) -> None:
    """``np.array(…, copy=False)`` copies where it must, as it did until numpy 2."""
    kept = [word for word in node.keywords if ast.unparse(word) != "copy=False"]
    if len(kept) < len(node.keywords) and {word.arg for word in kept} <= {"dtype", "order"}:
        stage.note("np.array(copy=False)", "np.asarray")
        function.attr = "asarray"
        node.keywords = kept


def _is_named(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


OWN = ("__future__", None)
"""What an import is from, if it is no library: None is the package itself, by a dot."""
GUARD = """
try:
    pass
except ImportError as _error:
    __import__("engineroom.imports").imports.pass_over(_error)
"""


def guard_unused_imports(tree: ast.Module) -> None:
    """Let ``imports.pass_over`` judge where a file cannot import a name that it does not use."""
    used = {
        word
        for node in ast.walk(tree)
        for kind, field in ((ast.Name, "id"), (ast.Attribute, "attr"), (ast.Constant, "value"))
        if isinstance(node, kind) and isinstance(word := getattr(node, field), str)
    }
    tree.body = [statement for node in tree.body for statement in _guarded(node, used)]


def _guarded(node: ast.stmt, used: set[str]) -> Iterator[ast.stmt]:
    """An import as one statement for each name, those of no use guarded; others as they are."""
    if not isinstance(node, ast.Import | ast.ImportFrom) or getattr(node, "module", "") in OWN:
        yield node
        return
    for alias in node.names:
        one: ast.stmt = copy.copy(node)
        vars(one)["names"] = [alias]
        if alias.name != "*" and (alias.asname or alias.name.rpartition(".")[2]) not in used:
            guard = ast.parse(GUARD).body[0]
            for inner in ast.walk(guard):
                ast.copy_location(inner, alias)
            vars(guard)["body"] = [one]
            one = guard
        yield one
