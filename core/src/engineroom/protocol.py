"""uvicorn's HTTP protocol with two repairs, and fewer system calls."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from engineroom.app import Site
from engineroom.endpoint import Predict, Reply, Underway
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
        waiting, self._waiting = self._waiting, []
        if waiting and not self._transport.is_closing():  # the client may have left meanwhile
            self._transport.writelines(waiting)


class Exchange:
    """A prediction that is all here, and its answer. Stands where uvicorn has its cycle."""

    def __init__(self, endpoint: Predict, scope: Scope, keep_alive: bool) -> None:
        self.endpoint, self.scope, self.keep_alive = endpoint, scope, keep_alive
        self.body: list[bytes] = []
        self.response_complete = self.disconnected = False
        self.message_event = asyncio.Event()
        """Set when the client leaves."""

    async def receive(self) -> Message:
        """What ASGI receives once the body has come."""
        await self.message_event.wait()
        return {"type": "http.disconnect"}


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 on httptools.

    A prediction that comes whole, as most do, is begun where the parser ends it and answered where
    its result comes back, without uvicorn's scope, cycle and task. All else goes uvicorn's way.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._site = self.app if isinstance(self.app, Site) else None
        self.on_lost: Callable[[], object] = bool
        """Called when the connection has ended."""
        self._coming: Exchange | None = None
        """A prediction whose head is here, and whose body is in what is being read, perhaps."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joined = JoinedWrites(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._joined))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        # The parser drops the body of a request that offers an upgrade, as Java's HttpClient and
        # curl --http2 do with h2c on every POST. An offer may be ignored (RFC 9110, 7.8).
        # Only where a request begins: the body may be long.
        if (self.cycle is None or self.cycle.response_complete) and b"pgrade:" in data:
            head, end, rest = data.partition(b"\r\n\r\n")
            data = (UPGRADE.sub(b"", head) if end else head) + end + rest
        super().data_received(data)
        if self._coming is not None:  # the rest of the body is still to come
            coming, self._coming = self._coming, None
            if not self.transport.is_closing():
                self._hand_over(coming.scope["headers"], coming.body)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        path, headers = self.url.decode("latin-1"), self.headers
        endpoint = self._endpoint_at(path)
        if endpoint is None:
            self._hand_over(headers)
        else:
            scope = {
                "type": "http", "method": "POST", "path": path, "query_string": b"",
                "headers": headers,
            }  # fmt: skip
            self._coming = Exchange(endpoint, scope, self.parser.should_keep_alive())
        self.headers = []  # what may follow a chunked body is not to be taken for them

    def _endpoint_at(self, path: str) -> Predict | None:
        """What answers the request whose head has been read, if that is a plain prediction."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if not is_idle or self._site is None or self.parser.get_method() != b"POST":
            return None
        is_odd = self.expect_100_continue or self.parser.should_upgrade() or self.flow.write_paused
        if is_odd or self.parser.get_http_version() != "1.1":
            return None
        return self._site.predict_at(path)

    def _hand_over(self, headers: list[tuple[bytes, bytes]], body: Sequence[bytes] = ()) -> None:
        """Let uvicorn have the request whose head, and ``body`` so far, have been read."""
        url, expect = self.url, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()
        for part in body:
            super().on_body(part)

    def on_body(self, body: bytes) -> None:
        if self._coming is None:
            super().on_body(body)
        else:
            self._coming.body.append(body)

    def on_message_complete(self) -> None:
        if self._coming is not None:
            exchange, self._coming = self._coming, None
            body = exchange.body[0] if len(exchange.body) == 1 else b"".join(exchange.body)
            begun = exchange.endpoint.begin(exchange.scope, body, exchange.receive)
            if begun is not None:
                self._take(exchange, begun)
                return
            self._hand_over(exchange.scope["headers"], exchange.body)
        super().on_message_complete()

    def _take(self, exchange: Exchange, begun: Underway | Reply) -> None:
        self.cycle = cast(RequestResponseCycle, exchange)
        if isinstance(begun, Reply):
            # Later, or one connection's many bad requests would be answered before all others.
            self.loop.call_soon(self._write, exchange, begun)
        else:
            # uvicorn waits for these when it stops, and cancels those that take too long.
            self.tasks.add(cast("asyncio.Task[None]", begun))
            begun.job.then = functools.partial(self._answer, exchange, begun)

    def _answer(self, exchange: Exchange, underway: Underway) -> None:
        self.tasks.discard(cast("asyncio.Task[None]", underway))
        try:
            self._write(exchange, underway.end())
        except Exception:
            self.transport.close()  # no client waits for what does not come
            raise

    def _write(self, exchange: Exchange, reply: Reply) -> None:
        if exchange.disconnected:
            return
        default = self.server_state.default_headers
        # A server that stops says so to each connection, with the last of what it has read there.
        if CLOSE in default and not self.pipeline:
            exchange.keep_alive = False
        headers = [*(header for header in default if header != CLOSE), *reply.headers]
        if not exchange.keep_alive:
            headers.append(CLOSE)
        lines = [b"%s: %s" % header for header in headers]
        status = STATUS_LINE[reply.status].rstrip()
        exchange.response_complete = True
        self._joined.write_now(b"\r\n".join([status, *lines, b"", reply.body]))
        if not exchange.keep_alive:
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
