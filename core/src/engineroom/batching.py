"""One inference for several requests: their inputs joined, their outputs split again.

Each request is preprocessed and postprocessed alone. Those whose inputs have the same names, dtypes
and shapes but for the first dimension share a run; any other has a run of its own.
"""

from __future__ import annotations

import bisect
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from engineroom.engine import Engine, LazyPredictor, Predictor
from engineroom.failures import reraise_interrupt
from engineroom.joining import NoRowsError, Padding, signature, split
from engineroom.package import Package
from engineroom.service import Service, run_step
from engineroom.settings import Settings
from engineroom.shared_state import kept_state, line_of
from engineroom.values import TensorSpec

log = logging.getLogger("engineroom")

DEFAULT_SIZE = 16
"""Requests in a batch of a package without a script, unless a setting says otherwise."""


class Member:
    """One request of a batch on its way through the steps."""

    __slots__ = ("error", "feeds", "rows", "shared_with", "times", "value")

    def __init__(self, data: Any) -> None:
        self.value = data
        """What the last step returned."""
        self.feeds: Mapping[str, Any] = {}
        self.rows = 0
        """The size of the first dimension; 0 for what shares no run."""
        self.error: BaseException | None = None
        self.times: list[float] = []
        """Seconds of each step that has ended; of a run that was shared, all of them."""
        self.shared_with = 1
        """How many requests the run answered."""


class Batcher:
    """The steps of a service for several requests at once."""

    def __init__(
        self,
        service: Service,
        max_rows: int,
        join: Callable[[Sequence[Any]], Any] = np.concatenate,
        feeds: Callable[[Any], Any] = lambda value: value,
        sizes: Sequence[int] = (),
        padding: Padding | None = None,
    ) -> None:
        """``join(parts)`` is the engine's. ``feeds(value)`` is what ``_inference`` makes of what
        ``_preprocess`` returned before it runs the model: arrays by name.

        A run has at most ``max_rows`` rows unless a single request has more. Where ``sizes`` are
        given, a run is filled up to the next of them with its last row, and its outputs are cut.
        """
        self.service, self.join, self.feeds = service, join, feeds
        self.max_rows, self.sizes = max_rows, sorted(sizes)
        self.padding = padding or Padding({})

    def run(self, requests: Iterable[Any]) -> list[Member]:
        """All steps of each of ``requests``; what one of them raises is in its ``error``."""
        members = [Member(data) for data in requests]
        for member in members:
            self._step(member, self.service._preprocess)
        for group in self._groups([member for member in members if member.error is None]):
            self._infer(group)
        for member in members:
            if member.error is None:
                self._step(member, self.service._postprocess)
        return members

    def _step(self, member: Member, step: Callable[[Any], Any]) -> None:
        start = time.perf_counter()
        try:
            member.value = run_step(step, member.value)
        except BaseException as error:
            reraise_interrupt(error)
            member.error = error
        member.times.append(time.perf_counter() - start)

    def _groups(self, members: list[Member]) -> list[list[Member]]:
        """Those that share a run, in the order of their first."""
        groups: list[list[Member]] = []
        room: dict[Any, int] = {}
        last: dict[Any, list[Member]] = {}
        for member in members:
            key = self._prepare(member)
            if key is None:
                groups.append([member])
            elif member.rows <= room.get(key, -1):
                last[key].append(member)
                room[key] -= member.rows
            else:
                last[key] = [member]
                room[key] = self.max_rows - member.rows
                groups.append(last[key])
        return groups

    def _prepare(self, member: Member) -> Any:
        """What those have in common that fit together; None for one that shares with nobody."""
        try:
            member.feeds = self.feeds(member.value)
            key = signature(member.feeds, self.padding.values)
        except Exception:
            return None  # _inference says what is wrong with it
        if key is not None:
            member.rows = next(iter(member.feeds.values())).shape[0]
        return key

    def _infer(self, group: list[Member]) -> None:
        """Run ``group`` together; if that fails, its halves, until each failure is alone."""
        if len(group) == 1:
            self._step(group[0], self.service._inference)
            return
        start = time.perf_counter()
        try:
            outputs = self.infer([each.feeds for each in group], [each.rows for each in group])
        except NoRowsError as error:
            log.warning("one request at a time from now on: %s", error)
            self.max_rows = 1
            for member in group:
                self._step(member, self.service._inference)
            return
        except Exception:
            half = len(group) // 2
            self._infer(group[:half])
            self._infer(group[half:])
            return
        seconds = time.perf_counter() - start
        for member, output in zip(group, outputs, strict=True):
            member.value, member.shared_with = output, len(group)
            member.times.append(seconds)

    def infer(self, feeds: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[Any]:
        """The outputs for each of ``feeds``, which have so many ``rows``, from one inference.

        Raises:
            NoRowsError: an output without a row for each row of the inputs.
        """
        size = self._size(sum(rows))
        filling = size - sum(rows)
        even = self.padding.pad(feeds)
        together = {
            name: self.join([each[name] for each in even] + [even[-1][name][-1:]] * filling)
            for name in even[0]
        }
        outputs = split(self.service._inference(together), rows, size)
        if not self.padding.values:
            return outputs
        return [self.padding.cut(*both) for both in zip(outputs, feeds, strict=True)]

    def _size(self, rows: int) -> int:
        at = bisect.bisect_left(self.sizes, rows)
        return self.sizes[at] if at < len(self.sizes) else rows


# --- whether to join at all


def make_batcher(
    service: Service, package: Package, engine: Engine, predictor: LazyPredictor, settings: Settings
) -> Batcher | None:
    """What joins the requests of ``service``; None where each runs alone.

    Asked for in vain, it says why in the log. Call it with the engine's gate, after the warm-up.
    """
    default = DEFAULT_SIZE if package.script is None and engine.batches else 1
    size = settings.max_batch_size or service.max_batch_size or default
    if size == 1:
        return None
    loaded = predictor.predictor
    batcher = Batcher(service, size, engine.join)
    specs = (loaded.inputs, loaded.outputs) if loaded is not None else ()
    batcher.padding = Padding(service.pad, *specs)
    if loaded is not None:
        batcher.sizes = sorted(loaded.batch_sizes)
        if _is_the_engines(service, engine):
            batcher.feeds = lambda value: loaded.feeds(value, predictor.model)
    if service.max_batch_size is None and (
        why := _why_alone(service, package, engine) or _why_not_joined(loaded, batcher)
    ):
        level = logging.WARNING if settings.max_batch_size else logging.DEBUG
        log.log(level, "one request at a time instead of up to %d together: %s", size, why)
        return None
    return batcher


def _is_the_engines(service: Service, engine: Engine) -> bool:
    return type(service)._inference is engine.service_class()._inference


def _why_alone(service: Service, package: Package, engine: Engine) -> str:
    """Why the steps of ``service`` cannot be run for several requests by turns, from its code."""
    cls, parent = type(service), engine.service_class()
    if not engine.batches:
        return f"engine {engine.name} does not take several requests at once"
    for name in ("inference", "_inference"):
        method = vars(service).get(name, getattr(cls, name))
        if method is not getattr(parent, name):
            return (
                f"{line_of(method, package)}: the script has {name} of its own; if that takes "
                f"the joined rows of several requests, set max_batch_size on {cls.__name__}"
            )
    kept = None if service.thread_safe else kept_state(cls, package)
    return f"{kept}; if requests may meet there, set thread_safe = True" if kept else ""


def _why_not_joined(loaded: Predictor | None, batcher: Batcher) -> str:
    if loaded is None or not loaded.inputs:
        return (
            "no model file declares inputs of which the first dimension is open; if _inference "
            f"takes joined rows, set max_batch_size on {type(batcher.service).__name__}"
        )
    return _closed(loaded.inputs) or _mixing(loaded.small_inputs(), batcher)


def _closed(inputs: Sequence[TensorSpec]) -> str:
    """Why these inputs cannot hold the rows of several requests; empty when they can."""
    for spec in inputs:
        if not spec.shape or isinstance(spec.shape[0], int):
            return f'the first dimension of input "{spec.name}" {spec} is not open'
        if isinstance(spec.shape[0], str) and spec.shape[0] in spec.shape[1:]:
            return f'dimension {spec.shape[0]} of input "{spec.name}" {spec} is not only its first'
    return ""


def _mixing(small: Mapping[str, Any], batcher: Batcher) -> str:
    """Why rows of different requests must not meet in the model; empty when they may.

    Inputs of zeros and of ones are run alone and then together: a model that normalises over its
    batch, sums it up or draws at random gives itself away.
    """
    inputs = [small, {name: _plus_one(array) for name, array in small.items()}]
    rows = len(next(iter(small.values())))
    try:
        alone = [batcher.service._inference(each) for each in inputs]
        together = batcher.infer(inputs, [rows, rows])
    except Exception as error:
        return f"two small inputs fail together, or alone: {error}"
    for one, other in zip(alone, together, strict=True):
        for name, value in one.items():
            if not _is_close(value, other[name]):
                return f'output "{name}" of a request would depend on those beside it'
    return ""


def _plus_one(array: Any) -> Any:
    return array if array.dtype.kind == "O" else array + array.dtype.type(1)


def _is_close(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or one.dtype.kind not in "fc":
        return one.shape == other.shape and bool((one == other).all())
    return bool(np.allclose(one, other, 1e-2, 1e-3, equal_nan=True))
