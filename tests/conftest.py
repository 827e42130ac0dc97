"""What several test files share: packages on disk and real server processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
SERVICES = TESTS / "services"
ROOT = TESTS.parent


@pytest.fixture(scope="session")
def services() -> Path:
    """The folder of the tests' own packages."""
    return SERVICES


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package: ``package(script, **{"labels.json": "…"})`` gives its folder."""

    def write(script: str | None = None, **files: str | bytes) -> Path:
        folder = tmp_path / "sample" / "model"
        folder.mkdir(parents=True, exist_ok=True)
        if script is not None:
            files["customize_service.py"] = textwrap.dedent(script)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder.parent

    return write


class Server:
    """A real ``engineroom serve`` process."""

    def __init__(self, path: Path, log: Path, *options: str, **environment: str) -> None:
        self.log_file = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "engineroom", "serve", str(path), "--port", "0", *options],
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self.port = int(self.wait_for_line(r"on http://[^ ]*:(\d+)")[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_for_line(self, pattern: str, timeout_s: float = 20) -> re.Match[str]:
        limit = time.monotonic() + timeout_s
        while time.monotonic() < limit:
            if found := re.search(pattern, self.log()):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} did not appear in the log:\n{self.log()}")

    def wait_until_ready(self, timeout_s: float = 20) -> None:
        limit = time.monotonic() + timeout_s
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                if self.get("/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not ready:\n{self.log()}")

    def request(self, path: str, timeout_s: float = 30, **arguments: Any) -> tuple[int, Any, Any]:
        """Status, decoded body and headers."""
        request = urllib.request.Request(self.url + path, **arguments)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                return reply.status, json.loads(reply.read()), reply.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read()), error.headers

    def get(self, path: str) -> tuple[int, Any, Any]:
        return self.request(path)

    def post(self, body: bytes | Any, kind: str = "application/json", path: str = "/", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request(path, data=data, headers={"Content-Type": kind, **headers})

    def stop(self, sign: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, sign)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test module: ``start_server(path, "--debug")``."""
    servers: list[Server] = []

    def start(path: Path, *options: str, ready: bool = True, **environment: str) -> Server:
        log = tmp_path_factory.mktemp("server") / "log"
        server = Server(path, log, *options, **environment)
        servers.append(server)
        if ready:
            server.wait_until_ready()
        return server

    yield start
    for server in servers:
        server.stop()


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, str]:
    """A multipart body and its content type from (key, file name or None, content)."""
    body = b""
    for key, name, content in parts:
        file = f'; filename="{name}"' if name is not None else ""
        body += f'--edge\r\nContent-Disposition: form-data; name="{key}"{file}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + b"--edge--\r\n", "multipart/form-data; boundary=edge"


@pytest.fixture(scope="session", name="form")
def form_fixture() -> Callable[..., tuple[bytes, str]]:
    return form
