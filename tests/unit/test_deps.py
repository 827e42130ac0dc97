"""`engineroom deps`: the plan, and what pip can do about it. pip is real, its index is a folder."""

import json
import sys

import pytest
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from engineroom.cli import main
from engineroom.tools.environment import look_into
from engineroom.tools.index import Offer, ask

PYTHON = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
PIP = f"{sys.executable} -m pip install"


@pytest.fixture(autouse=True)
def _own_process(monkeypatch):
    monkeypatch.setattr("engineroom.cli._exit", sys.exit)


@pytest.fixture
def declaring(package):
    """The folder of a package that declares these, as ``name`` or ``name==version``."""

    def write(*names, **files):
        packages = [{"package_name": name} for name in names]
        config = {"dependencies": [{"installer": "pip", "packages": packages}]}
        return package(**{"config.json": json.dumps(config), **files})

    return write


def run(*arguments):
    return CliRunner().invoke(main, ["deps", *map(str, arguments)])


def row(done, name):
    """State and reason of one dependency."""
    found = [line.split(None, 3) for line in done.stdout.splitlines() if f" {name} " in line]
    return found[0][1], found[0][3]


# --- the plan


def test_a_satisfied_plan_exits_with_0_and_has_nothing_to_install(declaring):
    done = run(declaring("numpy", "json"), "--offline")
    assert done.exit_code == 0
    assert row(done, "numpy")[0] == row(done, "json")[0] == "ok"
    assert "install" not in done.stdout.replace("is installed", "")


def test_what_is_missing_exits_with_1_and_comes_in_the_declared_order(declaring):
    path = declaring("b-missing", "numpy", "a-missing>=1,<2")
    done = run(path, "--offline")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-4:] == [
        "to install, in this order:",
        f"  {PIP} b-missing",
        f"  {PIP} 'a-missing<2,>=1'",
        f"or all of it: engineroom deps {path} --install",
    ]


def test_no_package_exits_with_3(tmp_path):
    done = run(tmp_path / "nosuch")
    assert done.exit_code == 3
    assert "no such file or folder" in done.stderr


def test_no_dependencies_are_said_so(package):
    done = run(package("x = 1"))
    assert done.exit_code == 0
    assert "config.json declares no dependencies" in done.stdout


def test_what_was_read_otherwise_is_told(package):
    path = package(**{"config.json": '{"dependencies": ["json"]}'})
    assert 'config.json:1:18: warning: "dependencies" should be a list' in run(path).stdout


def test_a_moved_name_is_shown_with_that_of_today(declaring):
    done = run(declaring("sklearn==99"), "--offline")
    assert "sklearn is scikit-learn today" in row(done, "sklearn==99")[1]
    assert "scikit-learn==99" in done.stdout


def test_the_plan_as_json(declaring, make_wheel):
    path = declaring("tiny-1.0-py3-none-any.whl", "numpy")
    wheel = make_wheel(path / "model", "tiny", "1.0")
    shown = json.loads(run(path, "--json", "--offline").stdout)
    assert shown["satisfied"] is False
    assert shown["commands"] == [[sys.executable, "-m", "pip", "install", str(wheel)]]
    assert [d["state"] for d in shown["dependencies"]] == ["missing", "satisfied"]
    assert shown["dependencies"][0]["file"] == str(wheel)


# --- what the index has


def test_a_version_without_a_build_is_told_with_the_oldest_that_has_one(
    declaring, pip_index, make_wheel
):
    for version in ("2.12.0", "2.13.0"):
        make_wheel(pip_index, "frame", version)
    make_wheel(pip_index, "frame", "1.13.1", "cp27-cp27m-manylinux1_x86_64")
    done = run(declaring("frame==1.13.1"))
    assert row(done, "frame==1.13.1") == (
        "missing",
        f"not installed; frame==1.13.1 has no build for {PYTHON}; the oldest that has one is 2.12.0",
    )
    assert "to install" not in done.stdout
    assert "--nearest" in done.stdout


def test_with_nearest_it_is_the_version_to_install(declaring, pip_index, make_wheel):
    make_wheel(pip_index, "frame", "2.12.0")
    assert f"  {PIP} frame==2.12.0" in run(declaring("frame==1.13.1"), "--nearest").stdout


def test_a_version_that_has_a_build_needs_no_words(declaring, pip_index, make_wheel):
    make_wheel(pip_index, "frame", "1.0")
    done = run(declaring("frame==1.0"))
    assert row(done, "frame==1.0") == ("missing", "not installed")


def test_a_name_that_pip_does_not_find_is_told(declaring, pip_index):
    done = run(declaring("no-such-one"))
    assert row(done, "no-such-one")[1] == f"not installed; pip finds no no-such-one for {PYTHON}"


def test_source_only_is_tried_when_nothing_is_there(declaring, pip_index, make_wheel):
    make_wheel(pip_index, "frame", "2.0")
    (pip_index / "frame-1.0.tar.gz").touch()
    done = run(declaring("frame==1.0"))
    assert "frame==1.0 comes as source only, which may not build" in row(done, "frame==1.0")[1]
    assert f"  {PIP} frame==1.0" in done.stdout


def test_source_only_does_not_replace_what_is_there(declaring, pip_index, install):
    install("frame", "2.0")
    (pip_index / "frame-1.0.tar.gz").touch()
    done = run(declaring("frame==1.0"))
    assert row(done, "frame==1.0")[0] == "differs"
    assert "to install" not in done.stdout
    assert "nothing that pip can install; whether it runs so: engineroom check" in done.stdout


def test_a_wheel_for_another_python_may_be_on_the_index(declaring, pip_index, make_wheel):
    make_wheel(pip_index, "tiny", "1.0")
    name = "tiny-1.0-cp27-cp27m-win32.whl"
    done = run(declaring(name, **{name: b""}))
    assert row(done, name)[0] == "no"
    assert "the index has tiny==1.0" in row(done, name)[1]


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9"])
def test_an_index_that_cannot_be_reached_is_no_error(declaring, monkeypatch, proxy):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{proxy}/simple")
    done = run(declaring("frame"))
    assert done.exit_code == 1
    assert row(done, "frame") == ("missing", "not installed; the index could not be reached")
    assert f"  {PIP} frame" in done.stdout


def test_an_index_that_does_not_answer_in_time_is_no_error(pip_index):
    offers = ask(sys.executable, {"frame": SpecifierSet()}, timeout_s=0.01)
    assert offers["frame"].unknown == "pip did not answer in time"


def test_an_environment_without_pip_is_told_in_its_words(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2; exit 1\n")
    python.chmod(0o755)
    offers = ask(str(python), {"frame": SpecifierSet()})
    assert offers["frame"].unknown == "pip said: No module named pip"


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("==1.0", "2.0"), ("==2.5", "3.0"), ("==9.0", "3.0"), ("<=1.5", "2.0"), (">=5", "3.0")],
)
def test_the_nearest_build_is_the_next_newer_one_or_else_the_newest(wanted, nearest):
    versions = tuple(map(Version, ("2.0", "3.0", "4.0rc1")))
    assert Offer(versions, versions).nearest(SpecifierSet(wanted)) == Version(nearest)


# --- the environment


def test_a_folder_that_is_no_venv_is_a_usage_error(declaring):
    path = declaring("numpy")
    done = run(path, "--venv", path)
    assert done.exit_code == 2
    assert "there is something, and it is no venv" in done.stderr


def test_a_venv_of_another_python_is_a_usage_error(declaring, tmp_path):
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    python.write_text("""#!/bin/sh\necho '["2.7.18", []]'\n""")
    python.chmod(0o755)
    done = run(declaring("numpy"), "--venv", tmp_path / "env")
    assert done.exit_code == 2
    assert "it has Python 2.7.18, engineroom runs on 3." in done.stderr


def test_a_folder_that_is_not_there_yet_is_planned_as_this_environment(declaring, tmp_path):
    assert look_into(tmp_path / "env") is None
    assert run(declaring("numpy"), "--venv", tmp_path / "env").exit_code == 0
    assert not (tmp_path / "env").exists()


def test_nothing_is_installed_without_the_option(declaring, monkeypatch):
    def never(*_):
        raise AssertionError("pip was started")

    monkeypatch.setattr("engineroom.tools.deps._run", never)
    assert run(declaring("no-such-one"), "--offline").exit_code == 1
