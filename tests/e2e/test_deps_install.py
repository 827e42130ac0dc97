"""`engineroom deps --install`, as a person would use it; pip is real, its index is a folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = """
import tiny
from model_service.onnx_model_service import OnnxServingBaseService

class Mine(OnnxServingBaseService):
    def _inference(self, data):
        return [tiny.VERSION, tiny.__file__]
"""


def run(*command, code=0):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def deps(*arguments, code=0):
    return run(sys.executable, "-m", "engineroom", "deps", *arguments, code=code).stdout


@pytest.fixture
def declaring(package, pip_index):
    """A package whose script imports ``tiny`` and which declares these, in this order."""

    def write(*names):
        packages = [{"package_name": name} for name in names]
        config = {"dependencies": [{"installer": "pip", "packages": packages}]}
        return package(SCRIPT, **{"config.json": json.dumps(config)})

    return write


@pytest.fixture
def environment(declaring, make_wheel, tmp_path) -> tuple[Path, Path]:
    """A package with a wheel beside its model, and the environment made for it."""
    path = declaring("tiny-1.0-py3-none-any.whl", "numpy")
    make_wheel(path / "model", "tiny", "1.0")
    folder = tmp_path / "an environment"  # with a blank in its path
    shown = deps(path, "--install", "--venv", folder)
    assert "Successfully installed tiny-1.0" in shown
    assert f"next: '{folder}/bin/engineroom' serve {path}" in shown
    return path, folder


def test_a_new_environment_has_the_wheel_and_serves_the_package(environment, tmp_path):
    path, folder = environment
    command = folder / "bin" / "engineroom"
    answer = run(command, "predict", path, "-d", '{"a": 1}').stdout
    version, file = json.loads(answer)
    assert version == "1.0"
    assert Path(file).is_relative_to(folder)
    assert "onnx " in run(command, "engines").stdout
    assert "missing" not in run(command, "deps", path, "--offline").stdout


def test_this_environment_stays_as_it_is(environment):
    path, _ = environment
    assert "missing" in deps(path, "--offline", code=1)


def test_what_is_satisfied_is_not_touched(environment):
    path, folder = environment
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.py")}
    assert "Successfully" not in deps(path, "--install", "--venv", folder)
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*.py")}


def test_the_first_failure_stops_it_with_pip_s_last_lines(
    declaring, pip_index, make_wheel, tmp_path
):
    path = declaring("first", "broken", "third")
    make_wheel(pip_index, "first", "1.0")
    make_wheel(pip_index, "broken", "1.0").write_bytes(b"no wheel at all")
    make_wheel(pip_index, "third", "1.0")
    shown = deps(path, "--install", "--venv", tmp_path / "env", code=1)
    assert "pip failed on broken (exit code 1):" in shown
    assert "ERROR: Wheel 'broken'" in shown
    assert "not tried after it: third" in shown
    states = [line.split()[1] for line in shown.partition("now:\n")[2].splitlines()[:3]]
    assert states == ["ok", "missing", "missing"]


def test_a_failure_is_in_the_json_too(declaring, pip_index, make_wheel, tmp_path):
    path = declaring("broken")
    make_wheel(pip_index, "broken", "1.0").write_bytes(b"no wheel at all")
    shown = json.loads(deps(path, "--install", "--json", "--venv", tmp_path / "env", code=1))
    assert shown["failure"].startswith("pip failed on broken")


def test_another_version_is_put_before_the_one_of_this_environment(
    declaring, pip_index, make_wheel, tmp_path, monkeypatch
):
    site = tmp_path / "parent"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site,
        make_wheel(tmp_path, "tiny", "1.0"))  # fmt: skip
    code = f"import sys; sys.path.append({str(site)!r}); from engineroom.cli import main; main()"
    path = declaring("tiny==2.0")
    make_wheel(pip_index, "tiny", "2.0")
    folder = tmp_path / "env"
    shown = run(sys.executable, "-c", code, "deps", path, "--install", "--venv", folder).stdout
    assert "differs  tiny==2.0  1.0 is installed" in shown
    answer = run(folder / "bin" / "engineroom", "predict", path, "-d", '{"a": 1}').stdout
    assert json.loads(answer)[0] == "2.0"
    assert (site / "tiny-1.0.dist-info").is_dir()


def test_a_server_says_what_is_missing_before_the_import_fails(declaring, start_server):
    server = start_server(declaring("tiny==1.0"), ready=False)
    line = server.wait_for_line(r"tiny==1\.0 \(not installed\); run: engineroom deps .* --install")
    server.wait_for_line(r"needs the module 'tiny'.*config\.json declares it as tiny==1\.0")
    assert server.log().index("needs the module") > line.start()
    assert server.process.wait(20) == 3
