"""The distributions install and work outside the checkout, as a new user would have them."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
PLUGINS = ("mindspore", "onnx", "pytorch", "sklearn", "spark", "tensorflow")


def run(*command: object, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("ENGINEROOM_")}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, env=env, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A wheel and an sdist of each distribution."""
    out = tmp_path_factory.mktemp("dist")
    for project in ("core", *(f"plugins/{name}" for name in PLUGINS)):
        run(sys.executable, "-m", "build", "--outdir", out, ROOT / project, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The bin folder of an empty environment with the core and the smallest engine in it."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    wheels = [*built.glob("engineroom-*.whl"), *built.glob("engineroom_onnx-*.whl")]
    run(home / "bin" / "pip", "install", "-q", *wheels, cwd=home)
    return home / "bin"


def test_every_distribution_has_a_wheel_and_an_sdist_of_one_version(built):
    from engineroom import __version__

    names = sorted(path.name for path in built.iterdir())
    projects = ["engineroom", *(f"engineroom_{name}" for name in PLUGINS)]
    kinds = ("-py3-none-any.whl", ".tar.gz")
    assert names == [f"{project}-{__version__}{kind}" for project in projects for kind in kinds]


def test_wheels_carry_what_a_user_needs(built):
    core = zipfile.ZipFile(next(built.glob("engineroom-*.whl"))).namelist()
    onnx = zipfile.ZipFile(next(built.glob("engineroom_onnx-*.whl"))).namelist()
    assert "engineroom/py.typed" in core
    assert {"engineroom_onnx/py.typed", "engineroom_onnx/template/model/model.onnx"} <= set(onnx)
    for names in (core, onnx):
        assert any(name.endswith("licenses/LICENSE") for name in names)
        tops = {name.partition("/")[0] for name in names}
        assert all(top.startswith("engineroom") or top.endswith("-stubs") for top in tops)


SCRIPT = """
import log
import mms.log
from metric.metrics_manager import MetricsManager
from mms.model_service.mxnet_model_service import MXNetBaseService
from mms.utils.mxnet import image
from model_service import log as other
from model_service.pytorch_model_service import PTServingBaseService

logger: log.Logger = log.getLogger(__name__)
other.get_logger("a").info("%d", log.INFO)


class Service(PTServingBaseService):
    def _preprocess(self, data: bytes) -> str:
        MetricsManager.metrics[self.model_name + "_LatencyPreprocess"].update(1.5)
        image.read(data).asnumpy()
        self.model.eval()
        return self.model_path


Service("name", "path")._preprocess(b"").upper()
reveal_type(MXNetBaseService("name", "folder", {}).inference)
PTServingBaseService(1)  # wrong
log.nosuch  # wrong
"""


def test_editors_and_type_checkers_know_the_names_that_scripts_import(installed, tmp_path):
    """And nobody else does: the wheel brings their types, and no module of such a name."""
    (tmp_path / "customize_service.py").write_text(SCRIPT)
    python = installed / "python"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python]
    shown = subprocess.run(
        [*map(str, command), "customize_service.py"], cwd=tmp_path, capture_output=True, text=True
    )
    wrong = [line for line in shown.stdout.splitlines() if ": error:" in line]
    lines = SCRIPT.splitlines()
    assert ["# wrong" in lines[int(line.split(":")[1]) - 1] for line in wrong] == [True, True], (
        shown
    )
    assert "def (data: Any) -> Any" in shown.stdout
    for name in ("log", "metric", "mms", "model_service"):
        found = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
        assert run(python, "-c", found, cwd=tmp_path).stdout == "None\n"


def test_an_sdist_builds_a_wheel_without_the_checkout(built, tmp_path):
    with tarfile.open(next(built.glob("engineroom_onnx-*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, source, cwd=tmp_path)
    assert list(tmp_path.glob("engineroom_onnx-0*.whl"))


def test_a_new_user_s_first_five_minutes(installed, tmp_path):
    command = installed / "engineroom"
    table = run(command, "engines", cwd=tmp_path).stdout
    assert "onnxruntime" in table
    assert "usable" in table
    run(command, "init", "mine", "--engine", "onnx", cwd=tmp_path)
    assert "verdict  runs as it is" in run(command, "check", "mine", cwd=tmp_path).stdout
    answer = run(command, "predict", "mine", "-F", "images=@mine/7.png", cwd=tmp_path)
    assert json.loads(answer.stdout)["mnist_result"] == 7
    server = subprocess.Popen(
        [command, "serve", "mine", "--port", "18080"], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        assert ask("http://127.0.0.1:18080/", tmp_path / "mine" / "7.png")["mnist_result"] == 7
    finally:
        server.terminate()
        assert server.wait(20) == 0


def ask(url: str, picture: Path) -> dict:
    body = io.BytesIO()
    body.write(b'--e\r\nContent-Disposition: form-data; name="images"; filename="7.png"\r\n\r\n')
    body.write(picture.read_bytes() + b"\r\n--e--\r\n")
    kind = {"Content-Type": "multipart/form-data; boundary=e"}
    limit = time.monotonic() + 20
    while True:
        try:
            request = urllib.request.Request(url, data=body.getvalue(), headers=kind)
            with urllib.request.urlopen(request, timeout=5) as reply:
                return json.loads(reply.read())
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.1)
