"""Watches the steps of a service while it answers one request."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any

from engineroom.service import STEPS, Service
from engineroom.tools.portrait import Part, portrait

ENTRY = "inference"


@dataclasses.dataclass
class Call:
    """One call of a step. What went in is described when it goes in: steps read files to the end
    and change what they are given.
    """

    name: str
    depth: int
    function: Callable[..., Any]
    given: list[Part]
    returned: list[Part] | None = None
    """None: it failed."""
    is_pass_through: bool = False
    """It returned the very object that it was given."""
    seconds: float = 0.0


class Trace:
    """The calls of one request, in their order."""

    def __init__(self) -> None:
        self.events: list[tuple[bool, Call]] = []
        """Each call twice: True where it begins, False where it ends."""
        self.result: Any = None
        self._depth = 0
        self._described_s = 0.0

    @contextlib.contextmanager
    def of(self, service: Service) -> Iterator[None]:
        """Note the calls of ``service``'s steps in this block, whoever makes them."""
        # On the object, so that self._preprocess finds them; a class may be shared.
        own, before = vars(service), dict(vars(service))
        for name in (ENTRY, *STEPS):
            own[name] = self._watched(name, getattr(service, name))
        try:
            yield
        finally:
            for name in (ENTRY, *STEPS):
                own.pop(name, None)
                if name in before:
                    own[name] = before[name]

    def _watched(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        # The entry is worth a line only where the script has one of its own.
        is_shown = getattr(step, "__func__", None) is not Service.inference

        @functools.wraps(step)
        def watched(*args: Any, **kwargs: Any) -> Any:
            call = Call(name, self._depth, step, self._described(_arguments(step, args, kwargs)))
            with self._noted(call) if is_shown else contextlib.nullcontext():
                result = self._timed(call, args, kwargs)
                call.is_pass_through = len(args) == 1 and result is args[0]
                call.returned = self._described(result)
            if name == ENTRY:
                self.result = result
            return result

        return watched

    @contextlib.contextmanager
    def _noted(self, call: Call) -> Iterator[None]:
        self.events.append((True, call))
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self.events.append((False, call))

    def _timed(self, call: Call, args: Any, kwargs: Any) -> Any:
        """The step's result; what describing the steps inside it takes is not its time."""
        began = time.perf_counter() - self._described_s
        try:
            return call.function(*args, **kwargs)
        finally:
            call.seconds = time.perf_counter() - self._described_s - began

    def _described(self, value: Any) -> list[Part]:
        began = time.perf_counter()
        try:
            return portrait(value)
        except Exception as error:  # a value that cannot be looked at is still one that works
            return [Part(0, "", f"{type(value).__name__} ({type(error).__name__}: {error})")]
        finally:
            self._described_s += time.perf_counter() - began


def _arguments(step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The only argument itself; several by their names."""
    if len(args) == 1 and not kwargs:
        return args[0]
    try:
        return inspect.signature(step).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # what the call itself will say
        return {**{str(i): arg for i, arg in enumerate(args)}, **kwargs}
