"""Sets up the log of a server process: one handler on standard error, as text or as JSON lines."""

from __future__ import annotations

import json
import logging
import os
import sys
import time

from engineroom.settings import Settings

FIELDS = "fields"
"""``log.info(..., extra={FIELDS: {...}})`` adds keys to a JSON line."""


class JSONFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, message, and what the record adds."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(settings: Settings) -> None:
    """Send all loggers to standard error.

    To a duplicate of its descriptor: some scripts detach ``sys.stdout`` and ``sys.stderr``.
    """
    stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    if settings.log_format == "json":
        handler.setFormatter(JSONFormatter())
    else:
        form = "%(asctime)s %(levelname)-7s %(message)s"
        handler.setFormatter(logging.Formatter(form, datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("engineroom").setLevel(logging.DEBUG if settings.debug else logging.INFO)
    # uvicorn's own start and stop lines say less than ours.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
