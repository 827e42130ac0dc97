"""The requests that wait for a model: their order, their deadlines, and what runs together.

Nothing here knows threads or models; the clock is an argument.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engineroom.errors import DeadlineError, NotReadyError, QueueFullError
from engineroom.turns import WAIT_S, Turns

QUICK_S = 0.002
"""Below this for a request, answers wait for others behind them, and the loop gives its turn."""
HELD_S = 0.01
"""Answers wait for each other at most this long."""


class Outcome(NamedTuple):
    """What came of a job: its result, or the exception that is raised for its client."""

    job: Job
    result: Any


class Mailbox:
    """Takes outcomes from threads and settles them on their event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        may_hold: Callable[[], bool] = lambda: True,
        turns: Turns | None = None,
    ) -> None:
        """``may_hold()``: whether something might still come to be held."""
        self.loop, self._may_hold, self._turns = loop, may_hold, turns
        self._outcomes: collections.deque[Outcome] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_called = False
        """Whether the loop has been called and has not come yet."""

    def put(self, outcomes: Sequence[Outcome], hold: bool) -> None:
        """Settle ``outcomes``; ``hold``: others will come to share the way, or HELD_S pass."""
        self._outcomes.extend(outcomes)
        is_asleep = self._turns is not None and self._turns.is_waiting  # it looks when it wakes
        if not hold and not is_asleep:
            self.wake()

    def wake(self) -> None:
        """In a thread: settle what has been put here."""
        if self._outcomes and not self._is_called:
            self._is_called = True
            with contextlib.suppress(RuntimeError):  # a closed loop has nobody left to tell
                self.loop.call_soon_threadsafe(self.settle)

    def expect(self) -> None:
        """On the loop: from now on something may be held."""
        if self._timer is None:
            self._timer = self.loop.call_later(HELD_S, self._look)

    def _look(self) -> None:
        self._timer = None
        self.settle()
        if self._may_hold():
            self.expect()

    def settle(self) -> None:
        """Tell all of them. On the loop."""
        self._is_called = False
        while self._outcomes:
            job, result = self._outcomes.popleft()
            try:
                job.settle(result)
            except Exception as error:  # what is said to one client must not cost the others theirs
                self.loop.call_exception_handler(
                    {"message": "an answer could not be sent", "exception": error}
                )


class Job:
    """One request on its way: the data, its deadline, and what is done with its outcome."""

    __slots__ = (
        "data", "deadline", "is_settled", "mailbox", "queued_at", "result", "started_at", "then",
        "waiting",
    )  # fmt: skip

    def __init__(self, data: Any, deadline: float, mailbox: Mailbox, queued_at: float) -> None:
        self.data, self.deadline, self.mailbox = data, deadline, mailbox
        self.queued_at = queued_at
        self.started_at: float | None = None
        self.waiting, self.is_settled = True, False
        self.result: Any = None
        """The result, or the exception for the client, once ``is_settled``."""
        self.then: Callable[[], object] | None = None
        """Called when it is settled, at once: a future would wait for the loop's next turn."""

    def settle(self, result: Any) -> None:
        """The outcome is this, unless there is one already. Call it on the event loop."""
        if not self.is_settled:
            self.is_settled, self.result = True, result
            then, self.then = self.then, None  # which may know this job: no cycle is left behind
            if then is not None:
                then()

    async def wait(self) -> Any:
        """The result; raises the exception instead, where that is the outcome."""
        if not self.is_settled:
            settled = self.mailbox.loop.create_future()
            self.then = functools.partial(_wake, settled)
            await settled
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    @property
    def doing(self) -> str:
        """What the request is at, in words."""
        return "waiting in the queue" if self.waiting else "running"


def _wake(settled: asyncio.Future[None]) -> None:
    if not settled.done():
        settled.set_result(None)


class Backlog:
    """Jobs in the order of their arrival, no more than ``limit``."""

    def __init__(
        self,
        limit: int,
        takers: int,
        clock: Callable[[], float] = time.monotonic,
        turns: Turns | None = None,
    ) -> None:
        """``takers``: the threads that run what waits here. ``turns``: those of the only one of
        them and of the event loop.
        """
        self.clock, self._limit, self._takers = clock, limit, takers
        self._turns, self._may_wait = turns, False
        if turns is not None:
            turns.on_pause = self._wake
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._arrived: list[Job] = []
        self._mailbox: Mailbox | None = None
        self._is_closed = False
        self.waiting = 0
        self.mean_s = 0.1
        """Of late, seconds of one thread for one job: its share, where several ran together."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits to be taken."""
        return self._queue.empty()

    def check_room(self) -> None:
        """Refuse a request before its body is read.

        Raises:
            QueueFullError: as many wait as may.
        """
        if self.waiting >= self._limit:
            seconds = max(1, math.ceil(self.waiting * self.mean_s / self._takers))
            raise QueueFullError(
                f"{self.waiting} requests wait already, as many as max_queue_size allows; "
                f"try again in {seconds} s",
                retry_after_s=min(seconds, 60),
            )

    def add(self, data: Any, deadline: float) -> Job:
        """A job at the end, for the running event loop.

        Raises:
            QueueFullError: as many wait as may.
            NotReadyError: closed.
        """
        loop = asyncio.get_running_loop()
        if self._mailbox is None or self._mailbox.loop is not loop:
            self._queue_arrived()  # what another loop left, should it have ended before its turn
            self._mailbox = Mailbox(loop, lambda: self.waiting > 0, self._turns)
        job = Job(data, deadline, self._mailbox, self.clock())
        with self._lock:
            if self._is_closed:
                raise NotReadyError("the model is stopped")
            self.check_room()
            self.waiting += 1
        # Requests that arrived together are queued together: a thread that wakes for the first of
        # them would fight the loop for the interpreter lock while it still reads the others.
        self._arrived.append(job)
        if len(self._arrived) == 1:
            loop.call_soon(self._queue_arrived)
            self._mailbox.expect()
        return job

    def _queue_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        turns = self._turns
        if turns is None or self._mailbox is None or not self._is_worth(turns, len(arrived)):
            self._put(arrived)
        else:
            self._may_wait = False  # again once something has come back
            turns.give(functools.partial(self._put, arrived))
            self._mailbox.settle()

    def _is_worth(self, turns: Turns, arrived: int) -> bool:
        """Whether the loop should sleep for so many."""
        if turns.is_aside or not self._may_wait or arrived < 2:
            return False  # a lone request would gain nothing
        # Of more than one sleep can hold, some would starve.
        return turns.runs_long or self.waiting * self.mean_s < WAIT_S

    def _wake(self) -> None:
        if self._mailbox is not None:
            self._mailbox.wake()

    def _put(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._queue.put(job)

    def claim(self, job: Job) -> bool:
        """Whether the caller is the one who takes this job out of the waiting ones."""
        with self._lock:
            if not job.waiting:
                return False
            job.waiting = False
            self.waiting -= 1
            return True

    def send_away(self, error: Exception) -> None:
        """Answer those who wait with ``error``."""
        with contextlib.suppress(queue.Empty):
            while (job := self._queue.get_nowait()) is not None:
                if self.claim(job):
                    job.mailbox.put([Outcome(job, error)], hold=False)
            self._queue.put(None)

    def close(self) -> None:
        """Take no more; each taker ends when it has taken what is here."""
        with self._lock:
            self._is_closed = True
        for _ in range(self._takers):
            self._queue.put(None)

    def first(self) -> Job | None:
        """The next job, claimed by nobody yet; waits for it. None: there will be no more."""
        if self._turns is None:
            return self._queue.get()
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            self._turns.rest()
        job = self._queue.get()
        self._turns.rise()
        return job

    def batch(self, first: Job, most: int, wait_s: float) -> list[Job]:
        """``first`` and those behind it, ``most`` in all: what is here now, or comes in ``wait_s``,
        of which no job loses more than half of the time that it has left.

        Jobs that somebody else has claimed are left out, and so are late ones, whose clients are
        told. While the batch is held open that may still happen to those in it.
        """
        found = self._gathered(first, most, self.clock() + wait_s)
        return [job for job in found if self._is_in_time(job) and self.claim(job)]

    def _gathered(self, first: Job, most: int, limit: float) -> list[Job]:
        found: list[Job] = []
        job: Job | None = first
        while job is not None:
            if job.waiting and self._is_in_time(job):
                found.append(job)
                limit = min(limit, (self.clock() + job.deadline) / 2)
            if len(found) >= most:
                return found
            try:
                left = limit - self.clock() if found else 0.0
                job = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                return found
        self._queue.put(None)  # the end, which is for whoever asks for the first
        return found

    def _is_in_time(self, job: Job) -> bool:
        job.started_at = self.clock()
        if job.started_at < job.deadline:
            return True
        if self.claim(job):
            late = job.started_at - job.queued_at
            error = DeadlineError(f"waited {late:.1f} s in the queue and was not started")
            job.mailbox.put([Outcome(job, error)], hold=False)
        return False

    def hand_back(self, jobs: Sequence[Job], results: Sequence[Any], hold: bool) -> None:
        """Give each job its own of ``results``, where an exception is one, too."""
        by_loop: dict[Mailbox, list[Outcome]] = {}
        for job, result in zip(jobs, results, strict=True):
            by_loop.setdefault(job.mailbox, []).append(Outcome(job, result))
        for mailbox, outcomes in by_loop.items():
            mailbox.put(outcomes, hold)

    @property
    def is_quick(self) -> bool:
        """Whether a request takes less than its way to the loop and back may."""
        return self.mean_s < QUICK_S

    def count(self, jobs: int, seconds: float) -> None:
        """``jobs`` took ``seconds`` together."""
        self.mean_s += 0.1 * (seconds / jobs - self.mean_s)
        self._may_wait = self.is_quick
