"""What a server does otherwise when it is one of several behind a front.

The front says so with one variable. It holds a pipe, which ends with the front, and the path of the
socket to listen on, beside which it looks for the reason of a load that failed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from engineroom.settings import ENV_PREFIX

FRONT = f"{ENV_PREFIX}FRONT"
REASON = ".reason"
END_S = 10.0
"""How long a child may take to end: its requests were answered before, or nobody waits for them."""


def is_behind() -> bool:
    """Whether this process, or the one that started it, serves a front."""
    return FRONT in os.environ


def listen() -> socket.socket:
    """The front's socket, bound. uvicorn listens on it."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(_front()[1])
    listening.set_inheritable(True)
    return listening


def tell(reason: str) -> None:
    """Let the front know why the model cannot be loaded."""
    if is_behind():
        with contextlib.suppress(OSError):  # the front has ended
            Path(_front()[1] + REASON).write_text(reason)


def end_with_front() -> None:
    """Stop this process when the front has ended, however that came."""
    # ``python -m`` has put the front's working directory here, which no script asked for.
    if sys.path[0] == os.getcwd():
        del sys.path[0]

    def watch() -> None:
        os.read(_front()[0], 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(END_S)
        os._exit(1)

    threading.Thread(target=watch, name="engineroom-front", daemon=True).start()


def _front() -> tuple[int, str]:
    pipe, _, path = os.environ[FRONT].partition(":")
    return int(pipe), path
