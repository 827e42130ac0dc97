"""What several test files share: packages on disk and real server processes."""

from __future__ import annotations

import importlib.metadata
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
import zipfile
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


FAKE_ENGINE = '''
"""A real engine without a framework: y = x * factor, the factor in a JSON file *.fake."""
import json
from pathlib import Path

from engineroom import Engine, Predictor, TensorSpec, hookimpl
from engineroom.errors import ModelFileError


class FakePredictor(Predictor):
    inputs = (TensorSpec("x", ("N", 2), "float32"),)
    outputs = (TensorSpec("y", ("N", 2), "float32"),)

    def __init__(self, path):
        try:
            self.factor = json.loads(path.read_text())
        except ValueError as error:
            raise ModelFileError(f"{path}: not a fake model: {error}") from error

    def run(self, feeds):
        return {"y": feeds["x"] * self.factor}


class FakeEngine(Engine):
    name = "fake"
    parent = "model_service.fake_model_service.FakeServingBaseService"
    model_types = ("Fake", "Imaginary")
    model_files = ("*.fake",)

    def load(self, path, device, threads):
        return FakePredictor(path)

    def template(self):
        return Path(__file__).with_name("fake_template")


@hookimpl
def register_engine(register):
    register(FakeEngine())
'''


@pytest.fixture
def install_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Installs a distribution with one plugin: ``install_plugin("csv", code)``.

    The first call hides the plugins that are really installed.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv(
        "PYTHONPATH", str(site), prepend=os.pathsep
    )  # for processes that a test starts
    entries: list[importlib.metadata.EntryPoint] = []

    def install(
        name: str, code: str, group: str = "engineroom.engines", distribution: str = ""
    ) -> None:
        distribution = distribution or f"engineroom-{name}"
        module = distribution.replace("-", "_") + "_" + group.rpartition(".")[2]
        (site / f"{module}.py").write_text(textwrap.dedent(code))
        info = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
        entries.extend(importlib.metadata.PathDistribution(info).entry_points)
        monkeypatch.setattr(
            importlib.metadata,
            "entry_points",
            lambda group: importlib.metadata.EntryPoints(e for e in entries if e.group == group),
        )

    yield install
    for name, loaded in list(sys.modules.items()):
        if str(getattr(loaded, "__file__", None)).startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def fake_engine(install_plugin: Callable[..., None], tmp_path: Path) -> None:
    """The only installed engine is ``fake``: a plugin like any other, without a framework."""
    install_plugin("fake", FAKE_ENGINE)
    template = tmp_path / "site" / "fake_template"
    (template / "model").mkdir(parents=True)
    (template / "model" / "model.fake").write_text("2")
    (template / "README.md").write_text("A sample.\n")


@pytest.fixture(scope="session")
def make_wheel() -> Callable[..., Path]:
    """Writes a real wheel of one module: ``make_wheel(folder, "tiny", "1.0")`` gives its path."""

    def write(
        folder: Path, name: str, version: str, tag: str = "py3-none-any", code: str = ""
    ) -> Path:
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        kind = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n{code}")
            wheel.writestr(f"{info}/METADATA", metadata)
            wheel.writestr(f"{info}/WHEEL", kind)
            wheel.writestr(f"{info}/RECORD", "")
        return path

    return write


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a distribution's metadata, and a module if one is named: ``install("x", "1.0")``."""
    site = tmp_path / "installed"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def write(name: str, version: str, module: str = "", code: str = "") -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if module:
            (site / f"{module}.py").write_text(code)
            (info / "RECORD").write_text(f"{module}.py,,\n")
        return site

    return write


@pytest.fixture
def pip_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip sees: no network, and nobody's configuration."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder
