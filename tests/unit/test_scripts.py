"""Scripts in tests and notebooks of their authors: engineroom.scripts and the pytest plugin."""

import subprocess
import sys

import pytest

SCRIPT = """
import json

import log
from helpers import double
from metric.metrics_manager import MetricsManager
from model_service.onnx_model_service import OnnxServingBaseService


class Doubles(OnnxServingBaseService):
    def _preprocess(self, data):
        import helpers
        return {"x": helpers.double(data["x"])}

    def _postprocess(self, data):
        return {"y": data["y"].tolist(), "metrics": dict(MetricsManager.metrics)}


class Own(Doubles):
    def __init__(self, model_name, model_path):
        with open("model/labels.json") as file:
            self.labels = json.load(file)
"""
HELPERS = "def double(rows): return [[2 * value for value in row] for row in rows]"


@pytest.fixture
def doubles(package, services):
    onnx = (services / "plain" / "model" / "model.onnx").read_bytes()
    files = {"helpers.py": HELPERS, "labels.json": '["a"]', "model.onnx": onnx}
    return package(SCRIPT, **files)


def python(code, cwd):
    command = [sys.executable, "-W", "error", "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


NOTEBOOK = """
import sys
import engineroom.scripts
sys.path.insert(0, "model")
from customize_service import Doubles
"""


def test_after_importing_engineroom_scripts_a_script_can_be_imported(doubles):
    code = (
        NOTEBOOK
        + 'print(Doubles("a", "b")._preprocess({"x": [[1]]}), Doubles("a", "b").model_path)'
    )
    assert python(code, doubles) == "{'x': [[2]]} b\n"


def test_before_it_cannot(doubles):
    with pytest.raises(
        AssertionError, match="No module named 'model_service'|No module named 'log'"
    ):
        python(NOTEBOOK.replace("import engineroom.scripts", "import engineroom"), doubles)


def test_the_default_inference_of_a_service_made_by_hand_says_how_to_get_the_model(doubles):
    code = (
        NOTEBOOK
        + "\ntry: Doubles('a', 'b').inference({'x': []})\nexcept Exception as error: print(error)"
    )
    assert "was made outside Engineroom" in (said := python(code, doubles))
    assert "engineroom.load()" in said


def test_a_parent_without_an_engine_says_what_it_needs_when_its_step_is_used(tmp_path):
    code = (
        "import engineroom.scripts\n"
        "from model_service.caffe_model_service import CaffeBaseService\n"
        "try: CaffeBaseService('a', 'b').inference(1)\nexcept Exception as error: print(error)"
    )
    assert "model_service.caffe_model_service.CaffeBaseService needs Caffe" in python(
        code, tmp_path
    )


def test_a_model_of_the_same_package_can_be_loaded_beside_it(doubles):
    code = NOTEBOOK + (
        "import engineroom, log\n"
        "print(engineroom.load('.')({'x': [[0.5, 0, 0]]})['y'])\n"
        "from customize_service import Own\n"
        "print(Own.__mro__[1] is Doubles, sys.modules['log'] is log)"
    )
    assert python(code, doubles) == "[[0.0, 1.0]]\nTrue True\n"


def test_modules_of_the_process_win_over_lent_ones(tmp_path):
    (tmp_path / "log.py").write_text("A = 'own'")
    assert python("import engineroom.scripts, log; print(log.A)", tmp_path) == "own\n"


CONFTEST = 'pytest_plugins = ["engineroom.pytest_plugin"]'
TESTS = """
from pathlib import Path

def test_steps(load_service):
    service = load_service("sample")
    assert service._preprocess({"x": [[1]]}) == {"x": [[2]]}
    assert service.labels == ["a"]
    assert service.model_path.endswith("model.onnx")
    assert Path("model/helpers.py").is_file()

def test_all_of_it(load_service):
    assert Path("sample").is_dir()
    answer = load_service("sample").inference({"x": [[0.5, 0, 0]]})
    assert answer["y"] == [[0.0, 1.0]]
    assert "sample_LatencyOverall" in answer["metrics"]

def test_another(load_service):
    first = load_service("sample")
    second = load_service(Path("other"))
    assert first.model_name == "sample"
    assert second._preprocess({"x": [[1]]}) == {"x": [[3]]}
"""


def test_the_pytest_plugin_makes_services_with_all_that_a_server_puts_around_them(doubles):
    home = doubles.parent
    other = home / "other" / "model"
    other.mkdir(parents=True)
    (other / "helpers.py").write_text(HELPERS.replace("2", "3"))
    (other / "labels.json").write_text("[]")
    (other / "customize_service.py").write_text(SCRIPT)
    (home / "conftest.py").write_text(CONFTEST)
    (home / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", home]
    shown = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert "3 passed" in shown.stdout, shown.stdout + shown.stderr
