"""Serves packages that need processes of their own on one port.

Loads no engine and no script: it passes requests on to the processes that do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Scope, Send

from engineroom.app import INFERS, Site, url_of
from engineroom.children import ASK_S, Child
from engineroom.endpoint import TIMEOUT, Endpoint, Head, Watch
from engineroom.errors import LOAD_FAILED, ProcessEndError, RequestError, SettingError
from engineroom.relay import Exchange, Reply
from engineroom.responses import START, UNREAD, request_id_of
from engineroom.settings import Settings
from engineroom.workplace import SCRATCH

log = logging.getLogger("engineroom")

GRACE_S = 1.0
"""A child answers late requests itself, and says more; only when it does not, the front does."""
EXACT_S = 0.05
"""A child that gets a request sooner than this is left to its own clock."""
LIVE_S = 0.5
"""Those who ask whether a server is alive often wait for one second."""
MAX_SOCKET_PATH = 100
"""What every system takes."""


def run(
    server: uvicorn.Server,
    listening: socket.socket,
    commands: Mapping[str, Sequence[str]],
    settings: Settings,
) -> int:
    """Serve until a signal, or until no package is left that can be loaded; the exit code.

    ``commands`` are those of the children, by name.

    Raises:
        SettingError: the folder for temporary files is too deep for sockets.
    """
    place = os.environ[SCRATCH]
    if len(os.fsencode(place)) > MAX_SOCKET_PATH - 10:
        raise SettingError(f"{place} is too long for a socket; set TMPDIR to a shorter path")
    children = [
        Child(name, command, f"{place}/{i}", settings)
        for i, (name, command) in enumerate(commands.items())
    ]
    front = Front(children, settings)
    config = server.config
    config.app, config.factory, config.callback_notify = front, False, front.stop_when_failed
    server.run([listening])
    return LOAD_FAILED if front.has_failed else 0


class Front(Site):
    """Models in other processes."""

    def __init__(self, children: Sequence[Child], settings: Settings) -> None:
        self.children = children
        self._replacing: asyncio.Task[None] | None = None
        super().__init__(
            {child.name: {"/": Forward(child, settings)} for child in children}, settings
        )

    def endpoint_at(self, path: str) -> ASGIApp | None:
        # What is below a model's url is for its process to say: it may load another config.json.
        if not path.startswith(INFERS):
            return self.predicts["/"]
        name, _, _ = path.removeprefix(INFERS).partition("/")
        return self.predicts.get(INFERS + name)

    @property
    def has_failed(self) -> bool:
        """Whether there is nothing to serve."""
        return all(child.has_failed for child in self.children)

    async def stop_when_failed(self) -> None:
        """Called by uvicorn once a second."""
        if self.has_failed:
            signal.raise_signal(signal.SIGTERM)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._replace_all)
        try:
            for child in self.children:
                await child.start()
            yield
        finally:
            if self._replacing is not None:
                self._replacing.cancel()
            await asyncio.gather(*(child.stop() for child in self.children))

    def _replace_all(self) -> None:
        async def replace() -> None:
            for child in self.children:
                await child.replace()

        if self._replacing is None or self._replacing.done():
            log.info("replacing the processes, one after the other")
            self._replacing = asyncio.get_running_loop().create_task(replace())

    async def _ask(self, path: str, timeout_s: float = ASK_S) -> list[tuple[Child, int, Any]]:
        answers = await asyncio.gather(*(child.ask(path, timeout_s) for child in self.children))
        return [(child, *answer) for child, answer in zip(self.children, answers, strict=True)]

    async def _live(self, _request: Request) -> Response:
        # Whatever ends is started again: only a front that is silent needs help.
        answers = await self._ask("/health/live", LIVE_S)
        models = {child.name: status == 200 for child, status, _ in answers}
        return JSONResponse({"status": "OK", "models": models})

    async def _states(self) -> list[tuple[bool, dict[str, Any]]]:
        return [_state(*answer) for answer in await self._ask("/health/ready")]

    async def _abouts(self) -> list[dict[str, Any]]:
        return [
            said["models"][0]
            if status == 200
            else {"name": child.name, "url": url_of(child.name), **said}
            for child, status, said in await self._ask("/v1/models")
        ]


def _state(child: Child, status: int, said: Any) -> tuple[bool, dict[str, Any]]:
    is_ready = status == 200
    # What a script's own health() says may be anything.
    known = said if isinstance(said, dict) else {"health": said}
    own = {"model": child.name, "state": "ready" if is_ready else "unavailable"}
    return is_ready, {**own, **{key: known[key] for key in known if key != "status"}}


class Forward(Endpoint):
    """Answers with what a child answers."""

    def __init__(self, child: Child, settings: Settings) -> None:
        super().__init__(settings)
        self.child = child

    async def _submit(self, scope: Scope, head: Head, watch: Watch) -> Exchange:
        self.child.check()
        body = await self._body(head.length, watch)
        scope[UNREAD] = False
        exchange = Exchange([_head(scope, head, body, watch), *body])
        watch.worker = self.child
        watch.deadline += GRACE_S
        self.child.send(exchange)
        return exchange

    async def _reply(self, _scope: Scope, send: Send, _job: Any, answer: Reply) -> None:
        start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        await send(start)
        for part in answer.body[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"".join(answer.body[-1:])})

    def _known(self, error: BaseException) -> RequestError:
        if isinstance(error, ConnectionAbortedError):
            name = self.child.name
            return ProcessEndError(f"the process of model {name!r} ended while it had the request")
        return self.child.not_ready() if isinstance(error, OSError) else super()._known(error)


def _head(scope: Scope, head: Head, body: Sequence[bytes], watch: Watch) -> bytes:
    """The head of the request for the child: all that it reads of the client's."""
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    lines = [
        b"POST %s%s HTTP/1.1" % (scope["raw_path"], query),
        b"host: front",
        b"content-length: %d" % sum(map(len, body)),
        b"x-request-id: " + request_id_of(scope).encode(),
    ]
    if head.content_type:
        lines.append(b"content-type: " + head.content_type.encode("latin-1"))
    if time.monotonic() - scope[START] > EXACT_S:
        lines.append(TIMEOUT + b": %.3f" % max(0.001, watch.deadline - time.monotonic()))
    elif head.timeout_s is not None:
        lines.append(TIMEOUT + b": %r" % head.timeout_s)
    return b"\r\n".join([*lines, b"", b""])
