"""A load generator: so many connections, each with its next request as soon as it has an answer.

A client takes CPU time, too, and on a small machine that is the server's: each row says how much.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from typing import cast

import psutil
import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WARM_S = 0.3


@dataclasses.dataclass
class Row:
    """What one run has found; times in microseconds."""

    connections: int
    rate: float
    p50: float
    p99: float
    server_cpu: float
    """For each request, of the server and all its processes."""
    client_cpu: float


def request(body: bytes, content_type: str, path: str = "/") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """Sends one request again and again; ``seconds`` gets the time of each answer."""

    def __init__(self, request: bytes, end: float, seconds: list[float]) -> None:
        self.request, self.end, self.seconds = request, end, seconds
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.came, self.missing = b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self.start = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.came += data
        head, end, body = self.came.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            return self._fail(RuntimeError(f"the server answered {self.came!r}"))
        now = time.perf_counter()
        self.seconds.append(now - self.start)
        self.came = b""
        if now < self.end:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or RuntimeError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def _run(port: int, request: bytes, connections: int, seconds: float) -> list[float]:
    found: list[float] = []
    end = time.perf_counter() + seconds
    made = [
        await asyncio.get_running_loop().create_connection(
            lambda: Connection(request, end, found), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    await asyncio.wait_for(asyncio.gather(*(protocol.done for _, protocol in made)), seconds + 60)
    for transport, _ in made:
        transport.close()
    return found


def cpu_seconds(pid: int) -> float:
    """Of a process and those that it has started."""
    process = psutil.Process(pid)
    tree = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in tree)


def drive(pid: int, port: int, request: bytes, connections: int, seconds: float) -> Row:
    """Ask the server ``pid`` on ``port``. To be called in a process of its own."""
    uvloop.run(_run(port, request, connections, min(WARM_S, seconds)))
    server, client, start = cpu_seconds(pid), time.process_time(), time.perf_counter()
    times = sorted(uvloop.run(_run(port, request, connections, seconds)))
    count, took = len(times), time.perf_counter() - start
    return Row(
        connections,
        count / took,
        times[count // 2] * 1e6,
        times[count * 99 // 100] * 1e6,
        (cpu_seconds(pid) - server) / count * 1e6,
        (time.process_time() - client) / count * 1e6,
    )
