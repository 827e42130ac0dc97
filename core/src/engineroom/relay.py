"""Sends requests to the server of another process: HTTP/1.1 over kept connections to its socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import httptools

TRIES = 5
LEFT_OUT = (b"connection", b"transfer-encoding", b"keep-alive")
"""Headers that are about one connection."""


class Reply(NamedTuple):
    """What the other process answered; the body in the parts in which it came."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: list[bytes]


class Exchange:
    """One request, and the future of its reply.

    The future gets a ``ConnectionAbortedError`` when the process took the request and ended, and
    another ``OSError`` when it cannot be reached.
    """

    doing = "with a process that does not answer"
    __slots__ = ("connection", "future", "request", "tries")

    def __init__(self, request: Sequence[bytes]) -> None:
        """``request``: head and body as they go out, in parts that are not joined."""
        self.request = request
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.connection: Connection | None = None
        self.tries = 0

    def settle(self, error: Exception) -> None:
        """End without a reply, unless nobody waits for one."""
        if not self.future.done():
            self.future.set_exception(error)

    async def wait(self) -> Reply:
        """The reply."""
        return await self.future

    def cancel(self) -> None:
        """Close the connection, from which the process learns that nobody waits."""
        self.future.cancel()
        if self.connection is not None:
            self.connection.transport.abort()


class Pool:
    """The connections to one socket."""

    def __init__(self, path: str, again: Callable[[Exchange], None]) -> None:
        """``again`` gets the exchanges that no process has read and that can be sent anew."""
        self.path, self.again = path, again
        self.open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether anybody waits for a reply."""
        return bool(self._connecting) or len(self.open) > len(self._idle)

    def send(self, exchange: Exchange) -> None:
        """Begin; the outcome is that of the exchange's future."""
        exchange.tries += 1
        if self._idle:
            return self._idle.pop().send(exchange)
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(lambda: Connection(self), self.path)
        except OSError as error:
            return exchange.settle(error)
        if exchange.future.done():
            connection.transport.close()
        else:
            connection.send(exchange)

    def close_idle(self) -> None:
        """Close what nobody uses: a server that ends waits for its clients."""
        for connection in self._idle:
            connection.transport.close()

    def take_back(self, connection: Connection) -> None:
        """The connection has delivered its reply and may be used again."""
        self._idle.append(connection)

    def lost(self, connection: Connection, error: Exception | None) -> None:
        """The connection is closed."""
        self.open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        exchange = connection.exchange
        if exchange is None or exchange.future.done():
            return
        # A server that closes a connection before it has read what is there resets it. One that
        # had read the request may have answered it, or may have died of it.
        if isinstance(error, ConnectionResetError | BrokenPipeError) and exchange.tries < TRIES:
            self.again(exchange)
        else:
            exchange.settle(ConnectionAbortedError("closed before the answer"))


class Connection(asyncio.Protocol):
    """Carries one exchange at a time."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self.exchange: Exchange | None = None
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)

    def send(self, exchange: Exchange) -> None:
        """Send the request; the connection has to be idle."""
        self.exchange, exchange.connection = exchange, self
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self.transport.writelines(exchange.request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._pool.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self, exc)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    # --- what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        if name not in LEFT_OUT:
            self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        exchange, self.exchange = self.exchange, None
        if self._parser.should_keep_alive():
            self._pool.take_back(self)
        else:
            self.transport.close()
        if exchange is not None:
            exchange.connection = None
            if not exchange.future.done():
                status = self._parser.get_status_code()
                exchange.future.set_result(Reply(status, self._headers, self._body))
