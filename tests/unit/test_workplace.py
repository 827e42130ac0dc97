"""The working directory of a script: its own, and like the package to look at."""

import os

import pytest

from engineroom import load, workplace
from engineroom.package import open_package
from engineroom.workplace import Workplace

SCRIPT = """
import os
from pathlib import Path
from model_service.onnx_model_service import OnnxServingBaseService


class S(OnnxServingBaseService):
    def _inference(self, data):
        return eval(data)
"""


@pytest.fixture
def run(package):
    """Evaluates an expression in a step of a script that lies beside ``files``."""

    def run(expression, **files):
        return load(package(SCRIPT, **files))(expression)

    return run


def place(package):
    return Workplace(open_package(package)).path


def test_the_working_directory_is_private_and_not_the_user_s_folder(package):
    path = package(SCRIPT)
    first, second = load(path)("os.getcwd()"), load(path)("os.getcwd()")
    assert len({str(path), first, second}) == 3


@pytest.mark.parametrize(
    "file", ["model/labels.txt", "model/sub/deep.txt", "model/1/labels.txt", "/home/mind/model/1"]
)
def test_files_are_found_relative_to_it(run, file):
    files = {"labels.txt": "cat", "sub/deep.txt": "cat", "note.py": f"# {file}"}
    if file.startswith("model"):
        assert run(f"Path({file!r}).read_text()", **files) == "cat"


def test_files_beside_the_model_folder_are_found(package):
    path = package(SCRIPT)
    (path / "settings.txt").write_text("on")
    (path / "data").mkdir()
    (path / "data" / "a.txt").write_text("a")
    assert load(path)("[Path(n).read_text() for n in ('settings.txt', 'data/a.txt')]") == [
        "on",
        "a",
    ]


def test_the_version_folder_is_there_only_where_code_asks_for_it(package):
    assert not (place(package(SCRIPT)) / "model" / "1").exists()
    (package(SCRIPT) / "model" / "utils.py").write_text("PATH = 'model/1/labels.txt'")
    assert (place(package(SCRIPT)) / "model" / "1").is_dir()


def test_a_flat_folder_is_seen_as_model_too(tmp_path):
    (tmp_path / "customize_service.py").write_text(SCRIPT)
    (tmp_path / "labels.txt").write_text("cat")
    assert load(tmp_path)("[Path(n).read_text() for n in ('labels.txt', 'model/labels.txt')]") == [
        "cat",
        "cat",
    ]


@pytest.mark.parametrize("name", ["new.txt", "model/new.txt", "labels.txt", "model/labels.txt"])
def test_what_a_script_writes_there_never_reaches_the_user_s_folder(package, name):
    path = package(SCRIPT, **{"labels.txt": "cat"})
    (path / "labels.txt").write_text("cat")
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert load(path)(f"Path({name!r}).write_text('dog')") == 3
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_a_package_on_a_read_only_disk_can_write_too(package):
    path = package(SCRIPT, **{"labels.txt": "cat"})
    for folder in (path, path / "model"):
        folder.chmod(0o555)
    try:
        assert load(path)("Path('out.txt').write_text('dog')") == 3
    finally:
        for folder in (path, path / "model"):
            folder.chmod(0o755)


def test_large_files_are_links_whose_real_path_has_its_neighbours(package):
    path = package(SCRIPT, **{"weights.bin": b"0" * 100_000, "labels.txt": "cat"})
    weights = place(path) / "model" / "weights.bin"
    assert weights.is_symlink()
    assert os.path.realpath(weights) == str(path / "model" / "weights.bin")
    assert (weights.parent / "labels.txt").read_text() == "cat"


def test_a_folder_with_very_many_files_is_linked_whole(package, monkeypatch):
    monkeypatch.setattr(workplace, "MAX_ENTRIES", 5)
    path = package(SCRIPT, **{f"images/{i}.txt": "x" for i in range(9)})
    assert (place(path) / "model" / "images").is_symlink()
    assert (place(path) / "model" / "images" / "8.txt").read_text() == "x"


def test_repositories_and_environments_are_not_looked_into(package):
    path = package(SCRIPT, **{".git/config": "x", "venv/pyvenv.cfg": "home = /"})
    assert [(place(path) / "model" / name).is_symlink() for name in (".git", "venv")] == [True] * 2


def test_it_is_removed_with_the_model(package):
    model = load(package(SCRIPT))
    there = model("os.getcwd()")
    model.unload()
    assert not os.path.exists(there)


def test_it_is_removed_when_the_load_fails(package, tmp_path, monkeypatch):
    monkeypatch.setenv(workplace.SCRATCH, str(tmp_path))
    with pytest.raises(Exception, match="no such thing"):
        load(package(SCRIPT + "raise ValueError('no such thing')\n"))
    assert not list(tmp_path.glob("engineroom-*"))


def test_no_cache_of_python_is_left_in_the_package(package):
    path = package("import helpers\n" + SCRIPT, **{"helpers.py": "A = 1"})
    load(path)
    assert not list(path.rglob("__pycache__"))
