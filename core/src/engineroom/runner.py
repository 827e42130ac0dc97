"""The threads and the queue that carry requests to a model and answers back to the event loop.

Own threads, not a pool of the event loop: a deadline can answer a client, but it cannot stop an
engine, and only a thread that we own keeps the count of what really runs.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from engineroom.errors import DeadlineError, NotReadyError, QueueFullError

HAND_BACK_S = 0.002
"""Answers wait for each other at most about this long."""


@contextlib.contextmanager
def own_event_loop() -> Iterator[None]:
    """What a script finds that asks for the event loop in a step, as it does in a main thread."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class Outcome(NamedTuple):
    """What came of a job."""

    future: asyncio.Future[Any]
    result: Any
    error: BaseException | None


class Mailbox:
    """Takes outcomes from threads and settles them on their event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._outcomes: collections.deque[Outcome] = collections.deque()
        self._armed = False

    def put(self, outcome: Outcome, hold: bool) -> None:
        """Settle ``outcome``; ``hold``: others may come to share the way, within HAND_BACK_S."""
        self._outcomes.append(outcome)
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
            future, result, error = self._outcomes.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


class Job:
    """One request on its way: the data, its deadline, and the future that its client awaits."""

    __slots__ = ("data", "deadline", "future", "mailbox", "queued_at", "started_at", "waiting")

    def __init__(self, data: Any, deadline: float, mailbox: Mailbox) -> None:
        self.data, self.deadline, self.mailbox = data, deadline, mailbox
        self.future: asyncio.Future[Any] = mailbox.loop.create_future()
        self.queued_at = time.monotonic()
        self.started_at: float | None = None
        self.waiting = True


class Runner:
    """Runs ``work(data)`` for one job at a time in each of its threads, first come first served."""

    def __init__(
        self,
        work: Callable[[Any], Any],
        turn: AbstractContextManager[Any],
        threads: int,
        max_queue_size: int,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        """``turn`` is held from the moment a job is taken, so that no job starts late behind it.

        ``prepare`` runs in each thread before its first job, and the first thread that fails in it
        is reported by :meth:`wait_until_prepared`.
        """
        self._prepare = prepare
        self._prepared: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._work, self._turn, self._max = work, turn, max_queue_size
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._mean_s = 0.1
        self._arrived: list[Job] = []
        self._running: dict[int, Job] = {}
        self._mailbox: Mailbox | None = None
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._run, name=f"engineroom-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def wait_until_prepared(self) -> None:
        """Return when each thread could take a job at once; raise what one has raised instead."""
        for _ in self._threads:
            error = self._prepared.get()
            if error is not None:
                raise error

    def check_room(self) -> None:
        """Refuse a request before its body is read.

        Raises:
            QueueFullError: as many wait as may.
        """
        if self._waiting >= self._max:
            seconds = max(1, math.ceil(self._waiting * self._mean_s / len(self._threads)))
            raise QueueFullError(
                f"{self._waiting} requests wait already, as many as max_queue_size allows; "
                f"try again in {seconds} s",
                retry_after_s=min(seconds, 60),
            )

    def submit(self, data: Any, deadline: float) -> Job:
        """Queue a request. Call it on the event loop that will await ``job.future``.

        ``deadline`` is on the clock of ``time.monotonic``.

        Raises:
            QueueFullError: as many wait as may.
            NotReadyError: the runner is stopped.
        """
        loop = asyncio.get_running_loop()
        if self._mailbox is None or self._mailbox.loop is not loop:
            self._queue_arrived()  # what another loop left, should it have ended before its turn
            self._mailbox = Mailbox(loop)
        job = Job(data, deadline, self._mailbox)
        with self._lock:
            if self._stopped:
                raise NotReadyError("the model is stopped")
            self.check_room()
            self._waiting += 1
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

    def cancel(self, job: Job) -> bool:
        """Drop a job that has not started; its place in the queue is free at once.

        Returns whether it was still waiting. A job that runs goes on, and its answer is dropped.
        """
        job.future.cancel()
        return self._claim(job)

    def stop(self, timeout_s: float) -> None:
        """Take no more jobs and finish those that somebody still waits for; end the threads.

        A thread that an engine never gives back is left behind once nobody waits for its answer.
        """
        with self._lock:
            self._stopped = True
        for _ in self._threads:
            self._queue.put(None)
        limit = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(0.1)
            while thread.is_alive() and self._is_awaited() and time.monotonic() < limit:
                thread.join(0.05)

    def _is_awaited(self) -> bool:
        running = [job for job in self._running.values() if not job.future.done()]
        return self._waiting > 0 or bool(running)

    def _claim(self, job: Job) -> bool:
        """Whether the caller is the one who takes this job out of the waiting ones."""
        with self._lock:
            if not job.waiting:
                return False
            job.waiting = False
            self._waiting -= 1
            return True

    def _run(self) -> None:
        with own_event_loop():
            self._prepared.put(self._preparation_error())
            self._take_jobs()

    def _preparation_error(self) -> BaseException | None:
        try:
            if self._prepare is not None:
                with self._turn:
                    self._prepare()
        except BaseException as error:
            return error
        return None

    def _take_jobs(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._turn:
                if self._claim(job):
                    self._running[threading.get_ident()] = job
                    outcome = self._outcome(job)
                    # Quick answers with others behind them go back to the loop together.
                    hold = self._mean_s < HAND_BACK_S and not self._queue.empty()
                    job.mailbox.put(outcome, hold)
                    del outcome
            # Nothing of this request stays alive while the thread waits for the next.
            self._running.pop(threading.get_ident(), None)
            job.data = None
            del job

    def _outcome(self, job: Job) -> Outcome:
        job.started_at = time.monotonic()
        if job.started_at >= job.deadline:
            late = job.started_at - job.queued_at
            error = DeadlineError(f"waited {late:.1f} s in the queue and was not started")
            return Outcome(job.future, None, error)
        try:
            return Outcome(job.future, self._work(job.data), None)
        except BaseException as caught:
            return Outcome(job.future, None, caught)
        finally:
            self._mean_s += 0.1 * (time.monotonic() - job.started_at - self._mean_s)
