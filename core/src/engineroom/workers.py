"""The supervisor of several worker processes on one socket: starts, replaces and stops them.

It loads no model and answers no request: it sleeps until a worker ends or a signal comes.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawArray
from typing import TypeAlias

from engineroom.errors import ENGINE_ENDED, ENGINE_HUNG, LOAD_FAILED
from engineroom.listening import begin_no_more
from engineroom.settings import Settings

log = logging.getLogger("engineroom")

LOOK_S = 0.2
"""Between two looks at the workers when none of them ends and no signal comes."""
SHORT_LIFE_S = 10.0
"""A worker that ended sooner after it was ready has failed: see :meth:`Place.delay_s`."""
MAX_DELAY_S = 30.0
MAX_PATIENCE = 16
KILL_AFTER_S = 10.0
"""How much longer than ``drain_s`` a worker may take to stop."""
ABORT_S = 2.0
NONE_WANTED = 2**31 - 1
"""Stands for the connections of a worker that accepts none."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Seat:
    """What a worker and its supervisor know of each other, in memory that both see."""

    def __init__(
        self,
        number: int,
        settings: Settings,
        up: list[int],
        connections: list[int],
        patience: int = 1,
    ) -> None:
        """``up`` holds one number: how many workers are ready; ``connections`` one for each."""
        self.number, self.of, self._up = number, settings.workers, up
        self._connections = connections
        self.hang_s = settings.hang_limit_s * patience
        """How long one run of the engine may take, or the worker say nothing."""
        self._heard: list[float] = RawArray("d", 2)

    @property
    def up(self) -> int:
        """How many workers are ready."""
        return self._up[0]

    def lead(self, connections: int) -> int:
        """Tell the others how many this one has; how many less another that accepts has."""
        self._connections[self.number] = connections
        return connections - min(self._connections)

    def accept_no_more(self) -> None:
        """The others need not wait for this one."""
        self._connections[self.number] = NONE_WANTED

    def tell(self, is_ready: bool) -> None:
        """The worker is alive: called once a second as soon as it takes connections."""
        self._heard[:] = [time.monotonic(), is_ready]

    @property
    def is_ready(self) -> bool:
        """What the worker has said last."""
        return bool(self._heard[1])

    @property
    def heard_at(self) -> float:
        """When the worker has said it; 0 before the first time."""
        return self._heard[0]


Target: TypeAlias = Callable[[Seat, socket.socket], None]


class Worker:
    """One process."""

    def __init__(self, target: Target, seat: Seat, listening: socket.socket) -> None:
        self.seat, self.began = seat, time.monotonic()
        self.kill_at: float | None = None
        self._heard_at = self._silent_s = 0.0
        context = multiprocessing.get_context("spawn")
        self.process: SpawnProcess = context.Process(target=target, args=(seat, listening))
        self.process.start()

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.seat.is_ready and self.kill_at is None and self.process.is_alive()

    def retire(self, drain_s: float) -> None:
        """Let it finish what it has."""
        if self.kill_at is None and self.process.is_alive():
            self.process.terminate()
            self.kill_at = time.monotonic() + drain_s + KILL_AFTER_S

    @property
    def has_served(self) -> bool:
        """Whether it was ever ready."""
        return self.seat.heard_at > 0

    def look(self, seconds: float) -> None:
        """End it if it does not stop when told, or says nothing: its interpreter is held.

        ``seconds`` have passed since the last look.
        """
        if self.kill_at is not None:
            if time.monotonic() > self.kill_at:
                self._kill("does not stop")
        elif self.seat.heard_at != self._heard_at or not self.has_served:
            self._heard_at, self._silent_s = self.seat.heard_at, 0.0
        else:
            self._silent_s += seconds
            if self._silent_s > self.seat.hang_s:
                self._kill(f"has said nothing for {self._silent_s:.0f} s")

    def _kill(self, why: str) -> None:
        log.error("worker %s %s; killing it", self.process.pid, why)
        if self.process.pid and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGABRT)  # faulthandler writes what each thread does
        self.process.join(ABORT_S)
        self.process.kill()
        self.process.join()

    def how_it_ended(self) -> str:
        """``SIGSEGV`` or ``exit code 1``."""
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class Place:
    """One of the workers that there shall be: its process, and how those before it have ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.successor: Worker | None = None
        """The one that takes over as soon as it is ready."""
        self.failures, self.hangs = 0, 0
        self.cannot_load = False
        self.start_at = 0.0

    def bury(self, code: int, has_served: bool, life_s: float) -> None:
        """Remember how the worker ended, and when to start the next."""
        self.worker, self.cannot_load = None, not has_served
        is_early = self.cannot_load or life_s < SHORT_LIFE_S
        self.failures = self.failures + 1 if is_early else 0
        self.hangs = self.hangs + 1 if code == ENGINE_HUNG else 0
        self.start_at = time.monotonic() + self.delay_s

    @property
    def delay_s(self) -> float:
        """Before the next start: none at first, then ever more, so that nothing spins."""
        return float(min(MAX_DELAY_S, 2.0 ** (self.failures - 2))) if self.failures > 1 else 0.0

    @property
    def patience(self) -> int:
        """An engine that is slow and not dead must not be replaced for ever: twice the time."""
        return int(min(MAX_PATIENCE, 2**self.hangs))


class Supervisor:
    """Keeps ``settings.workers`` workers running on the socket ``listening``."""

    def __init__(self, target: Target, listening: socket.socket, settings: Settings) -> None:
        """``target`` is called in each process with its seat and the socket."""
        self.target, self.listening, self.settings = target, listening, settings
        self.places = [Place(number) for number in range(settings.workers)]
        self._up: list[int] = RawArray("i", 1)
        self._connections: list[int] = RawArray("i", [NONE_WANTED] * settings.workers)
        self._leaving: list[Worker] = []
        self._renewing: list[Place] = []
        self._code: int | None = None
        self._looked_at = time.monotonic()

    def run(self) -> int:
        """Return at a signal, or when no worker can be loaded: the exit code."""
        with _woken_by_signals() as signals:
            try:
                while self._code is None:
                    self._look()
                    for place in self.places:
                        self._look_after(place)
                    self._renew()
                    self._up[0] = sum(worker.is_ready for worker in self._workers())
                    self._heed(_signals_from(signals, self._workers()))
            finally:  # whatever goes wrong here, no worker stays behind
                self._stop(signals)
        return self._code

    def _look(self) -> None:
        now = time.monotonic()
        # Where we have been stopped ourselves, as by Ctrl-Z, so were the workers.
        seconds, self._looked_at = min(now - self._looked_at, 5 * LOOK_S), now
        for worker in self._workers():
            worker.look(seconds)

    def _workers(self) -> list[Worker]:
        """All processes, also those that are about to leave."""
        found = [worker for place in self.places for worker in (place.worker, place.successor)]
        return [worker for worker in found if worker is not None] + self._leaving

    def _heed(self, signals: bytes) -> None:
        # Before anybody looks for workers that have ended: one signal may have gone to all.
        if signal.SIGTERM in signals or signal.SIGINT in signals:
            self._code = 0
        elif signal.SIGHUP in signals:
            log.info("replacing the workers one by one")
            self._renewing += self.places

    def _start(self, place: Place) -> Worker:
        shared = self._up, self._connections
        seat = Seat(place.number, self.settings, *shared, place.patience)
        return Worker(self.target, seat, self.listening)

    def _look_after(self, place: Place) -> None:
        worker = place.worker
        if worker is None:
            # What could not be loaded is tried again only beside a worker that could.
            if time.monotonic() >= place.start_at and (not place.cannot_load or self._up[0]):
                place.worker = self._start(place)
            return
        if not worker.process.is_alive():
            life_s = time.monotonic() - worker.began
            place.bury(worker.process.exitcode or 0, worker.has_served, life_s)
            worker.seat.accept_no_more()
            self._report(place, worker)

    def _report(self, place: Place, worker: Worker) -> None:
        when, following = "", "starting another"
        if place.delay_s:
            following += f" in {place.delay_s:g} s"
        if place.cannot_load:
            when = " before it was ready"
            if all(each.cannot_load and each.worker is None for each in self.places):
                code, following = worker.process.exitcode, "none is left; stopping"
                self._code = ENGINE_ENDED if code == ENGINE_ENDED else LOAD_FAILED
            elif not self._up[0]:
                following += " once one of the others is ready"
        ended = worker.how_it_ended()
        log.warning("worker %s ended%s (%s); %s", worker.process.pid, when, ended, following)

    def _renew(self) -> None:
        """One step: a new worker is started, takes over when it is ready, the old one leaves."""
        self._leaving = [worker for worker in self._leaving if worker.process.is_alive()]
        if not self._renewing or self._leaving:
            return
        place = self._renewing[0]
        if place.successor is None:
            place.successor = self._start(place)
        elif place.successor.is_ready:
            if place.worker is not None:
                place.worker.retire(self.settings.drain_s)
                self._leaving.append(place.worker)
            place.worker, place.successor = place.successor, None
            del self._renewing[0]
        elif not place.successor.process.is_alive():
            log.error(
                "the new worker ended before it was ready (%s); the old ones stay",
                place.successor.how_it_ended(),
            )
            place.successor = None
            self._renewing.clear()

    def _stop(self, signals: socket.socket) -> None:
        # The workers accept what has begun. None of them will be there for the next.
        begin_no_more(self.listening)
        self.listening.close()
        for worker in self._workers():
            worker.retire(self.settings.drain_s)
        while any(worker.process.is_alive() for worker in self._workers()):
            _signals_from(signals, self._workers())
            self._look()


@contextlib.contextmanager
def _woken_by_signals() -> Iterator[socket.socket]:
    """A socket that has a byte for each signal that has come."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        previous = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for sign in SIGNALS:
            signal.signal(sign, lambda *_: None)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(previous)


def _signals_from(signals: socket.socket, workers: Sequence[Worker]) -> bytes:
    """The signals that have come; waits ``LOOK_S`` for one, or for a worker to end."""
    alive = [worker.process.sentinel for worker in workers if worker.process.is_alive()]
    ready = wait([signals, *alive], LOOK_S)
    return os.read(signals.fileno(), 4096) if signals in ready else b""
