"""Imports TensorFlow without the notes that its libraries print while they are loaded."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

NOTE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog")


def import_tensorflow() -> Any:
    """The module ``tensorflow``.

    TensorFlow 2.21 writes some lines before it reads TF_CPP_MIN_LOG_LEVEL. Where that variable asks
    for quiet they are dropped; whatever else goes to standard error meanwhile comes after them.
    """
    is_first = "tensorflow" not in sys.modules
    wants_quiet = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") != "0"
    with _without_notes() if is_first and wants_quiet else contextlib.nullcontext():
        import tensorflow as tf
    return tf


@contextlib.contextmanager
def _without_notes() -> Iterator[None]:
    try:
        stderr = os.dup(2)
    except OSError:  # closed: nobody reads it
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            os.write(2, b"".join(line for line in file if not NOTE.match(line)))
