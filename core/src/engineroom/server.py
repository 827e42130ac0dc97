"""Runs the app under uvicorn: one process, several workers, or one that restarts on changes."""

from __future__ import annotations

import contextlib
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

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from engineroom import behind, children, front
from engineroom.app import Application
from engineroom.devices import listed_devices, settle
from engineroom.errors import ENGINE_ENDED, LOAD_FAILED, EngineEndError, LoadError, SettingError
from engineroom.hosting import Host, make_hosts, open_packages
from engineroom.logs import configure
from engineroom.model import State
from engineroom.protocol import Protocol
from engineroom.settings import ENV_PREFIX, Settings
from engineroom.workplace import SCRATCH, close_all

log = logging.getLogger("engineroom")

PATHS = f"{ENV_PREFIX}PATHS"
KEEP_ALIVE_S = 75
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_hosts: list[Host] = []


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
        listening = _listen(settings.host, settings.port)
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
                return front.run(uvicorn.Server(config), listening, commands, settings)
            roots = [package.root for package in packages.values()]
            return _run(config, listening, settings, roots)
    except KeyboardInterrupt:
        return 0
    finally:
        listening.close()
        log.info("stopped")


class Workers(Multiprocess):
    """uvicorn's supervisor, told at once when a worker dies while it is asked for its health."""

    def keep_subprocess_alive(self) -> None:
        # With our copy of the worker's end closed, the pipe ends with the worker. Else the question
        # is waited for until the health check times out.
        for process in self.processes:
            process.child_conn.close()
            if process.exitcode not in (None, LOAD_FAILED):
                log.warning("worker %s ended (%s); starting another", process.pid, process.exitcode)
        super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        # Nobody accepts any more, so nobody shall wait to be accepted.
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def _run(
    config: uvicorn.Config, listening: socket.socket, settings: Settings, roots: Sequence[Path]
) -> int:
    if settings.reload:
        from engineroom.tools.reload import Reloader, Sources

        reloader = Reloader(config, uvicorn.Server(config).run, [listening])
        reloader.sources = Sources(roots)
        listening.listen()  # a request that comes before the process waits for it
        reloader.run()
        return 0
    if settings.workers > 1:
        supervisor = Workers(config, sockets=[listening])
        supervisor.run()
        failed = any(process.exitcode == LOAD_FAILED for process in supervisor.processes)
        return LOAD_FAILED if failed else 0
    uvicorn.Server(config).run(sockets=[listening])
    return 0


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
        # A worker that imports a large framework may hold the GIL for seconds.
        timeout_worker_healthcheck=30,
        callback_notify=_stop_when_failed,
        timeout_notify=0,
    )


def app() -> ASGIApp:
    """The app of this process, from its environment: what every worker calls at its start."""
    settings = Settings.read()
    configure(settings)
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
    place = settle(settings, os.environ.get(SCRATCH))
    # One of several workers takes connections only when it is ready; a single one says so itself.
    in_background = settings.workers == 1 or settings.reload
    _hosts[:] = make_hosts(open_packages(paths, settings), settings, place, in_background)
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
            leave(ENGINE_ENDED if isinstance(error, EngineEndError) else LOAD_FAILED)
        if any(isinstance(host.model.error, EngineEndError) for host in _hosts):
            leave(ENGINE_ENDED)
        threading.Thread(target=_leave_soon, daemon=True).start()


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


async def _stop_when_failed() -> None:
    """Called by uvicorn once a second: a server whose model failed has nothing to serve.

    Except that one which reloads tells why until the package is mended.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and not supervisor.is_alive():
        signal.raise_signal(signal.SIGTERM)  # nobody is left to stop or replace this worker
    for host in _hosts:
        host.model.check_engine()
    failed = [host.model.error for host in _hosts if host.model.state is State.FAILED]
    if any(isinstance(error, EngineEndError) for error in failed):
        signal.raise_signal(signal.SIGTERM)  # those who wait get their answers first
    elif failed and not _hosts[0].settings.reload:
        behind.tell(str(failed[0]))
        leave(LOAD_FAILED)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. uvicorn listens on it.

    Raises:
        SettingError: the address is taken, or not one of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # With its protocol named, asyncio sets TCP_NODELAY on what it accepts.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise SettingError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port"
        ) from None
    listening.set_inheritable(True)
    return listening
