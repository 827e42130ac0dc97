"""Calls in a package's code that its libraries took once: put into today's words as a file is read.

Only what cannot be lent as a name, since it belongs to a type that nobody may change.
"""

from __future__ import annotations

import ast

from engineroom.lending import Stage

# array.tostring() went in Python 3.9, ndarray.tostring() in numpy 2.3.
TO_BYTES = "(lambda a: a.tostring() if hasattr(a, 'tostring') else a.tobytes())"


class OldCalls(ast.NodeTransformer):
    """Rewrites the calls of one file for the script of ``stage``."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

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
