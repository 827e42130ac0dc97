"""The code in the documentation runs, and its links lead somewhere."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "core/HOOKS.md", "plugins/README.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
TUTORIAL = ROOT / "examples" / "custom-engine"


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(*command: object, cwd: Path = ROOT, **variables: str) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith("ENGINEROOM_")}
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        env=env | variables,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def is_script(block: str) -> bool:
    return "from model_service." in block


def new_package(tmp_path: Path, script: str) -> Path:
    """What `engineroom init` writes, with ``script`` as its service."""
    run("-m", "engineroom", "init", tmp_path / "mnist", "--engine", "onnx")
    (tmp_path / "mnist" / "model" / "customize_service.py").write_text(script)
    return tmp_path / "mnist"


def predict(package: Path) -> str:
    return run("-m", "engineroom", "predict", package, "-F", f"images=@{package / '7.png'}")


PROGRAMS = [block for block in blocks("README.md", "python") if not is_script(block)]


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_python_block_of_the_readme_runs_and_prints_what_it_says(program):
    said = "".join(line[2:] + "\n" for line in program.splitlines() if line.startswith("# {"))
    assert run("-W", "error", "-c", program) == said


def test_the_service_of_the_readme_has_12_lines_and_gives_the_answer_beside_it(tmp_path):
    (script,) = filter(is_script, blocks("README.md", "python"))
    assert len(script.splitlines()) == 12
    answer = predict(new_package(tmp_path, script))
    assert answer.strip() in (ROOT / "README.md").read_text("utf-8")
    assert script in blocks("core/README.md", "python")


def test_the_mounted_app_of_the_readme_answers():
    (program,) = [block for block in PROGRAMS if "create_app" in block]
    ask = """
from pathlib import Path

from starlette.testclient import TestClient

picture = Path("examples/digits-onnx/samples/7.png").read_bytes()
with TestClient(app) as client:
    assert digits.hosts[0].is_ready
    print(client.post("/digits/", files={"images": ("7.png", picture)}).text)
"""
    answer = run("-c", program + ask).strip()
    assert f"    {answer}\n" in (ROOT / "README.md").read_text("utf-8")


def test_the_service_the_tests_and_the_notebook_of_the_guide_run(tmp_path):
    script, tests, notebook = blocks("docs/writing-a-service.md", "python")
    package = new_package(tmp_path, script)
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (package / "model" / "labels.json").write_text(json.dumps(names))
    assert predict(package) == '{"digits":["seven"]}\n'
    (tmp_path / "test_mnist.py").write_text(tests)
    run("-m", "pytest", "-q", "test_mnist.py", "--rootdir", tmp_path, cwd=tmp_path)
    assert f"# {run('-W', 'error', '-c', notebook, cwd=tmp_path)}" in notebook


def test_the_plugin_of_hooks_md_decodes_csv(tmp_path):
    (metadata,), (code,) = blocks("core/HOOKS.md", "toml"), blocks("core/HOOKS.md", "python")
    assert 'csv = "engineroom_csv"' in metadata
    (tmp_path / "engineroom_csv.py").write_text(code)
    installed = tmp_path / "engineroom_csv-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: engineroom-csv\nVersion: 0.1.0"
    )
    (installed / "entry_points.txt").write_text("[engineroom.plugins]\ncsv = engineroom_csv\n")
    ask = """
from engineroom.errors import InvalidBodyError
from engineroom.plugins import Registry

decode = Registry().decode
print(decode("text/csv; charset=utf-8", b"1,2\\n3,4\\n", b""))
print(decode("application/json", b"[1]", b""))
try:
    decode("text/csv", b"5.1,wide", b"")
except InvalidBodyError as error:
    print(error)
"""
    assert run("-c", ask, PYTHONPATH=str(tmp_path)).splitlines() == [
        "{'features': [[1.0, 2.0], [3.0, 4.0]]}",
        "[1]",
        "the body is not CSV of numbers: could not convert string to float: 'wide'",
    ]


def test_the_blocks_of_the_tutorial_are_the_files_of_the_example():
    files = [path for path in TUTORIAL.rglob("*") if path.suffix in {".py", ".toml"}]
    texts = [path.read_text("utf-8") for path in files]
    shown = blocks("plugins/README.md", "toml") + blocks("plugins/README.md", "python")
    assert len(shown) == 4
    for block in shown:
        assert any(block.strip() in text for text in texts), block


def test_the_engine_of_the_tutorial_has_under_a_hundred_lines():
    code = (TUTORIAL / "src" / "engineroom_centroid").glob("*.py")
    assert sum(len(path.read_text("utf-8").splitlines()) for path in code) < 100


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files(page):
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page} links to {target}"


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_changelog_starts_with_this_version():
    top = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert top is not None
    assert top[1] == importlib.metadata.version("engineroom")
