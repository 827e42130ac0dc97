"""``engineroom serve --reload``: a server that starts again when its package changes.

A process of its own for each version, since nothing else forgets what a script has done to the
libraries it imports. A version that cannot be loaded still answers: with 503 and the reason.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.supervisors.basereload import BaseReload

from engineroom.errors import LoadError, NotReadyError
from engineroom.hosting import open_packages
from engineroom.package import CONFIG
from engineroom.responses import START, UNREAD, error_response
from engineroom.server import Served, prepared_hosts
from engineroom.settings import ENV_PREFIX, Settings

log = logging.getLogger("engineroom")

POLL_S = 0.1
PATIENCE_S = 3.0
"""How long a request may hold up a reload; it may well be the endless loop that was mended."""
DIED = f"{ENV_PREFIX}DIED"
LEFT_OUT = ("__pycache__", "site-packages", "node_modules")

Stamps: TypeAlias = dict[str, tuple[int, int]]


class Sources:
    """The Python files and config.json files below some folders."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = roots
        self.stamps = self._read()

    def new_stamps(self) -> Stamps | None:
        """What the files are now, if that differs and has settled; None otherwise."""
        now = self._read()
        if now == self.stamps:
            return None
        time.sleep(POLL_S)  # an editor writes a file in several steps
        return now if self._read() == now else None

    def changed(self) -> list[str]:
        """The known files that have changed."""
        return [path for path, stamp in self.stamps.items() if _stamp(path) != stamp]

    def difference(self, now: Stamps) -> str:
        """The names of the files that differ, for the log."""
        before = self.stamps
        paths = sorted(path for path in before.keys() | now if before.get(path) != now.get(path))
        names = [os.path.relpath(path, _root_of(path, self.roots)) for path in paths[:3]]
        return ", ".join(names) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")

    def _read(self) -> Stamps:
        return {path: stamp for path in self._paths() if (stamp := _stamp(path)) is not None}

    def _paths(self) -> Iterator[str]:
        for root in self.roots:
            for folder, folders, names in os.walk(root):
                folders[:] = [f for f in folders if f[0] != "." and f not in LEFT_OUT]
                for name in names:
                    if (name.endswith(".py") and name[0] != ".") or name == CONFIG:
                        yield os.path.join(folder, name)


def _root_of(path: str, roots: Sequence[Path]) -> Path:
    return next(root for root in roots if Path(path).is_relative_to(root))


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


class Reloader(BaseReload):
    """Supervises the one process that serves."""

    sources: Sources

    def run(self) -> None:
        """Serve until a signal."""
        os.environ.pop(DIED, None)
        self.startup()
        while not self.should_exit.wait(POLL_S):
            if now := self.sources.new_stamps():
                log.info("%s changed; loading it again", self.sources.difference(now))
                self.sources.stamps = now
                self.restart()
            elif not self.process.is_alive() and not self.should_exit.is_set():
                self._report_death(self.process.exitcode)
        self.shutdown()

    def restart(self) -> None:
        self.process.terminate()
        self.process.join(PATIENCE_S)
        self.process.kill()
        super().restart()

    def _report_death(self, code: int | None) -> None:
        """Somebody has to answer, and to load again what ends its process would not help."""
        os.environ[DIED] = f"the process of the server ended with exit code {code}"
        log.error("%s; it is started again when the package changes", os.environ[DIED])
        super().restart()
        del os.environ[DIED]


def reloaded_app(paths: Sequence[tuple[str, Path]], settings: Settings) -> ASGIApp:
    """The app of this process, which answers whatever happens to the package."""
    try:
        sources = Sources([package.root for package in open_packages(paths, settings).values()])
    except LoadError as error:  # the folder has gone
        return Refusing(str(error), settings)
    return Current(_app(paths, settings), sources, settings)


def _app(paths: Sequence[tuple[str, Path]], settings: Settings) -> Starlette:
    if reason := os.environ.get(DIED):
        return Refusing(reason, settings)
    try:
        return Served(prepared_hosts(paths, settings))
    except LoadError as error:
        log.error("%s", error, exc_info=error if settings.debug else None)
        return Refusing(str(error), settings)


class Current:
    """The app of one version, which does not answer any more once its files have changed."""

    def __init__(self, app: ASGIApp, sources: Sources, settings: Settings) -> None:
        self.app, self.sources, self.settings = app, sources, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] == "http" and scope["method"] == "POST"
        if is_request and (changed := self.sources.changed()):
            names = ", ".join(os.path.basename(path) for path in changed[:3])
            reason = f"{names} has changed and is being loaded; send the request again"
            await refuse(reason, self.settings, scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Refusing(Starlette):
    """The app of a version that is not even a package with an engine."""

    def __init__(self, reason: str, settings: Settings) -> None:
        super().__init__()
        self.reason, self.settings = reason, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await refuse(self.reason, self.settings, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def refuse(
    reason: str, settings: Settings, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer any request with 503 and the reason."""
    scope[START] = time.monotonic()
    scope[UNREAD] = scope["method"] == "POST"
    await error_response(NotReadyError(reason), scope, settings)(scope, receive, send)
