"""Which packages get processes of their own, and how a process's end is told."""

import sys
from pathlib import Path

import pytest

from engineroom.children import commands, ending
from engineroom.errors import SettingError
from engineroom.hosting import open_packages
from engineroom.settings import Settings


def commands_for(paths, **pythons):
    named = [(path.name, path) for path in paths]
    return commands(named, open_packages(named, Settings()), pythons)


def test_packages_without_scripts_share_the_process(services):
    plain = services / "plain"
    named = [("a", plain), ("b", plain)]
    assert commands(named, open_packages(named, Settings()), {}) == {}


def test_a_single_package_has_no_front(services):
    assert commands_for([services / "echo"]) == {}


def test_with_one_script_each_has_a_process_that_serves_it_under_its_name(services):
    found = commands_for([services / "plain", services / "echo"])
    assert list(found) == ["plain", "echo"]
    command = [sys.executable, "-m", "engineroom", "serve"]
    assert found["echo"] == [*command, str(services / "echo"), "--name", "echo"]


def test_an_interpreter_is_looked_at_before_anything_is_started(services, tmp_path):
    with pytest.raises(SettingError, match="cannot be run: No such file"):
        commands_for([services / "plain", services / "echo"], echo=tmp_path / "python")
    with pytest.raises(SettingError, match="no package is called 'cats': plain, echo"):
        commands_for([services / "plain", services / "echo"], cats=Path(sys.executable))


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (-9, "SIGKILL"), (-11, "SIGSEGV"), (-99, "signal 99")]
)
def test_an_exit_code_in_words(code, words):
    assert ending(code) == words
