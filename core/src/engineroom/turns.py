"""The event loop and the one thread of a quick model take turns, on one core.

Both are Python and need the interpreter lock. Left alone they fight for it from two cores, where
each hand-over wakes the other core and every object moves between the caches: of the processor time
of a small network's request, that is a quarter. So while requests come faster than one by one, the
loop gives the thread what has come, sleeps until all of it is done, and answers; meanwhile the next
requests gather. It never sleeps long: a deadline and a health check are still seen to.

While an engine runs for long it does without the lock, on a core of its own: then the loop has its
turn, which costs nobody anything, and what the thread has finished before is answered.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

WAIT_S = 0.01
"""The loop sleeps at most this long."""
LONG_S = 0.0003
"""While a run of the engine takes longer than this, the loop reads and answers."""
CORE_S = 1.0
"""How long the two stay on one core, where any will do."""


class Turns:
    """What the loop and the thread agree by, in a process that serves one model."""

    def __init__(self, number: int | None = None, workers: int = 1) -> None:
        """``number``: this process's among the workers; each keeps to a core of its own then."""
        self.is_waiting = False
        """Whether the loop sleeps until the thread pauses."""
        self.is_aside = False
        """Whether the thread is in a long run of the engine, and needs no interpreter."""
        self.on_pause: Callable[[], object] = bool
        """Called in the thread when it pauses and the loop does not sleep."""
        self._paused: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._run_s = 0.0
        """Of late, seconds of one run of the engine."""
        self._cores = Cores(number)
        self._has_room = (len(self._cores.all) or os.cpu_count() or 1) >= 2 * workers
        """Whether there is a core for the loop while the engine runs on another."""
        self._thread = 0
        """The thread's native id while it rests."""
        self._its_cores: Sequence[int] = ()
        """Where the thread may run, which its script may have decided."""
        self._is_bound = False
        """Whether the thread has been bound to a core."""

    def give(self, start: Callable[[], None]) -> None:
        """On the loop: call ``start()`` and return when the thread pauses."""
        self.is_waiting = True
        is_short = not self.runs_long
        if is_short:
            self._cores.bind(0)
            if self._thread:
                self._cores.bind(self._thread)
                self._is_bound = True
        start()
        with contextlib.suppress(queue.Empty):
            self._paused.get(timeout=WAIT_S)
        self.is_waiting = False
        if is_short:
            self._cores.free(self._cores.all)

    @property
    def runs_long(self) -> bool:
        """Whether the engine's runs are turns of the loop."""
        return self._has_room and self._run_s > LONG_S

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """In the thread: the engine runs in this block."""
        start = time.perf_counter()
        if self.runs_long:
            self.is_aside = True
            self._pause()
        try:
            yield
        finally:
            self.is_aside = False
            self._run_s += 0.1 * (time.perf_counter() - start - self._run_s)

    def rest(self) -> None:
        """In the thread: there is nothing to do."""
        self._its_cores = self._its_cores or allowed()
        self._thread = threading.get_native_id()
        self._pause()

    def _pause(self) -> None:
        if self.is_waiting:
            self.is_waiting = False  # it is woken once
            self._paused.put(None)
        else:
            self.on_pause()

    def rise(self) -> None:
        """In the thread: there is something to do."""
        self._thread = 0
        if self._is_bound:
            self._is_bound = False
            self._cores.free(self._its_cores)


def allowed() -> list[int]:
    """The cores on which this thread may run; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Cores:
    """The cores of this process, and the one on which its threads meet.

    They are bound to it in their sleep only, and awake may run anywhere: a pool of threads, or a
    process that a script starts, would be bound for ever.
    """

    def __init__(self, number: int | None) -> None:
        self.all = allowed()
        self._number, self._core, self._chosen_at = number, 0, 0.0
        self._here: Callable[[], int] | None = None
        if self.all:  # PyDLL keeps the interpreter lock, which CDLL would give away
            self._here = getattr(ctypes.PyDLL(None), "sched_getcpu", None)
        self._is_able = len(self.all) > 1 and (number is not None or self._here is not None)

    def bind(self, thread: int) -> None:
        """Let ``thread``, a native id or 0 for this one, wake on the core."""
        now = time.monotonic()
        if self._is_able and now - self._chosen_at > CORE_S:
            self._core, self._chosen_at = self._choice(), now
        self._set(thread, [self._core])

    def _choice(self) -> int:
        if self._number is not None:
            return self.all[self._number % len(self.all)]
        # Where the kernel has put the loop: another core may be somebody else's.
        return self._here() if self._here is not None else 0

    def free(self, cores: Sequence[int]) -> None:
        """This thread may run on these again."""
        self._set(0, cores)

    def _set(self, thread: int, cores: Sequence[int]) -> None:
        if self._is_able:
            try:
                os.sched_setaffinity(thread, cores)
            except OSError:  # a container that does not let us, or the thread is gone
                self._is_able = False
