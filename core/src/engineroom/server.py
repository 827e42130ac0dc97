"""Runs the app under uvicorn: one process, several workers, or one that restarts on changes."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from engineroom import behind, children, front
from engineroom.app import Application
from engineroom.devices import listed_devices, settle
from engineroom.errors import LOAD_FAILED, EngineEndError, LoadError
from engineroom.hosting import Host, make_hosts, open_packages
from engineroom.listening import Acceptor, begin_no_more, listen
from engineroom.logs import configure
from engineroom.model import State
from engineroom.protocol import Protocol
from engineroom.settings import ENV_PREFIX, Settings
from engineroom.turns import Turns
from engineroom.workers import Seat, Supervisor
from engineroom.workplace import SCRATCH, close_all

log = logging.getLogger("engineroom")

PATHS = f"{ENV_PREFIX}PATHS"
KEEP_ALIVE_S = 75
LAST_CALL_S = 0.5
"""At the end, how long clients that keep a connection have to use it once more."""
LAST_ARRIVAL_S = 0.1
"""How long a connection may take to be made that had begun before the end."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_hosts: list[Host] = []
_seat: Seat | None = None
"""This process's, if it is one of several workers."""


def serve(
    paths: Sequence[tuple[str, Path]], settings: Settings, pythons: Mapping[str, Path]
) -> int:
    """Serve the packages at ``paths``, with their names or "", until a signal; the exit code.

    ``pythons``: by the name of a package, the interpreter that is to serve it.

    Raises:
        LoadError: no package there.
        SettingError: an address that cannot be listened on, devices that do not fit the workers,
            an interpreter that cannot serve.
    """
    configure(settings)
    packages = open_packages(paths, settings)
    commands = children.commands(paths, packages, pythons)
    listed_devices(settings)
    os.environ.update(settings.environment())
    os.environ[PATHS] = json.dumps([(name, str(path.resolve())) for name, path in paths])
    if behind.is_behind():
        behind.end_with_front()
        listening = behind.listen()
    else:
        listening = listen(settings.host, settings.port)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        log.info("serving %s on http://%s:%d (Ctrl-C stops)", ", ".join(packages), shown, port)
    config = _config(settings)
    # uvicorn raises the signal that stopped it once more; the exit code should still be 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        # That of a child is in the front's: what is killed leaves nothing.
        above = os.environ.get(SCRATCH) if behind.is_behind() else None
        with tempfile.TemporaryDirectory(
            "", "engineroom-", above, ignore_cleanup_errors=True
        ) as scratch:
            os.environ[SCRATCH] = scratch
            if commands:
                return front.run(Server(config), listening, commands, settings)
            roots = [package.root for package in packages.values()]
            return _run(config, listening, settings, roots)
    except KeyboardInterrupt:
        return 0
    finally:
        listening.close()
        log.info("stopped")


def _run(
    config: uvicorn.Config, listening: socket.socket, settings: Settings, roots: Sequence[Path]
) -> int:
    if settings.reload:
        from engineroom.tools.reload import Reloader, Sources

        reloader = Reloader(config, Server(config).run, [listening])
        reloader.sources = Sources(roots)
        listening.listen()  # a request that comes before the process waits for it
        reloader.run()
        return 0
    if settings.workers > 1:
        return Supervisor(_work, listening, settings).run()
    Server(config).run([listening])
    return 0


def _work(seat: Seat, listening: socket.socket) -> None:
    """A worker, from the start of its process to its end."""
    global _seat
    _seat = seat
    # uvicorn raises the signal that stopped it once more; the exit code should still be 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to all
    Server(_config(Settings.read())).run([listening])


class Server(uvicorn.Server):
    """uvicorn's server with a watch over its models, and without a request lost at its end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._listening = sockets or []
        self._acceptor: Acceptor | None = None
        await super().startup([])
        if self.started:
            self._accept(_takes_connections())

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            _stop_when_failed()
            if _seat is not None:
                _seat.tell(_is_ready())
                self._accept(_takes_connections())
        return await super().on_tick(counter)

    def _accept(self, wanted: bool) -> None:
        """Take new connections, or leave them to the other workers.

        A worker that is stuck refuses quickly, and would draw the most requests.
        """
        if not wanted:
            if _seat is not None:
                _seat.accept_no_more()
            if self._acceptor is not None:
                self._acceptor.close()
            self._acceptor = None
        elif self._acceptor is None:
            self._acceptor = Acceptor(
                self._listening[0].dup(),
                self.config.backlog,
                self._protocol,
                self.server_state.connections,
                _seat.lead if _seat is not None else None,
                self.config.workers - 1,
            )
        if self._acceptor is not None:
            self._acceptor.look()

    def _on_lost(self) -> None:
        if self._acceptor is not None:
            self._acceptor.on_lost()

    async def _empty(self, listening: socket.socket) -> None:
        """Take those whose connection has been made and not accepted: they would get a reset."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        with contextlib.suppress(OSError):  # BlockingIOError: that was the last
            while True:
                await loop.connect_accepted_socket(self._protocol, listening.accept()[0])

    def _protocol(self) -> Protocol:
        protocol = Protocol(self.config, self.server_state, self.lifespan.state)
        protocol.on_lost = self._on_lost
        return protocol

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what listens; give clients the time to learn with an answer that theirs ends."""
        self._accept(False)
        if multiprocessing.parent_process() is None:  # else others accept on it
            for each in self._listening:
                begin_no_more(each)
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        for connection in state.connections:
            if isinstance(connection, Protocol) and connection.cycle is not None:
                connection.cycle.default_headers = state.default_headers
        limit = time.monotonic() + LAST_ARRIVAL_S
        while _takes_connections() and time.monotonic() < limit:
            for each in self._listening:
                await self._empty(each)
            await asyncio.sleep(0.02)
        for each in self._listening:
            each.close()
        limit = time.monotonic() + LAST_CALL_S
        while state.connections and time.monotonic() < limit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        "engineroom.server:app",
        factory=True,
        workers=settings.workers,
        http=Protocol,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=not behind.is_behind(),  # there the front's is enough
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )


def app() -> ASGIApp:
    """The app of this process, from its environment: what every worker calls at its start."""
    settings = Settings.read()
    configure(settings)
    faulthandler.enable(file=2)  # the line of the script in which an engine crashes
    # Scripts log with print, and a file or a pipe would keep that back.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    paths = [(name, Path(path)) for name, path in json.loads(os.environ[PATHS])]
    if settings.reload:
        from engineroom.tools.reload import reloaded_app

        return reloaded_app(paths, settings)
    try:
        return Served(prepared_hosts(paths, settings))
    except LoadError as error:
        log.error("%s", error)
        behind.tell(str(error))
        sys.exit(LOAD_FAILED)


def prepared_hosts(paths: Sequence[tuple[str, Path]], settings: Settings) -> list[Host]:
    """The hosts of this process.

    Raises:
        LoadError: no engine for one of the packages, or no device.
    """
    place = settle(settings, _seat.number if _seat else 0)
    # One of several workers takes connections only when it is ready; a single one says so itself.
    in_background = settings.workers == 1 or settings.reload
    turns = Turns(_seat.number if _seat else None, settings.workers)
    _hosts[:] = make_hosts(open_packages(paths, settings), settings, place, in_background, turns)
    return _hosts


class Served(Application):
    """An app in a process of its own, which ends even when a thread of the script does not."""

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        # uvicorn heeds a signal only once the app has started, and that may take minutes.
        previous = {sign: signal.signal(sign, lambda *_: leave(0)) for sign in SIGNALS}
        try:
            async with super()._lifespan(app):
                for sign, handler in previous.items():
                    signal.signal(sign, handler)
                yield
        except LoadError as error:
            behind.tell(str(error))
            # The supervisor replaces a worker that ends so, and gives up where a load has failed.
            leave(error.exit_code)
        for host in _hosts:
            if isinstance(host.model.error, EngineEndError):
                leave(host.model.error.exit_code)
        threading.Thread(target=_leave_soon, daemon=True).start()

    def _workers(self) -> dict[str, Any]:
        return {"workers": {"ready": _seat.up, "of": _seat.of}} if _seat else {}


def leave(code: int) -> None:
    """End the process now; the interpreter would wait for every thread of the script."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the script may have closed it
            stream.flush()
    close_all()
    if multiprocessing.parent_process() is None and SCRATCH in os.environ:
        shutil.rmtree(os.environ[SCRATCH], ignore_errors=True)
    os._exit(code)


def _leave_soon() -> None:
    time.sleep(1)
    leave(0)


def _is_ready() -> bool:
    return all(host.is_ready for host in _hosts)


def _takes_connections() -> bool:
    """Whether new connections are for this process: one of several may leave them to the others."""
    return _seat is None or _is_ready() or _seat.up == 0


def _stop_when_failed() -> None:
    """Called once a second: a server whose model failed has nothing to serve.

    Except that one which reloads tells why until the package is mended.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and not supervisor.is_alive():
        signal.raise_signal(signal.SIGTERM)  # nobody is left to stop or replace this worker
    for host in _hosts:
        if not host.settings.reload:
            host.give_up_after(_seat.hang_s if _seat else host.settings.hang_limit_s)
    failed = [host.model.error for host in _hosts if host.model.state is State.FAILED]
    if any(isinstance(error, EngineEndError) for error in failed):
        signal.raise_signal(signal.SIGTERM)  # those who wait get their answers first
    elif failed and not _hosts[0].settings.reload:
        behind.tell(str(failed[0]))
        leave(LOAD_FAILED)
