"""The requests that wait for a model: their order, their deadlines, and what runs together.

Nothing here knows threads or models; the clock is an argument.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engineroom.errors import DeadlineError, NotReadyError, QueueFullError

HAND_BACK_S = 0.002
"""Answers wait for each other at most about this long."""


class Outcome(NamedTuple):
    """What came of a job: its result, or the exception that is raised for its client."""

    future: asyncio.Future[Any]
    result: Any


class Mailbox:
    """Takes outcomes from threads and settles them on their event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._outcomes: collections.deque[Outcome] = collections.deque()
        self._armed = False

    def put(self, outcomes: Sequence[Outcome], hold: bool) -> None:
        """Settle ``outcomes``; ``hold``: others may come to share the way, within HAND_BACK_S."""
        self._outcomes.extend(outcomes)
        if hold and self._armed:
            return
        self._armed = hold
        with contextlib.suppress(RuntimeError):  # a closed loop has nobody left to tell
            self.loop.call_soon_threadsafe(self._wait if hold else self._settle)

    def _wait(self) -> None:
        self.loop.call_later(HAND_BACK_S, self._settle)

    def _settle(self) -> None:
        self._armed = False
        while self._outcomes:
            future, result = self._outcomes.popleft()
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


class Job:
    """One request on its way: the data, its deadline, and the future that its client awaits."""

    __slots__ = ("data", "deadline", "future", "mailbox", "queued_at", "started_at", "waiting")

    def __init__(self, data: Any, deadline: float, mailbox: Mailbox, queued_at: float) -> None:
        self.data, self.deadline, self.mailbox = data, deadline, mailbox
        self.future: asyncio.Future[Any] = mailbox.loop.create_future()
        self.queued_at = queued_at
        self.started_at: float | None = None
        self.waiting = True

    @property
    def doing(self) -> str:
        """What the request is at, in words."""
        return "waiting in the queue" if self.waiting else "running"


class Backlog:
    """Jobs in the order of their arrival, no more than ``limit``."""

    def __init__(
        self, limit: int, takers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``takers``: the threads that run what waits here."""
        self.clock, self._limit, self._takers = clock, limit, takers
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
            self._mailbox = Mailbox(loop)
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
        return job

    def _queue_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        for job in arrived:
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
                    job.mailbox.put([Outcome(job.future, error)], hold=False)
            self._queue.put(None)

    def close(self) -> None:
        """Take no more; each taker ends when it has taken what is here."""
        with self._lock:
            self._is_closed = True
        for _ in range(self._takers):
            self._queue.put(None)

    def first(self) -> Job | None:
        """The next job, claimed by nobody yet; waits for it. None: there will be no more."""
        return self._queue.get()

    def batch(self, first: Job, most: int, wait_s: float) -> list[Job]:
        """``first`` and those behind it, ``most`` in all: what is here now, or comes in ``wait_s``.

        Jobs that somebody else has claimed are left out, and so are late ones, whose clients are
        told.
        """
        found: list[Job] = []
        job: Job | None = first
        limit = self.clock() + wait_s
        while job is not None:
            if self.claim(job) and self._is_in_time(job):
                found.append(job)
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
        late = job.started_at - job.queued_at
        error = DeadlineError(f"waited {late:.1f} s in the queue and was not started")
        job.mailbox.put([Outcome(job.future, error)], hold=False)
        return False

    def hand_back(self, jobs: Sequence[Job], results: Sequence[Any], hold: bool) -> None:
        """Give each job its own of ``results``, where an exception is one, too."""
        by_loop: dict[Mailbox, list[Outcome]] = {}
        for job, result in zip(jobs, results, strict=True):
            by_loop.setdefault(job.mailbox, []).append(Outcome(job.future, result))
        for mailbox, outcomes in by_loop.items():
            mailbox.put(outcomes, hold)

    def count(self, jobs: int, seconds: float) -> None:
        """``jobs`` took ``seconds`` together."""
        self.mean_s += 0.1 * (seconds / jobs - self.mean_s)
