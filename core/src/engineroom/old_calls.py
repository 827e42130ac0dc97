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
        """``json.loads(…, encoding=…)``, gone in Python 3.9, and ``….tostring()``."""
        self.generic_visit(node)
        function = node.func
        if not isinstance(function, ast.Attribute):
            return node
        if function.attr in ("load", "loads") and _is_json(function.value):
            kept = [keyword for keyword in node.keywords if keyword.arg != "encoding"]
            if len(kept) < len(node.keywords):
                self.stage.note(f"json.{function.attr}(encoding=…)", f"json.{function.attr}")
            node.keywords = kept
        elif function.attr == "tostring" and not node.args and not node.keywords:
            self.stage.note("….tostring()", "tobytes()")
            helper = ast.parse(TO_BYTES, mode="eval").body
            node = ast.copy_location(ast.Call(helper, [function.value], []), node)
            ast.fix_missing_locations(node)
        return node


def _is_json(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "json"
