"""Cuts the exceptions of Spark to their cause, and tells whose fault they are.

Those of Java run to pages: the message, each cause with its stack, and the plan of the query.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

LONGEST = 500
# What a value that the model cannot take ends in. Not among them: no memory, no file, a script's
# own Python functions.
REFUSALS = re.compile(
    r"(\w*Analysis|\w*IllegalArgument|\w*NumberFormat|\w*IndexOutOfBounds|Spark|SparkRuntime)Exception"
)
STATE = re.compile(r"\s*(SQLSTATE: \w+)?\s*$")
NOT_ABOUT_VALUES = re.compile(r"Job \d* ?(aborted|cancelled)|.*\bcancelled\b|Task not serializable")


def reason(error: BaseException) -> str:
    """One line: ``SparkException: Unseen label: purple. To handle …``."""
    kind, message = _cause(error)
    # A Python function of the script failed in another process: its traceback is the message.
    lines = [line.strip() for line in message.splitlines() if not STATE.match(line)] or [""]
    line = lines[-1] if kind == "PythonException" else lines[0]
    return f"{kind}: {line}"[:LONGEST].rstrip("; ")


def blames_input(error: BaseException) -> bool:
    """Whether Spark refuses the values or the columns that it was given."""
    if not is_from_java(error):
        return False
    kind, message = _cause(error)
    return bool(REFUSALS.fullmatch(kind)) and not NOT_ABOUT_VALUES.match(message)


def is_from_java(error: BaseException) -> bool:
    """Whether ``error`` stands for an exception in Spark's Java process."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"Py4JJavaError", "CapturedException"})


def _cause(error: BaseException) -> tuple[str, str]:
    """Class and message of the innermost cause."""
    java: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    if java is None:
        message = getattr(error, "_desc", None) or error.args[0] if error.args else ""
        return type(error).__name__, str(message)
    try:
        while (inner := java.getCause()) is not None:
            java = inner
        name = str(java.getClass().getName())
        return re.split(r"[.$]", name)[-1], str(java.getMessage() or "")
    except Exception as lost:  # the Java process that could tell is gone
        return type(error).__name__, type(lost).__name__


def shorten(module: ModuleType) -> None:
    """Let the exceptions in ``module``, of PySpark or Py4J, say :func:`reason` as their text.

    So that it is short wherever it is written, by a script too. To do so again changes nothing.
    """
    for cls in vars(module).values():
        names = [base.__name__ for base in getattr(cls, "__mro__", ())]
        if {"Py4JJavaError", "CapturedException"} & set(names) and "__str__" in vars(cls):
            cls.__str__ = _text


def _text(error: BaseException) -> str:
    kind, _, message = reason(error).partition(": ")
    return message if kind == type(error).__name__ else f"{kind}: {message}"
