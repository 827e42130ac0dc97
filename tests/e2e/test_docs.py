"""The code in the documentation runs, and its links lead somewhere."""

import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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


# --- docs/walk-through.md, line by line, as somebody who follows it would type

STEP = re.compile(
    r"^```diff\n--- (?P<file>.*)\n-(?P<old>.*)\n\+(?P<new>.*)\n```$"
    r"|(?:^    (?P<typed>\$ .*|\^C)\n)?(?P<shown>(?:^    (?!\$ |\^C).*\n|^\n(?=    ))*)",
    re.MULTILINE,
)
VARIES = re.compile(r"\d\d:\d\d:\d\d|[\da-f]+-[\da-f]+-\d+|\d+(\.\d+)+")
"""Times of day, request ids; versions, durations, confidences."""


def is_shown(came: str, page: str) -> bool:
    """Whether ``page`` shows it: a line ``…`` stands for any lines, ``…`` in a line for anything."""
    pattern = "".join(
        "(?:.*\\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\\n"
        for line in plain(page)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in plain(came))) is not None


def plain(text: str) -> list[str]:
    return [" ".join(VARIES.sub("#", line).split()) for line in text.strip().splitlines()]


class Reader:
    """Somebody with a shell, and with a server in another terminal."""

    def __init__(self, home: Path) -> None:
        self.home, self.log, self.seen = home, home / "log", 0
        self.shell = subprocess.Popen(
            ["bash"], cwd=ROOT, stdin=-1, stdout=-1, stderr=subprocess.STDOUT, text=True
        )
        self.run('set -m; curl() { command curl -s "$@"; }')

    def run(self, command: str) -> str:
        """What the command prints, on both streams."""
        self.shell.stdin.write(f"{command}\necho; echo done: it\n")
        self.shell.stdin.flush()
        return "".join(iter(self.shell.stdout.readline, "done: it\n"))

    def type(self, command: str, page: str) -> None:
        if command == "^C":
            self.run("kill -INT %%; wait")
            self.watch(page)
        elif command.startswith("engineroom serve"):
            self.seen = self.log.write_text("")
            self.run(f"{command} >> {self.log} 2>&1 &")
            self.watch(page)
        else:
            came = self.run(command).replace(str(self.home), "/home/me")
            assert is_shown(came, page), f"$ {command}\n{came}\n{self.log.read_text()}"

    def watch(self, page: str) -> None:
        """Wait until the server has shown this, after what it had shown before."""
        limit = time.monotonic() + 30
        while not is_shown(came := self.log.read_text()[self.seen :], page):
            assert time.monotonic() < limit, came
            time.sleep(0.05)
        self.seen += len(came)


@pytest.fixture
def reader(tmp_path, monkeypatch, pip_index, make_wheel) -> Iterator[Reader]:
    make_wheel(pip_index, "easydict", "1.14", code=EASYDICT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    reader = Reader(tmp_path)
    yield reader
    reader.run("kill -9 %%")
    reader.shell.communicate()


EASYDICT = """
class EasyDict(dict):
    __getattr__ = dict.__getitem__
"""


@pytest.mark.timeout(300)
def test_each_command_of_the_walk_through_shows_what_the_page_says(reader):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    reader.run(f"export ENGINEROOM_PORT={port}")
    text = (ROOT / "docs" / "walk-through.md").read_text("utf-8").replace("8080", port)
    for step in filter(re.Match.group, STEP.finditer(text)):
        file, old, new, typed, shown = step.groups()
        if file:
            edit(reader.home / "walk-through" / file, old, new)
        elif typed:
            reader.type(typed.removeprefix("$ "), shown)
        elif shown.strip():
            reader.watch(shown)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(f"{old}\n") == 1
    path.write_text(text.replace(f"{old}\n", f"{new}\n"), "utf-8")


def test_the_weights_of_the_walk_through_are_those_that_were_trained():
    weights = [
        (ROOT / "examples" / folder / "model" / "digits.pth").read_bytes()
        for folder in ("digits-pytorch", "walk-through/digits")
    ]
    assert weights[0] == weights[1], "run examples/walk-through/make.py"


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
