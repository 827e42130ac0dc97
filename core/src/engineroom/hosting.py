"""Starts and stops a model for a server, and hands out its runner while it is ready."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import anyio

from engineroom.devices import Place
from engineroom.errors import EngineHangError, LoadError, PackageError, SettingError
from engineroom.model import Model, State
from engineroom.package import Package, open_package
from engineroom.plugins import Registry
from engineroom.runner import Runner, own_event_loop
from engineroom.settings import Settings
from engineroom.turns import Turns

log = logging.getLogger("engineroom")

_one_load = threading.Lock()
"""Held while a server loads: no framework expects to be imported while another one is."""


STUCK = 1.1
"""A thread is stuck when a run has taken so many times ``timeout_s``: all its clients have left."""

T = TypeVar("T")


def run_apart(work: Callable[[], T]) -> T:
    """``work()`` in a thread like those of the server, where no signal handler can be set."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with own_event_loop():
                results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="engineroom-apart", daemon=False)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def in_url(name: str) -> str:
    """A model's name as a part of a path."""
    return re.sub(r"[^\w.-]+", "-", name)


def open_packages(paths: Sequence[tuple[str, Path]], settings: Settings) -> dict[str, Package]:
    """The packages that one server serves, by the name of their model.

    ``paths`` are names and places; without a name a package says itself what it is called.

    Raises:
        PackageError: one of them is none.
        SettingError: one name for several packages.
    """
    if len(paths) > 1 and settings.name:
        raise SettingError(f"name {settings.name!r} is for one package; write NAME=PATH for each")
    opened: dict[str, Package] = {}
    for given, path in paths:
        package = open_package(path)
        name = given or settings.name or package.name
        if in_url(name) in map(in_url, opened):
            raise SettingError(f"two packages are called {in_url(name)!r}; write NAME=PATH")
        opened[name] = package
    return opened


def make_hosts(
    packages: Mapping[str, Package],
    settings: Settings,
    own_process: Place | None = None,
    in_background: bool = False,
    turns: Turns | None = None,
) -> list[Host]:
    """A host for each package; the arguments are those of :class:`Model` and :class:`Host`.

    Several models take no turns: while one of them works, the others' requests must go on.

    Raises:
        PackageError: one of several has a script.
        LoadError: no engine for one of the packages.
    """
    for name, package in packages.items():
        if package.script and len(packages) > 1:
            raise PackageError(
                f"{package.script}: a script owns its process, so {name!r} needs an app of its "
                "own; `engineroom serve` gives each package a process, and all of them one port"
            )
    registry = Registry(settings)
    return [
        Host(
            Model(package, settings, registry, own_process, name),
            in_background,
            turns if len(packages) == 1 else None,
        )
        for name, package in packages.items()
    ]


class Host:
    """A model, the thread that loads it, and the runner that it has once it is loaded."""

    def __init__(
        self, model: Model, in_background: bool = False, turns: Turns | None = None
    ) -> None:
        """``in_background``: requests that come before the model is ready are refused at once.

        ``turns``: where the event loop has nothing but this model to serve.
        """
        self.model, self.settings, self._turns = model, model.settings, turns
        self.in_background = in_background
        self.runner: Runner | None = None
        self._loading: threading.Thread | None = None
        self._stopping = False
        self._lock = threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether a request would be taken now."""
        return self.runner is not None and self.model.state is State.READY

    async def start(self) -> None:
        """Load the model; wait for it unless it loads in the background.

        Raises:
            LoadError: it cannot be loaded.
        """
        self._begin()
        if not self.in_background:
            await self._wait(None)
            if self.model.error is not None:
                raise self.model.error

    async def ready_runner(self, timeout_s: float) -> Runner:
        """The runner of the ready model. The first request of a mounted app starts the load.

        While somebody works on the package, a request waits for what has just been saved.

        Raises:
            NotReadyError: it is not ready, and why.
        """
        if self.runner is None and (self.settings.reload or not self.in_background):
            self._begin()
            await self._wait(timeout_s)
        if self.runner is None or not self.is_ready:
            raise self.model.not_ready()
        return self.runner

    def look(self) -> None:
        """See whether the engine still comes back: called once a second.

        While all threads are stuck, whoever comes or waits is sent away at once. A slow engine that
        does come back is ready again.
        """
        self.model.check_engine()
        runner, model, timeout_s = self.runner, self.model, self.settings.timeout_s
        if runner is None:
            return
        is_stuck = runner.busy_for(STUCK * timeout_s) == runner.threads
        if is_stuck and model.state is State.READY:
            model.state = State.STUCK
            log.error("%s; --timeout-s is %g", model.not_ready(), timeout_s)
        elif model.state is State.STUCK and not is_stuck:
            model.state = State.READY
            log.warning("model %r is ready again: it was slow; see --timeout-s", model.name)
        if is_stuck:
            runner.send_away(model.not_ready())

    def give_up_after(self, hang_s: float) -> None:
        """Fail a model of which a thread has not come back for so long."""
        if self.runner is not None and self.runner.busy_for(hang_s) and self.model.error is None:
            error = EngineHangError(
                f"a request has been running for {hang_s:g} s and its engine does not come back; "
                "if it is only slow, raise --hang-s"
            )
            self.model.error, self.model.state = error, State.FAILED
            log.error("model %r: %s", self.model.name, error)

    def stop(self) -> None:
        """Finish what is queued, within ``drain_s``, then unload."""
        with self._lock:
            self._stopping = True
            runner, self.runner = self.runner, None
        self.model.drain()
        if runner is not None:
            if runner.stop(self.settings.drain_s):
                self.model.unload()
            else:  # the engine may crash when it is closed under a thread that is stuck in it
                self.model.state = State.STOPPED

    def _begin(self) -> None:
        with self._lock:
            if self._loading is None or self.model.state is State.STOPPED:
                self._stopping = False
                # Not a daemon: the script's own threads would inherit that, and could then not be
                # told from those that their author has made to run for ever.
                self._loading = threading.Thread(
                    target=self._load, name="engineroom-load", daemon=False
                )
                self._loading.start()

    def _load(self) -> None:
        model, runners = self.model, list[Runner]()

        def warm_up(work: Callable[[], None]) -> None:
            limit = self.settings.max_queue_size
            # A loop that sleeps gets none of those for whom a batch waits.
            turns = None if self.settings.batch_wait_ms else self._turns
            if turns is not None and model.threads == 1:
                model.predictor.aside = turns.aside
            runners.append(Runner(model.answers, model.turn, model.threads, limit, work, turns))
            runners[0].wait_until_prepared()

        try:
            with _one_load, own_event_loop():
                if self._stopping:
                    model.state = State.STOPPED
                    return
                model.load(warm_up)
        except LoadError as error:
            log.error("%s", error, exc_info=error if self.settings.debug else None)
        with self._lock:
            if model.state is State.READY and not self._stopping:
                (self.runner,) = runners
                self.runner.max_batch_size = model.max_batch_size
                self.runner.batch_wait_s = self.settings.batch_wait_ms / 1e3
                return
        for runner in runners:
            runner.stop(0)
        if model.state is not State.FAILED:  # the server has begun to stop meanwhile
            model.unload()

    async def _wait(self, timeout_s: float | None) -> None:
        """Return when the load has ended, well or badly, or the time is up."""
        with anyio.move_on_after(timeout_s):
            while self._loading is not None and self._loading.is_alive():
                await anyio.sleep(0.005)
