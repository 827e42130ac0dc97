"""docs/compatibility.md: each of its rows is shown by a test, and each test of the contract by a row."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "compatibility.md"
VERDICT = re.compile(r"\*\*(supported|differs|not supported)\*\*")


def read_rows():
    """(fact, what is said of it, the tests named: file below tests/ and function) of each row."""
    file = None
    for line in DOCUMENT.read_text("utf-8").splitlines():
        if line.startswith("## "):
            file = None
        elif linked := re.match(r"Tests: \[.*\]\(\.\./tests/(contract/\w+\.py)\)", line):
            file = linked[1]
        elif file and line.startswith("| ") and not line.startswith("| fact "):
            fact, said, shown = (cell.strip() for cell in line.strip("|").split("|"))
            names = re.findall(r"`([^`]+)`", shown)
            yield fact, said, [place(file, name) for name in names]


def place(file, name):
    """``test_x`` in ``file``; ``test_y.py::test_x`` beside it; ``unit/test_y.py::test_x``."""
    path, _, function = name.rpartition("::")
    if not path:
        return file, function
    return (path if "/" in path else f"contract/{path}"), function


ROWS = list(read_rows())


def functions(path):
    """The tests that a file defines."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.name[:5] == "test_"}


@pytest.mark.parametrize(("fact", "said", "shown"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_says_how_it_is_and_names_tests_that_exist(fact, said, shown):
    verdict = VERDICT.match(said)
    assert verdict, f"{fact}: neither supported, differs nor not supported: {said}"
    assert shown or verdict[1] == "not supported", f"{fact}: no test shows it"
    for file, function in shown:
        assert function in functions(TESTS / file), f"{fact}: {file} has no {function}"


@pytest.mark.parametrize(
    "path", sorted((TESTS / "contract").glob("test_*.py")), ids=lambda p: p.stem
)
def test_each_test_of_the_contract_shows_a_row(path):
    named = {
        function for _, _, shown in ROWS for file, function in shown if file.endswith(path.name)
    }
    assert functions(path) - named == set()
