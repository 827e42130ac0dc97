"""The Starlette application: routes, limits, the error handler, start and stop.

Predictions are served by a bare ASGI endpoint, because Starlette's ``Request`` and ``Response``
cost about as much as the rest of the way through the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import threading
import time
import traceback
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from engineroom.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientLeftError,
    DeadlineError,
    LoadError,
    MethodNotAllowedError,
    NotFoundError,
    NotReadyError,
    RequestError,
    UnexpectedError,
)
from engineroom.logs import FIELDS
from engineroom.model import Answer, Model, State
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.runner import Job, Runner
from engineroom.settings import Settings

log = logging.getLogger("engineroom")
access_log = logging.getLogger("engineroom.access")

WATCH_AFTER_S = 0.05
"""A client is watched for leaving once it has waited this long; watching costs a task."""
LINGER_S = 5.0
"""How long an unread body is read and dropped, so that its sender gets to read the answer."""
REQUEST_ID = re.compile(rb"[\w.:/+=-]{1,128}")

_request_numbers = itertools.count(1)
_process_id = f"{os.getpid():x}-{int(time.time()) & 0xFFFFFF:x}"


def create_app(path: str | os.PathLike[str], **settings: Any) -> Starlette:
    """An app that serves the package at ``path``: run it, or mount it in another.

    Its lifespan loads the model and waits for it. Where nobody runs the lifespan (a mounted app),
    the first request does. ``settings`` are those of docs/settings.md.

    Raises:
        SettingError: a setting that does not exist or cannot have this value.
        LoadError: no package there, or no engine for it.
    """
    chosen = Settings.read(settings)
    model = Model(open_package(Path(path)), chosen, Registry(chosen))
    return Serving(model).app()


class Serving:
    """A model behind HTTP: starts it, stops it, and answers requests with it."""

    def __init__(self, model: Model, in_background: bool = False) -> None:
        """``in_background``: listen at once and answer 503 until the model is ready."""
        self.model, self.settings = model, model.settings
        self.decode = model.registry.decode
        self.in_background = in_background
        self.runner: Runner | None = None
        self._loading: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def app(self) -> Starlette:
        """The Starlette application."""
        predict = Predict(self)
        urls = dict.fromkeys(["/", *_declared_urls(self.model.package.config)])
        app = Starlette(
            routes=[
                *(Route(url, predict, methods=["POST"]) for url in urls),
                Route("/health", self._ready),
                Route("/health/ready", self._ready),
                Route("/health/live", _live),
            ],
            exception_handlers={RequestError: self._on_error, HTTPException: self._on_http_error},
            lifespan=self._lifespan,
        )
        app.router.redirect_slashes = False
        app.state.model = self.model
        return app

    # --- start and stop

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.start()
        if not self.in_background:
            await self.wait_until_loaded(None)
            if self.model.error is not None:
                raise self.model.error
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(self.stop)

    def start(self) -> None:
        """Begin to load in a thread of its own, once."""
        with self._start_lock:
            if self._loading is None:
                self._loading = threading.Thread(
                    target=self._load, name="engineroom-load", daemon=True
                )
                self._loading.start()

    def _load(self) -> None:
        # Pillow only warns up to twice its limit, and decodes a gigabyte all the same.
        warnings.filterwarnings("error", message=".*decompression bomb", append=False)
        try:
            self.model.load()
        except LoadError as error:
            log.error("%s", error, exc_info=error if self.settings.debug else None)
            return
        model = self.model
        self.runner = Runner(
            model.answer, model.turn, model.threads, self.settings.max_queue_size
        )

    async def wait_until_loaded(self, timeout_s: float | None) -> None:
        """Return when the load has ended, well or badly, or the time is up."""
        with anyio.move_on_after(timeout_s):
            while self._loading is None or self._loading.is_alive():
                await anyio.sleep(0.005)

    def stop(self) -> None:
        """Finish what is queued, then unload."""
        self.model.drain()
        if self.runner is not None:
            self.runner.stop(self.settings.drain_s)
            self.model.unload()

    async def ready_runner(self, timeout_s: float) -> Runner:
        """The runner of the ready model.

        Raises:
            NotReadyError: it is not ready, and why.
        """
        if self.model.state is State.CREATED and self._loading is None:
            self.start()
        if not self.in_background and self.runner is None:
            await self.wait_until_loaded(timeout_s)
        if self.runner is None or self.model.state is not State.READY:
            raise self.model.not_ready()
        return self.runner

    # --- other routes

    async def _ready(self, _request: Request) -> JSONResponse:
        model = self.model
        about = {"model": model.name, "engine": model.engine.name, "state": model.state.value}
        if model.state is State.READY and self.runner is not None:
            return JSONResponse({"status": "OK", **about})
        body = {"status": "unavailable", **about, "reason": model.reason}
        return JSONResponse(body, status_code=503, headers={"retry-after": "1"})

    async def _on_http_error(self, request: Request, error: Exception) -> ErrorResponse:
        path, method = request.url.path, request.method
        known: RequestError
        if isinstance(error, HTTPException) and error.status_code == 405:
            allow = (error.headers or {}).get("Allow", "")
            message = f"{path} does not take {method}; it takes {allow}"
            known = MethodNotAllowedError(message, allow)
        else:
            known = NotFoundError(
                f"there is nothing at {path}; POST to / to predict, GET /health/ready for the state"
            )
        return await self._on_error(request, known)

    async def _on_error(self, request: Request, error: Exception) -> ErrorResponse:
        """The one place where an exception becomes an answer."""
        assert isinstance(error, RequestError)
        request_id = request_id_of(request.scope)
        body = error.body(request_id)
        if self.settings.debug and not isinstance(error, ClientLeftError):
            body["error"]["traceback"] = "".join(traceback.format_exception(error)).splitlines()
        if error.status >= 500 and not isinstance(error, NotReadyError):
            cause = error.__cause__
            log.error("%s (request %s)", error, request_id, exc_info=cause)
        if "engineroom.logged" not in request.scope:
            self.log_access(request.scope, error.status, 0.0, None)
        return ErrorResponse(
            body, status_code=error.status, headers={**error.headers, "x-request-id": request_id}
        )

    def log_access(self, scope: Scope, status: int, seconds: float, answer: str | None) -> None:
        """One line for one request."""
        if self.settings.access_log:
            scope["engineroom.logged"] = True
            fields = {
                "method": scope["method"], "path": scope["path"], "status": status,
                "ms": round(seconds * 1e3, 2), "steps": answer, "request_id": request_id_of(scope),
            }  # fmt: skip
            access_log.info(
                "%s %s %d %.1f ms%s id=%s",
                scope["method"], scope["path"], status, seconds * 1e3,
                f" ({answer})" if answer else "", fields["request_id"],
                extra={FIELDS: fields},
            )  # fmt: skip


class Predict:
    """The ASGI endpoint of predictions: one straight line from the body to the answer."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.settings = serving.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.monotonic()
        status, job = 500, None
        try:
            job = await self._submit(scope, receive, start + self.settings.timeout_s)
            answer: Answer = await self._answer(job, receive)
            status = 200
        except RequestError as error:
            status = error.status
            raise
        except Exception as error:
            raise UnexpectedError(f"{type(error).__name__} in the server: {error}") from error
        finally:
            if self.settings.access_log:
                steps = _steps(job, answer if status == 200 else None)
                self.serving.log_access(scope, status, time.monotonic() - start, steps)
        length = b"%d" % len(answer.body)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", length),
                    (b"x-request-id", request_id_of(scope).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _submit(self, scope: Scope, receive: Receive, deadline: float) -> Job:
        scope["engineroom.unread"] = True
        runner = await self.serving.ready_runner(self.settings.timeout_s)
        runner.check_room()
        body, content_type = await self._body(scope, receive, deadline)
        scope["engineroom.unread"] = False
        data = self.serving.decode(content_type, body, scope["query_string"])
        return runner.submit(data, deadline)

    async def _body(self, scope: Scope, receive: Receive, deadline: float) -> tuple[bytes, str]:
        """The whole body and its content type.

        Raises:
            BodyTooLargeError: declared or counted, before more than the limit is held.
            BodyTimeoutError: not here when its time is up.
            ClientLeftError: the client closed the connection.
        """
        content_type, limit = "", self.settings.max_body_bytes
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"content-length" and value.isdigit() and int(value) > limit:
                raise _too_large(limit, f"{int(value)} bytes")
        chunks: list[bytes] = []
        size, more = 0, True
        with anyio.move_on_after(deadline - time.monotonic()) as scoped:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError("the client left while it sent the body")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit, "more")
                chunks.append(chunk)
                more = message.get("more_body", False)
        if scoped.cancelled_caught:
            raise BodyTimeoutError(
                f"the body did not arrive within {self.settings.timeout_s:g} s; {size} bytes came",
                got=size,
            )
        return chunks[0] if len(chunks) == 1 else b"".join(chunks), content_type

    async def _answer(self, job: Job, receive: Receive) -> Any:
        """The answer to ``job``.

        Raises:
            DeadlineError: not there in time.
            ClientLeftError: the client closed the connection.
        """
        try:
            await asyncio.wait((job.future,), timeout=min(WATCH_AFTER_S, _left(job)))
            if not job.future.done():
                leaving = asyncio.ensure_future(_until_disconnect(receive))
                try:
                    await asyncio.wait(
                        (job.future, leaving), timeout=_left(job), return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    leaving.cancel()
                if not job.future.done() and leaving.done():
                    raise ClientLeftError("the client left before its answer")
            if not job.future.done():
                where = "in the queue" if job.waiting else "while it ran"
                raise DeadlineError(f"no answer within {self.settings.timeout_s:g} s; it was {where}")
            return job.future.result()
        finally:
            if not job.future.done() and self.serving.runner is not None:
                self.serving.runner.cancel(job)


class ErrorResponse(JSONResponse):
    """An error as JSON; reads the rest of the request first, so that the client can read it too.

    Closing a connection while its peer still sends makes many clients report a reset instead of
    the answer. The rest is dropped as it comes, for at most ``LINGER_S``.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope.get("engineroom.unread"):
            return await super().__call__(scope, receive, send)
        self.headers["connection"] = "close"
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with anyio.move_on_after(LINGER_S):
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.body", "body": b""})


async def _live(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "OK"})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def request_id_of(scope: Scope) -> str:
    """The caller's ``X-Request-Id`` where it sent a sane one, else one of our own."""
    known: str | None = scope.get("engineroom.request_id")
    if known is None:
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        own = f"{_process_id}-{next(_request_numbers):x}"
        known = sent.decode() if REQUEST_ID.fullmatch(sent) else own
        scope["engineroom.request_id"] = known
    return known


def _declared_urls(config: dict[str, Any]) -> list[str]:
    apis = config.get("apis")
    urls = [api.get("url") for api in apis if isinstance(api, dict)] if isinstance(apis, list) else []
    return [url for url in urls if isinstance(url, str) and re.fullmatch(r"/[\w./-]*", url)]


def _left(job: Job) -> float:
    return max(0.0, job.deadline - time.monotonic())


def _steps(job: Job | None, answer: Answer | None) -> str | None:
    if job is None or job.started_at is None:
        return None
    times = {"queue": job.started_at - job.queued_at, **(answer.step_times if answer else {})}
    return ", ".join(f"{name.lstrip('_')} {seconds * 1e3:.1f}" for name, seconds in times.items())


def _too_large(limit: int, got: str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the body may have {limit} bytes, got {got}; send less, or raise max_body_bytes",
        expected=limit,
        got=got,
    )
