"""``engineroom predict --explain``: what each step got and gave, and why one of them failed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

from engineroom.encoding import encode_response
from engineroom.errors import RequestError, ResultError
from engineroom.kinds import counted, kind_of
from engineroom.model import Answer, Model
from engineroom.tools.advice import advice
from engineroom.tools.fault import Fault, lines, told
from engineroom.tools.portrait import Part, text_of
from engineroom.tools.trace import Call, Trace

MAX_CONVERTED = 8
PASSED = "not overridden: as it is"


def steps_report(trace: Trace, model: Model) -> Iterator[str]:
    """What went into each step and what came out of it."""
    for begins, call in trace.events:
        indent = "  " * call.depth
        origin = _defined(call, model)
        is_dull = call.is_pass_through and origin == PASSED
        if begins:
            yield f"{indent}{call.name:14}{call.seconds * 1e3:7.2f} ms   {origin}"
        if is_dull:
            continue
        if begins:
            yield from _flow(call.given, f"{indent}  in   ")
        elif call.returned is None:
            yield f"{indent}  failed"
        elif call.is_pass_through:
            yield f"{indent}  out  what it was given"
        else:
            yield from _flow(call.returned, f"{indent}  out  ")
    if not trace.events:
        yield "no step ran"


def _flow(parts: list[Part], head: str) -> Iterator[str]:
    first, *rest = text_of(parts, "")
    yield head + first.strip()
    yield from (" " * len(head) + line for line in rest)


def _defined(call: Call, model: Model) -> str:
    """Where the step is from: the script's line, or whose it is."""
    function: Callable[..., Any] = getattr(call.function, "__func__", call.function)
    code = getattr(function, "__code__", None)
    if code is not None and model.package.owns(code.co_filename):
        return f"{model.package.relative(code.co_filename)}:{code.co_firstlineno}"
    owner, module = getattr(function, "__qualname__", "?"), getattr(function, "__module__", "")
    if "DefaultService" in owner:
        return "no script: uploads and lists become the model's inputs"
    if module == "engineroom.service" and call.name != "_inference":
        return PASSED
    if call.name == "_inference":
        return f"not overridden: {model.runs_on()}"
    return f"not overridden: {owner}"


def answer_report(result: Any, answer: Answer) -> Iterator[str]:
    """The result, and what became of it as JSON."""
    yield f"result        {kind_of(result)}; {counted(len(answer.body), 'byte')} of JSON"
    converted = list(_converted(result, "result"))
    for line in converted[:MAX_CONVERTED]:
        yield f"  {line}"
    if len(converted) > MAX_CONVERTED:
        yield f"  … {len(converted) - MAX_CONVERTED} more values became JSON like these"


def _converted(value: Any, path: str) -> Iterator[str]:
    """The parts of a result that JSON does not have, and what stands for them."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: {value} became null"
    elif isinstance(value, str | int | float | None):
        return
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{path}: the key {key!r} became a string"
            yield from _converted(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _converted(item, f"{path}[{i}]")
    elif isinstance(value, bytes | bytearray | memoryview | os.PathLike):
        yield f"{path}: {kind_of(value)} became a string"
    elif getattr(value, "shape", None) == ():
        yield f"{path}: {kind_of(value)} became a number"
    else:
        yield f"{path}: {kind_of(value)} became a list"


def _strangers(value: Any, path: str) -> Iterator[str]:
    """The parts of a result that JSON cannot hold, those that can left out."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _strangers(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _strangers(item, f"{path}[{i}]")
    else:
        try:
            encode_response(value)
        except ResultError:
            yield f"{path} is a {kind_of(value)}"


def failure_report(fault: Fault) -> Iterator[str]:
    """What failed, where, with what in hand, and what to do."""
    step = fault.error.detail.get("step", "") if isinstance(fault.error, RequestError) else ""
    where = f"in {step}: " if step else ""
    yield f"failed        {where}{told(fault.origin)}"
    yield from lines(fault)
    if isinstance(fault.origin, ResultError):
        yield from (f"  {line}" for line in _strangers(fault.result, "result"))
    for sentence in advice(fault):
        yield f"advice        {sentence}"
