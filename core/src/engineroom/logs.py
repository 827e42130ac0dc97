"""Sets up the log of a server process: one handler on standard error, as text or as JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import IO

from engineroom.behind import is_behind
from engineroom.settings import Settings

FIELDS = "fields"
"""``log.info(..., extra={FIELDS: {...}})`` adds keys to a JSON line."""


class JSONFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, message, and what the record adds."""

    model = ""
    """Whose process this is, where several share the log."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **({"model": self.model} if self.model else {}),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class JoinedLines(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes the lines of one turn of the event loop together.

    Each write gives the interpreter lock away, which under load costs more than the line. What
    matters, and what comes from another thread, is written at once, after the lines before it.
    """

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Asked for only where it is: in other threads the question raises an error.
        loop = asyncio._get_running_loop()
        if loop is None or record.levelno > logging.INFO:
            self._write()
            super().emit(record)
            return
        if not self._lines:
            loop.call_soon(self.flush)
        self._lines.append(self.format(record) + self.terminator)

    def flush(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._write()
            super().flush()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self.stream.write("".join(lines))


OURS = ("engineroom", "engineroom.access", "uvicorn.error")
_is_configured = False


def configure(settings: Settings, quiet: bool = False) -> None:
    """Send all loggers to standard error; ``quiet`` leaves only warnings and what was asked for.

    To a duplicate of its descriptor: some scripts detach ``sys.stdout`` and ``sys.stderr``.
    """
    global _is_configured
    _is_configured = True
    handler = JoinedLines(standard_error())
    model = settings.name if is_behind() and settings.name else ""
    if settings.log_format == "json":
        form = JSONFormatter()
        form.model = model
        handler.setFormatter(form)
    else:
        label = f"[{model}] ".replace("%", "%%") if model else ""
        handler.setFormatter(
            logging.Formatter(f"%(asctime)s %(levelname)-7s {label}%(message)s", "%H:%M:%S")
        )
    quiet = quiet and not settings.trace_hooks
    level = logging.WARNING if quiet else logging.DEBUG if settings.debug else logging.INFO
    # uvicorn's own start and stop lines say less than ours.
    for name, least in (
        (None, logging.INFO),
        ("engineroom", level),
        ("uvicorn.error", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        # Ours have it themselves: a script may put another on the root logger.
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(least)


def revive() -> None:
    """Undo what a script's own logging set-up does to the server's loggers."""
    if _is_configured:
        logging.disable(logging.NOTSET)
        for name in OURS:
            logging.getLogger(name).disabled = False


def standard_error() -> IO[str]:
    """A duplicate of standard error, which stays when a script detaches the other."""
    return _duplicate(sys.stderr)


@contextlib.contextmanager
def script_streams() -> Iterator[None]:
    """In this block both streams of a script are standard error, since it logs with print.

    Whatever it detaches or closes there, standard output and error are the command's afterwards.
    """
    spares = {"stdout": _duplicate(sys.stdout), "stderr": _duplicate(sys.stderr)}
    lent = _duplicate(sys.stderr), _duplicate(sys.stderr)
    try:
        with contextlib.redirect_stdout(lent[0]), contextlib.redirect_stderr(lent[1]):
            yield
    finally:
        for name, spare in spares.items():
            stream = getattr(sys, name)
            if stream.closed or not _is_open(stream):
                setattr(sys, name, spare)


def _is_open(stream: IO[str]) -> bool:
    try:
        os.fstat(stream.fileno())
    except io.UnsupportedOperation:
        return True
    except OSError:
        return False
    return True


def _duplicate(stream: IO[str]) -> IO[str]:
    try:
        descriptor = os.dup(stream.fileno())
    except OSError:  # a notebook or a test has put something else there
        return stream
    return os.fdopen(descriptor, "w", buffering=1, errors="backslashreplace")
