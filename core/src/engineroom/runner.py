"""The threads that carry requests to a model and answers back to the event loop.

Own threads, not a pool of the event loop: a deadline can answer a client, but it cannot stop an
engine, and only a thread that we own keeps the count of what really runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from engineroom.backlog import Backlog, Job
from engineroom.turns import Turns


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


class Runner:
    """Runs what waits, first come first served, one batch at a time in each of its threads."""

    max_batch_size = 1
    """Jobs that one call of ``work`` may get."""
    batch_wait_s = 0.0
    """How long a thread with fewer jobs than that waits for more. Without it a batch is what has
    come while the threads were busy, which costs a lone request nothing."""

    def __init__(
        self,
        work: Callable[[list[Any]], Sequence[Any]],
        turn: Callable[[], AbstractContextManager[Any]],
        threads: int,
        max_queue_size: int,
        prepare: Callable[[], None] | None = None,
        turns: Turns | None = None,
    ) -> None:
        """``work`` gets the data of each job of a batch and returns a result, or the exception for
        its client, for each; an exception that it raises is that of them all.

        ``turn()`` is held from before a job is taken, so that none starts late behind it.

        ``prepare`` runs in each thread before its first job, and the first thread that fails in it
        is reported by :meth:`wait_until_prepared`.

        ``turns`` are for a single thread, on an event loop that may sleep for it.
        """
        self._prepare = prepare
        self._prepared: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._work, self._turn = work, turn
        self._backlog = Backlog(max_queue_size, threads, turns=turns if threads == 1 else None)
        self._running: dict[int, list[Job]] = {}
        self._threads = [
            threading.Thread(target=self._run, name=f"engineroom-{i}", daemon=True)
            for i in range(threads)
        ]
        self.check_room, self.submit = self._backlog.check_room, self._backlog.add
        self.send_away = self._backlog.send_away
        for thread in self._threads:
            thread.start()

    def wait_until_prepared(self) -> None:
        """Return when each thread could take a job at once; raise what one has raised instead."""
        for _ in self._threads:
            error = self._prepared.get()
            if error is not None:
                raise error

    def cancel(self, job: Job) -> bool:
        """Drop a job that has not started; its place in the queue is free at once.

        Returns whether it was still waiting. A job that runs goes on, and its answer is dropped.
        """
        job.settle(asyncio.CancelledError())
        return self._backlog.claim(job)

    def busy_for(self, seconds: float) -> int:
        """How many threads have been running the same jobs for longer than that."""
        limit = time.monotonic() - seconds
        return sum((jobs[0].started_at or 0) < limit for jobs in list(self._running.values()))

    @property
    def threads(self) -> int:
        """How many there are."""
        return len(self._threads)

    def stop(self, timeout_s: float) -> bool:
        """Take no more jobs and finish those that somebody still waits for; end the threads.

        A thread that an engine never gives back is left behind once nobody waits for its answer.
        Returns whether all have ended.
        """
        self._backlog.close()
        limit = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(0.1)
            while thread.is_alive() and self._is_awaited() and time.monotonic() < limit:
                thread.join(0.05)
        return not any(thread.is_alive() for thread in self._threads)

    def _is_awaited(self) -> bool:
        running = [job for jobs in list(self._running.values()) for job in jobs]
        return self._backlog.waiting > 0 or any(not job.is_settled for job in running)

    def _run(self) -> None:
        with own_event_loop():
            self._prepared.put(self._preparation_error())
            self._take_jobs()

    def _preparation_error(self) -> BaseException | None:
        try:
            if self._prepare is not None:
                with self._turn():
                    self._prepare()
        except BaseException as error:
            return error
        return None

    def _take_jobs(self) -> None:
        while (first := self._backlog.first()) is not None:
            with self._turn():
                jobs = self._backlog.batch(first, self.max_batch_size, self.batch_wait_s)
                if jobs:
                    self._running[threading.get_ident()] = jobs
                    self._answer(jobs)
            # Nothing of these requests stays alive while the thread waits for the next.
            self._running.pop(threading.get_ident(), None)
            _forget(jobs)
            del first, jobs

    def _answer(self, jobs: list[Job]) -> None:
        start = time.monotonic()
        try:
            results = self._work([job.data for job in jobs])
        except BaseException as error:
            results = [error] * len(jobs)
        self._backlog.count(len(jobs), time.monotonic() - start)
        # Quick answers with others behind them go back to the loop together.
        hold = self._backlog.is_quick and not self._backlog.is_empty
        self._backlog.hand_back(jobs, results, hold)


def _forget(jobs: list[Job]) -> None:
    for job in jobs:
        job.data = None
