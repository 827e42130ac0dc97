"""Errors as responses, the request's id, and its line in the access log."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import re
import time
import traceback
from collections.abc import Mapping
from typing import Any

import anyio
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from engineroom.encoding import encode_response
from engineroom.errors import BusyError, RequestError, ResultError
from engineroom.failures import aside
from engineroom.logs import FIELDS
from engineroom.settings import Settings

log = logging.getLogger("engineroom")
access_log = logging.getLogger("engineroom.access")

UNREAD = "engineroom.unread"
"""Key of the scope: the body has not been read to its end."""
START = "engineroom.start"
"""Key of the scope: when the request came, on the clock of ``time.monotonic``."""
LINGER_S = 5.0
"""How long an unread body is read and dropped, so that its sender gets to read the answer."""
REQUEST_ID = re.compile(rb"[\w.:/+=-]{1,128}")

_request_numbers = itertools.count(1)
_process_id = f"{os.getpid():x}-{int(time.time()) & 0xFFFFFF:x}"


def error_response(
    error: RequestError,
    scope: Scope,
    settings: Settings,
    words: Mapping[str, tuple[str, str]] | None = None,
) -> ErrorResponse:
    """The one place where an exception becomes an answer. ``words``: those of the engine."""
    request_id = request_id_of(scope)
    body = error.body(request_id, words or {})
    if settings.debug:
        body["error"]["traceback"] = "".join(traceback.format_exception(error)).splitlines()
    if error.status >= 500 and not isinstance(error, BusyError):
        told = f"{error}{aside(error.detail)}"
        raised = error.__cause__ or ("where" in error.detail and error)
        log.error("%s (request %s)", told, request_id, exc_info=raised)
    if settings.access_log:
        problem = f"{error.code}: {error}{aside(error.detail, ('given',))}"
        log_access(scope, error.status, problem=problem)
    headers = {**error.headers, "x-request-id": request_id}
    return ErrorResponse(body, status_code=error.status, headers=headers)


class ErrorResponse(JSONResponse):
    """An error as JSON; reads the rest of the request first, so that the client can read it too.

    Closing a connection while its peer still sends makes many clients report a reset instead of
    the answer. The rest is dropped as it comes, for at most ``LINGER_S``.
    """

    def render(self, content: Any) -> bytes:
        # What a script adds to its errors may be anything, and an exception's text, too.
        try:
            return encode_response(content)
        except ResultError:
            return json.dumps(content, default=repr, skipkeys=True).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope.get(UNREAD):
            return await super().__call__(scope, receive, send)
        self.headers["connection"] = "close"
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with anyio.move_on_after(LINGER_S):
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.body", "body": b""})


def request_id_of(scope: Scope) -> str:
    """The caller's ``X-Request-Id`` where it sent a sane one, else one of our own."""
    known: str | None = scope.get("engineroom.request_id")
    if known is None:
        known = f"{_process_id}-{next(_request_numbers):x}"
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                known = value.decode()
        scope["engineroom.request_id"] = known
    return known


def server_timing(steps: Mapping[str, float], batch_size: int) -> bytes:
    """The value of ``Server-Timing``: milliseconds of each step, and how many shared inference."""
    value = _timing(tuple(steps)) % tuple([seconds * 1e3 for seconds in steps.values()])
    return value + b', batch;desc="%d"' % batch_size if batch_size > 1 else value


@functools.lru_cache(64)
def _timing(names: tuple[str, ...]) -> bytes:
    return b", ".join(name.encode() + b";dur=%.2f" for name in names)


def log_access(
    scope: Scope,
    status: int,
    steps: Mapping[str, float] | None = None,
    batch_size: int = 1,
    problem: str = "",
) -> None:
    """One line for one request, with the seconds its steps took or what went wrong."""
    total_ms = (time.monotonic() - scope[START]) * 1e3
    steps_ms = {name: round(s * 1e3, 2) for name, s in (steps or {}).items()}
    fields = {
        "method": scope["method"], "path": scope["path"], "status": status,
        "ms": round(total_ms, 2), "steps_ms": steps_ms, "batch_size": batch_size,
        "problem": problem, "request_id": request_id_of(scope),
    }  # fmt: skip
    about = problem or ", ".join(f"{name} {ms:.1f}" for name, ms in steps_ms.items())
    if batch_size > 1:
        about += f", batch of {batch_size}"
    access_log.info(
        "%s %s %d %.1f ms (%.300s) id=%s",
        scope["method"], scope["path"], status, total_ms, about, fields["request_id"],
        extra={FIELDS: fields},
    )  # fmt: skip
