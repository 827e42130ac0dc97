"""The ASGI endpoint of predictions: one straight line from the body to the answer.

A bare ASGI callable, because Starlette's ``Request`` and ``Response`` cost about as much as the
rest of the way through the server.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from starlette.types import Message, Receive, Scope, Send

from engineroom.backlog import Job
from engineroom.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientLeftError,
    DeadlineError,
    InvalidInputError,
    NotReadyError,
    RequestError,
    UnexpectedError,
)
from engineroom.hosting import Host
from engineroom.model import Answer
from engineroom.responses import (
    START,
    UNREAD,
    ErrorResponse,
    error_response,
    log_access,
    request_id_of,
    server_timing,
)
from engineroom.settings import Settings

TIMEOUT = b"x-request-timeout"
WATCH_AFTER_S = 0.05
"""A client is watched for leaving once it has waited this long; watching costs a task."""


class Awaited(Protocol):
    """What a request waits for once its body is here."""

    @property
    def doing(self) -> str: ...

    def settle(self, result: Any, /) -> None: ...

    async def wait(self) -> Any: ...


class Worker(Protocol):
    """Who works on what is awaited."""

    def cancel(self, job: Any, /) -> object: ...


class Endpoint:
    """Answers one POST: with a model, or with what another process says."""

    words: Mapping[str, tuple[str, str]] = {}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = Watch(receive, scope[START], self.settings.timeout_s)
        scope[UNREAD] = True
        try:
            head = Head(scope)
            if head.timeout_s is not None:
                watch.shorten(head.timeout_s)
            job = await self._submit(scope, head, watch)
            answer = await watch.wait(job)
        except Exception as error:
            await self.refusal(error, scope)(scope, receive, send)
            return
        finally:
            watch.end()
        await self._reply(scope, send, job, answer)

    async def _submit(self, scope: Scope, head: Head, watch: Watch) -> Any:
        """Read the body and begin; what is then :class:`Awaited`."""
        raise NotImplementedError

    async def _reply(self, scope: Scope, send: Send, job: Any, answer: Any) -> None:
        raise NotImplementedError

    def refusal(self, error: BaseException, scope: Scope) -> ErrorResponse:
        """The response that tells of ``error``."""
        return error_response(self._known(error), scope, self.settings, self.words)

    def _known(self, error: BaseException) -> RequestError:
        if isinstance(error, RequestError):
            return error
        bug = UnexpectedError(f"{type(error).__name__} in the server: {error}")
        bug.__cause__ = error
        return bug

    async def _body(self, declared: int, watch: Watch) -> list[bytes]:
        """The whole body, in parts.

        Raises:
            BodyTooLargeError: declared or counted, before more than the limit is held.
            BodyTimeoutError: not here when its time is up.
            ClientLeftError: the client closed the connection.
        """
        limit = self.settings.max_body_bytes
        if declared > limit:
            raise _too_large(limit, f"{declared} bytes")
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await watch.receive(size)
            if message["type"] == "http.disconnect":
                raise ClientLeftError("the client left while it sent the body")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _too_large(limit, "more")
            chunks.append(chunk)
            more = message.get("more_body", False)
        return chunks


class Predict(Endpoint):
    """Answers with the model of ``host``."""

    def __init__(self, host: Host, decode: Callable[[str, bytes, bytes], Any]) -> None:
        super().__init__(host.settings)
        self.host, self.decode, self.words = host, decode, host.model.engine.words

    async def _submit(self, scope: Scope, head: Head, watch: Watch) -> Job:
        runner = await self.host.ready_runner(watch.timeout_s)
        runner.check_room()
        chunks = await self._body(head.length, watch)
        scope[UNREAD] = False
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        data = self.decode(head.content_type, body, scope["query_string"])
        watch.worker = runner
        return runner.submit(data, watch.deadline)

    def begin(self, scope: Scope, body: bytes, receive: Receive) -> Underway | Reply | None:
        """As :meth:`__call__`, for a request that is all here and needs no task of its own.

        Returns what refuses it, where something does; None leaves it to :meth:`__call__`.
        """
        runner = self.host.runner
        if runner is None or not self.host.is_ready:
            return None
        scope[START] = time.monotonic()
        watch = Watch(receive, scope[START], self.settings.timeout_s)
        try:
            head = Head(scope)
            if head.timeout_s is not None:
                watch.shorten(head.timeout_s)
            runner.check_room()
            if len(body) > self.settings.max_body_bytes:
                raise _too_large(self.settings.max_body_bytes, f"{len(body)} bytes")
            data = self.decode(head.content_type, body, scope["query_string"])
            job = runner.submit(data, watch.deadline)
        except Exception as error:
            watch.end()
            return _reply(self.refusal(error, scope))
        watch.worker, watch.job = runner, job
        return Underway(self, scope, job, watch)

    async def _reply(self, scope: Scope, send: Send, job: Job, answer: Answer) -> None:
        headers = self.reply_headers(scope, job, answer)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def reply_headers(self, scope: Scope, job: Job, answer: Answer) -> list[tuple[bytes, bytes]]:
        """Those of a good answer, which goes into the log, too."""
        steps = {"queue": (job.started_at or job.queued_at) - job.queued_at, **answer.step_times}
        if self.settings.access_log:
            log_access(scope, 200, steps, answer.batch_size)
        return [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer.body)),
            (b"server-timing", server_timing(steps, answer.batch_size)),
            (b"x-request-id", request_id_of(scope).encode()),
        ]


class Reply(NamedTuple):
    """What goes to the client of a request without a task."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def _reply(refusal: ErrorResponse) -> Reply:
    return Reply(refusal.status_code, refusal.raw_headers, bytes(refusal.body))


class Underway:
    """A request that runs without a task of its own."""

    def __init__(self, endpoint: Predict, scope: Scope, job: Job, watch: Watch) -> None:
        self.endpoint, self.scope, self.job, self.watch = endpoint, scope, job, watch

    def cancel(self, msg: object = None) -> None:  # noqa: ARG002
        """The server stops, and uvicorn takes this for a task."""
        error = NotReadyError("the server stops, and its drain_s have passed")
        asyncio.get_running_loop().call_soon(self.watch.give_up, self.job, error)

    def end(self) -> Reply:
        """The answer, or why there is none, once the job is settled."""
        self.watch.end()
        answer = self.job.result
        if isinstance(answer, BaseException):
            return _reply(self.endpoint.refusal(answer, self.scope))
        headers = self.endpoint.reply_headers(self.scope, self.job, answer)
        return Reply(200, headers, answer.body)


class Head:
    """What the headers of a request say about how to answer it."""

    __slots__ = ("content_type", "length", "timeout_s")

    def __init__(self, scope: Scope) -> None:
        """Raises:
        InvalidInputError: ``X-Request-Timeout`` is not a number of seconds.
        """
        self.content_type, self.length = "", 0
        self.timeout_s: float | None = None
        """The caller's own limit."""
        for name, value in scope["headers"]:
            if name == b"content-type":
                self.content_type = value.decode("latin-1")
            elif name == b"content-length" and value.isdigit():
                self.length = int(value)
            elif name == TIMEOUT:
                self.timeout_s = _seconds(value.decode("latin-1"))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidInputError(
            f"X-Request-Timeout: expected seconds above 0, such as 2.5, got {text!r}", got=text
        )
    return seconds


class Watch:
    """Keeps one request's deadline, and notices when its client leaves.

    One timer is all that a quick request pays for both: the client is watched, and the deadline
    set, only when ``WATCH_AFTER_S`` have passed.
    """

    def __init__(self, receive: Receive, start: float, timeout_s: float) -> None:
        self._receive, self._start = receive, start
        self.deadline, self.timeout_s = start + timeout_s, timeout_s
        self.worker: Worker | None = None
        self.job: Awaited | None = None
        self._reading: asyncio.Task[Any] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._late = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(min(WATCH_AFTER_S, self._left()), self._look)

    def shorten(self, timeout_s: float) -> None:
        """The client itself waits no longer than this."""
        if timeout_s < self.timeout_s:
            self.deadline, self.timeout_s = self._start + timeout_s, timeout_s
            self._timer.cancel()
            self._timer = self._loop.call_later(min(WATCH_AFTER_S, self._left()), self._look)

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _look(self) -> None:
        """The request is not a quick one, or its time is up."""
        left = self._left()
        if left > 0:
            if self.job is not None and self._leaving is None:
                self._leaving = self._loop.create_task(self._until_disconnect(self.job))
            self._timer = self._loop.call_later(
                left if self._leaving else min(WATCH_AFTER_S, left), self._look
            )
        elif self.job is not None:
            doing = self.job.doing
            message = f"no answer within {self.timeout_s:g} s; the request was {doing}"
            self.give_up(self.job, DeadlineError(message))
        elif self._reading is not None:
            self._late = True
            self._reading.cancel()
        else:  # waiting for a model that loads; the body has its turn next
            self._timer = self._loop.call_later(WATCH_AFTER_S, self._look)

    async def _until_disconnect(self, job: Awaited) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.give_up(job, ClientLeftError("the client left before its answer"))

    def give_up(self, job: Awaited, error: RequestError) -> None:
        """Answer with ``error``, and run the job no more."""
        job.settle(error)
        if self.worker is not None:
            self.worker.cancel(job)

    async def receive(self, so_far: int) -> Message:
        """The next part of the body.

        Raises:
            BodyTimeoutError: it does not come before the deadline.
        """
        self._reading = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if not self._late:
                raise
            if sys.version_info >= (3, 11) and self._reading is not None:
                self._reading.uncancel()
            raise BodyTimeoutError(
                f"the body did not arrive within {self.timeout_s:g} s; {so_far} bytes came",
                got=so_far,
            ) from None
        finally:
            self._reading = None

    async def wait(self, job: Awaited) -> Any:
        """The answer to ``job``.

        Raises:
            DeadlineError: not there in time.
            ClientLeftError: the client closed the connection.
        """
        self.job = job
        try:
            return await job.wait()
        except asyncio.CancelledError:  # the server stops
            if self.worker is not None:
                self.worker.cancel(job)
            raise

    def end(self) -> None:
        """The request has its answer."""
        self._timer.cancel()
        if self._leaving is not None:
            self._leaving.cancel()


def _too_large(limit: int, got: str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the body may have {limit} bytes, got {got}; send less, or raise max_body_bytes",
        expected=limit,
        got=got,
    )
