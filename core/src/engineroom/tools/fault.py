"""A failure of a script as its author looks at it: its lines, its variables, the causes."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import linecache
import os
import traceback
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any

from engineroom.errors import EngineroomError, LoadError, RequestError
from engineroom.failures import script_frames
from engineroom.kinds import kind_of
from engineroom.package import Package
from engineroom.values import TensorSpec

AROUND = 3
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
"""Up to Python 3.11 each of them is a frame; those of a generator expression still are."""
MAX_VARIABLES = 25


@dataclasses.dataclass(frozen=True)
class Fault:
    """What went wrong below an error of ours."""

    error: EngineroomError
    package: Package
    request: Any = None
    result: Any = None
    """What the service returned, if it did."""
    inputs: tuple[TensorSpec, ...] = ()
    """What the model file declares."""
    parent: str = ""
    """The name of the script's parent class."""

    @functools.cached_property
    def origin(self) -> BaseException:
        """The exception that the script, or what it called, has raised."""
        error: BaseException = self.error
        while isinstance(error, LoadError | RequestError) and error.__cause__ is not None:
            error = error.__cause__
        return error

    @functools.cached_property
    def frames(self) -> list[tuple[FrameType, int]]:
        """The script's own frames, outermost first, with their lines."""
        return script_frames(self.origin, self.package)

    @property
    def causes(self) -> list[BaseException]:
        """The exceptions during which, or because of which, this one was raised."""
        found: list[BaseException] = []
        error = self.origin
        while (cause := _before(error)) is not None and cause not in found:
            found.append(cause)
            error = cause
        return found

    @property
    def raised_in(self) -> str:
        """Where in a library it was raised; empty when the script itself has raised it."""
        frames = list(traceback.walk_tb(self.origin.__traceback__))
        if not frames or not self.frames or frames[-1][0] is self.frames[-1][0]:
            return ""
        frame, line = frames[-1]
        parts = frame.f_code.co_filename.rsplit(os.sep, 2)[-2:]
        return f"{'/'.join(parts)}:{line}, in {frame.f_code.co_name}"

    @property
    def line(self) -> str:
        """The source line of the script that failed."""
        for frame, number in self.frames[-1:]:
            return linecache.getline(frame.f_code.co_filename, number)
        return ""

    @property
    def home(self) -> FrameType | None:
        """The innermost frame of the script that has variables of its own."""
        frames = [frame for frame, _ in self.frames]
        own = [frame for frame in frames if frame.f_code.co_name not in COMPREHENSIONS]
        return own[-1] if own else None

    def variables(self) -> Iterator[tuple[str, Any]]:
        """The local variables of the innermost function, without modules and definitions."""
        shown: dict[str, Any] = {}
        for frame, _ in reversed(self.frames):
            shown = {**frame.f_locals, **shown}
            if frame is self.home:
                break
        for name, value in shown.items():
            is_own = name[0] != "." and name[:2] != "__"
            if is_own and not isinstance(value, ModuleType | type) and not inspect.isroutine(value):
                yield name, value


def _before(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def told(error: BaseException) -> str:
    """``ValueError: no good``"""
    message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def lines(fault: Fault) -> Iterator[str]:
    """The failure in words: where, with the source around it, the variables, the causes."""
    package, origin = fault.package, fault.origin
    if isinstance(origin, SyntaxError) and origin.filename:
        yield f"  {package.relative(origin.filename)}:{origin.lineno}"
        yield from _source(origin.filename, origin.lineno or 1)
    for frame, line in fault.frames:
        file, is_last = frame.f_code.co_filename, frame is fault.frames[-1][0]
        yield f"  {package.relative(file)}:{line}, in {frame.f_code.co_name}"
        yield from _source(file, line, AROUND if is_last else 0)
    if fault.raised_in:
        yield f"  raised in {fault.raised_in}"
    variables = list(fault.variables())
    if variables:
        yield "  variables there"
        width = max(len(name) for name, _ in variables[:MAX_VARIABLES])
        for name, value in variables[:MAX_VARIABLES]:
            yield f"    {name.ljust(width)}  {kind_of(value)}"
    for cause in fault.causes:
        yield f"  before that {told(cause)}{_at(cause, package)}"


def _source(file: str, line: int, around: int = AROUND) -> Iterator[str]:
    for number in range(line - around, line + around + 1):
        text = linecache.getline(file, number) if number > 0 else ""
        if text or number == line:
            mark = ">" if number == line and around else " "
            yield f"    {mark} {number:4} | {text}".rstrip()


def _at(error: BaseException, package: Package) -> str:
    frames = script_frames(error, package)
    if not frames:
        return ""
    return f" ({package.relative(frames[-1][0].f_code.co_filename)}:{frames[-1][1]})"
