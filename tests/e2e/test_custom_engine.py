"""examples/custom-engine installs and works in an environment of its own, as its README says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "custom-engine"


def run(*command: object, cwd: Path) -> str:
    dropped = ("ENGINEROOM_", "PYTEST_", "PYTHONPATH")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, env=env
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The bin folder of a fresh environment with the core, the example and pytest."""
    home = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", home, cwd=home)
    pip = home / "bin" / "pip"
    run(pip, "install", "-q", ROOT / "core", EXAMPLE, "pytest", cwd=home)
    return home / "bin"


def test_the_engine_is_listed_as_usable(installed, tmp_path):
    rows = json.loads(run(installed / "engineroom", "engines", "--json", cwd=tmp_path))
    assert [(row["name"], row["version"], row["state"]) for row in rows] == [
        ("centroid", "0.1.0", "usable")
    ]


def test_the_sample_package_can_be_served(installed, tmp_path):
    report = run(installed / "engineroom", "check", EXAMPLE / "iris", cwd=tmp_path)
    assert "features (N, 4) float32" in report
    assert "1 example answered" in report
    assert report.endswith("verdict  runs as it is\n")


def test_the_readme_s_prediction_comes_true(installed, tmp_path):
    request = '{"features": [[5.1, 3.5, 1.4, 0.2]]}'
    answer = run(installed / "engineroom", "predict", EXAMPLE / "iris", "-d", request, cwd=tmp_path)
    assert json.loads(answer)["label"] == ["setosa"]
    for page in (EXAMPLE / "README.md", ROOT / "plugins" / "README.md"):
        assert answer.strip() in page.read_text("utf-8")


def test_its_own_tests_pass(installed, tmp_path):
    shown = run(
        installed / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE, cwd=tmp_path
    )
    assert " passed" in shown


def test_the_stated_accuracy_is_that_of_the_sample_package():
    config = json.loads((EXAMPLE / "iris" / "model" / "config.json").read_text("utf-8"))
    stated = f"an accuracy\nof {config['metrics']['accuracy']:.4f}"
    assert stated in (EXAMPLE / "README.md").read_text("utf-8")
