"""Starts the servers that are measured, and asks them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
from load import Row, drive


@functools.cache
def client() -> multiprocessing.pool.Pool:
    return multiprocessing.get_context("spawn").Pool(1)


@dataclasses.dataclass
class Server:
    """A server that has answered; ``start_s`` is what that took from the start of its process."""

    process: subprocess.Popen[bytes]
    port: int
    start_s: float

    def drive(self, request: bytes, connections: int, seconds: float) -> Row:
        return client().apply(drive, (self.process.pid, self.port, request, connections, seconds))

    def memory(self) -> float:
        """Resident MB of the process that answers, or of each of several workers."""
        process = psutil.Process(self.process.pid)
        # With several workers a supervisor starts them, and a resource tracker of Python's.
        inside = [c for c in process.children() if "resource_tracker" not in " ".join(c.cmdline())]
        each = [one.memory_info().rss / 1e6 for one in inside or [process]]
        return sum(each) / len(each)


def engineroom(path: Path, *options: str) -> contextlib.AbstractContextManager[Server]:
    """A server on the package at ``path``, one engine thread."""
    command = [sys.executable, "-m", "engineroom", "serve", str(path), "--no-access-log"]
    return _running([*command, "--engine-threads", "1", *options, "--port"])


def raw(model: Path) -> contextlib.AbstractContextManager[Server]:
    return _running([sys.executable, str(Path(__file__).with_name("raw.py")), str(model)])


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_v": "3", "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, str(port)], env={**os.environ, **quiet}, stdout=log, stderr=log
        )
        try:
            while not _answers(port):
                if process.poll() is not None or time.perf_counter() - start > 120:
                    log.seek(0)
                    said = log.read().decode(errors="replace").strip()
                    raise SystemExit(f"{' '.join(command)} did not start: {said}")
                time.sleep(0.01)
            yield Server(process, port, time.perf_counter() - start)
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).close()
    except OSError:  # nobody listens, or 503
        return False
    return True
