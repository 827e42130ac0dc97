"""uvicorn's HTTP protocol with two repairs, and fewer system calls."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import select
import sys
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from engineroom.app import Site
from engineroom.endpoint import Underway
from engineroom.errors import InvalidBodyError

CLOSE = (b"connection", b"close")
UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class JoinedWrites:
    """A transport whose writes go out together, once the loop has run what is ready.

    uvicorn writes head and body of a response one by one, and each write is a system call that
    gives the interpreter lock away.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def write_now(self, data: bytes) -> None:
        """What has been written before, and this."""
        self._waiting.append(data)
        self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._transport.writelines(waiting)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 on httptools."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._site = self.app if isinstance(self.app, Site) else None
        self._is_reading = False
        self._new: RequestResponseCycle | None = None
        """A request whose head is here, and whose body may be in what is being read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joined = JoinedWrites(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._joined))

    def data_received(self, data: bytes) -> None:
        # The parser drops the body of a request that offers an upgrade, as Java's HttpClient and
        # curl --http2 do with h2c on every POST. An offer may be ignored (RFC 9110, 7.8).
        # Only where a request begins: the body may be long.
        if (self.cycle is None or self.cycle.response_complete) and b"pgrade:" in data:
            head, end, rest = data.partition(b"\r\n\r\n")
            data = (UPGRADE.sub(b"", head) if end else head) + end + rest
        self._is_reading = True
        super().data_received(data)
        self._is_reading = False
        if self._new is not None:  # the rest of the body is still to come
            cycle, self._new = self._new, None
            super()._start_asgi_task(cycle, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        is_plain = app is self._site and not cycle.waiting_for_100_continue
        if is_plain and self._is_reading and cycle.more_body:
            self._new = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._new is not None:
            cycle, self._new = self._new, None
            self._begin(cycle, self.app)

    def _begin(self, cycle: RequestResponseCycle, site: Any) -> None:
        """Begin with a request that is all here: without a task, if it is a plain prediction."""
        underway: Underway | None = None
        if not self.flow.write_paused:
            underway = site.begin(cycle.scope, bytes(cycle.body), cycle.receive)
        if underway is None:
            super()._start_asgi_task(cycle, site)
            return
        # uvicorn waits for these when it stops, and cancels those that take too long.
        self.tasks.add(cast("asyncio.Task[None]", underway))
        underway.job.then = functools.partial(self._answer, cycle, underway)

    def _answer(self, cycle: RequestResponseCycle, underway: Underway) -> None:
        self.tasks.discard(cast("asyncio.Task[None]", underway))
        ended = underway.end()
        if isinstance(ended, tuple):
            self._write(cycle, *ended)
        else:
            super()._start_asgi_task(cycle, cast(Any, ended))

    def _write(
        self, cycle: RequestResponseCycle, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        if cycle.disconnected:
            return
        headers = [*cycle.default_headers, *headers]
        if CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append(CLOSE)
        lines = [b"HTTP/1.1 200 OK", *(b"%s: %s" % header for header in headers), b"", body]
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        self._joined.write_now(b"\r\n".join(lines))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def shutdown(self) -> None:
        """Close the connection after the response that is on its way, or at once if none is.

        Not under a request that has come and has not been read yet.
        """
        waiting = select.poll()
        waiting.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        is_idle = self.cycle is None or self.cycle.response_complete
        if not is_idle or not waiting.poll(0):
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP, in the words of the parser and the shape of ours."""
        reason = str(sys.exc_info()[1] or msg)
        error = InvalidBodyError(f"the request is not valid HTTP: {reason}")
        body = json.dumps(error.body("none")).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        self.transport.close()
