"""Promises that no single module keeps: imports, versions, and docs that say what the code says."""

import dataclasses
import inspect
import pkgutil
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest

import engineroom
from engineroom import errors, hookspecs
from engineroom.settings import Settings, env_name

ROOT = Path(__file__).parents[2]
NOT_IMPORTED = {
    "engineroom.__main__": "it is the command itself",
    "engineroom.testing": "it is for those who have pytest",
    "engineroom.pytest_plugin": "likewise",
}
FRAMEWORKS = ("tensorflow", "torch", "mindspore", "onnxruntime")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(engineroom.__path__, "engineroom.")
    if module.name not in NOT_IMPORTED
)


def read(path):
    return (ROOT / path).read_text("utf-8")


# --- imports


@pytest.fixture(scope="module")
def imports():
    """What a clean interpreter says when it imports one module, for each of them."""

    def run(module):
        code = (
            f"import sys, {module}\n"
            f"print(sorted(name for name in sys.modules if name in {FRAMEWORKS!r}))"
        )
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip(), done.stderr

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(MODULES, pool.map(run, MODULES), strict=True))


@pytest.mark.parametrize("module", MODULES)
def test_each_module_imports_alone_without_a_warning_and_without_a_framework(imports, module):
    assert imports[module] == ("[]", "")


def test_the_package_offers_what_it_names():
    assert engineroom.__all__
    assert [name for name in engineroom.__all__ if not hasattr(engineroom, name)] == []


def test_a_name_that_the_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        engineroom.nosuch  # noqa: B018


# --- the version


def test_the_version_is_the_newest_one_of_the_changelog():
    newest = re.search(r"^## \[?(\d[^\s\]]*)", read("CHANGELOG.md"), re.MULTILINE)
    assert newest[1] == engineroom.__version__


# --- the docs


def rows(path):
    """The rows of a document's tables whose first cell is in backticks: that cell, all cells."""
    for line in read(path).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) > 1:
            yield cells[0].strip("`"), cells


def shown_default(field):
    if isinstance(field.default, bool):
        return "on" if field.default else "off"
    return {None: "not set", "": "empty"}.get(field.default, str(field.default))


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_each_setting_is_documented_as_it_is(field):
    _, option, variable, default, commands, _ = dict(rows("docs/settings.md"))[field.name]
    flag = "--" + field.name.replace("_", "-")
    flags = f"`{flag}`, `--no-{flag[2:]}`" if field.metadata["type"] is click.BOOL else f"`{flag}`"
    assert option == (flags if field.metadata["commands"] else "none")
    assert variable == f"`{env_name(field.name)}`"
    assert default.strip("`") == shown_default(field)
    assert commands == (", ".join(field.metadata["commands"]) or "all")


def test_no_setting_is_documented_that_does_not_exist():
    known = {field.name for field in dataclasses.fields(Settings)}
    assert {name for name, cells in rows("docs/settings.md") if len(cells) == 6} == known


ERRORS = [
    error
    for error in vars(errors).values()
    if inspect.isclass(error) and issubclass(error, errors.EngineroomError)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_each_error_is_documented_as_it_is(error):
    if error is errors.EngineroomError:
        assert f"`{error.__name__}` (`{error.code}`)" in read("docs/errors.md")
        return
    _, name, *rest = dict(rows("docs/errors.md"))[error.code]
    assert name == f"`{error.__name__}`"
    if issubclass(error, errors.RequestError):
        assert rest[:2] == [str(error.status), error.erno]


def test_no_error_is_documented_that_does_not_exist():
    documented = {code for code, cells in rows("docs/errors.md") if cells[1].endswith("Error`")}
    assert documented == {error.code for error in ERRORS} - {errors.EngineroomError.code}


def test_the_hooks_are_documented_with_their_arguments_in_the_order_in_which_they_fire():
    headings = re.findall(r"^## `?(\w+\(.*?\))`?$", read("core/HOOKS.md"), re.MULTILINE)
    assert headings == [
        f"{name}({', '.join(inspect.signature(function).parameters)})"
        for name, function in vars(hookspecs).items()
        if hasattr(function, "engineroom_spec")
    ]
