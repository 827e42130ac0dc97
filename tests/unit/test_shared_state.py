"""Whether the steps of a script keep something between them, from a look at its code."""

import textwrap

import pytest

import engineroom
from engineroom.package import open_package
from engineroom.service import Service
from engineroom.shared_state import kept_state

HEAD = """
import os

from model_service.onnx_model_service import OnnxServingBaseService

COUNT = 0
CACHE = {}

def count():
    global COUNT
    COUNT += 1

def darken(picture):
    picture.level = 0

class Service(OnnxServingBaseService):
    table = {}

    def __init__(self, model_name, model_path):
        self.labels = ["cat", "dog"]
"""


@pytest.fixture
def kept(package):
    def look(body: str, imports: str = "", **files: str) -> str | None:
        script = imports + HEAD + textwrap.indent(textwrap.dedent(body), "    ")
        script += "\n    def _inference(self, data):\n        return data\n"
        folder = package(script, **files)
        model = engineroom.load(folder, engine="onnx")
        return kept_state(type(model.service), open_package(folder))

    return look


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("self.size = data", "self.size"),
        ("self.size, x = data, 1", "self.size"),
        ("self.n += 1", "self.n"),
        ("self.table['a'] = 1", "self.table"),
        ("self.table['a'].b = 1", "self.table"),
        ("del self.size", "self.size"),
        ("self.labels.append(1)", "self.labels"),
        ("setattr(self, 'x', 1)", "self.x"),
        ("for self.i in data: pass", "self.i"),
        ("with open('x') as self.file: pass", "self.file"),
        ("Service.last = data", "Service.last"),
        ("type(self).last = data", "self.last"),
        ("self.__class__.last = data", "self.__class__"),
        ("setattr(type(self), data, 1)", "self.…"),
        ("CACHE['a'] = 1", "CACHE"),
        ("CACHE.setdefault('a', 1)", "CACHE"),
        ("setattr(Service, 'last', 1)", "Service.last"),
    ],
)
def test_what_a_step_keeps_on_self_is_found_with_its_line(kept, line, what):
    found = kept(f"def _preprocess(self, data):\n    {line}\n    return data\n")
    assert found == f"customize_service.py:22: _preprocess keeps {what}"


def test_what_a_step_calls_counts_too(kept):
    found = kept("""
        def _postprocess(self, data):
            return self.scaled(data)

        def scaled(self, data):
            self.last = data
            return data
    """)
    assert found is not None
    assert found.endswith("scaled keeps self.last")


def test_what_another_module_of_the_package_holds_counts_too(kept):
    body = "def _preprocess(self, data):\n    store.LAST.append(data)\n    return data\n"
    found = kept(body, "import store\n", **{"store.py": "LAST = []\n"})
    assert found is not None
    assert found.endswith("_preprocess keeps store.LAST")


def test_a_global_name_counts_too(kept):
    found = kept("def _preprocess(self, data):\n    count()\n    return data\n")
    assert found is not None
    assert found.endswith("count keeps global COUNT")


@pytest.mark.parametrize(
    "body",
    [
        "x = 1",
        "def _preprocess(self, data):\n    out = {}\n    out['a'] = self.labels[0]\n    return out",
        "def _preprocess(self, data):\n    data.update(a=1)\n    return data",
        "def reset(self):\n    self.labels = []",
        "def _preprocess(self, data):\n    darken(data)\n    return data",
        "def _preprocess(self, data):\n    os.environ['A'] = 'b'\n    return data",
        "def _preprocess(self, data):\n    CACHE = {}\n    CACHE['a'] = 1\n    return data",
        "def _preprocess(self, data):\n    return CACHE.get('a', data)",
    ],
)
def test_steps_that_only_read_self_keep_nothing(kept, body):
    assert kept(body) is None


def test_the_default_steps_keep_nothing(tmp_path):
    (tmp_path / "model.onnx").touch()
    assert kept_state(Service, open_package(tmp_path)) is None
