"""What is said of a value: its kind and its size, never the value, and never an exception."""

import collections
import io
import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from engineroom.kinds import given, kind_of, words_of


class Hostile:
    """Whatever is asked of it fails."""

    def __getattr__(self, name):
        raise SystemError(name)

    __len__ = __iter__ = __str__ = __repr__ = __bool__ = lambda self: 1 / 0


class HostileList(list):
    __len__ = __iter__ = __getitem__ = lambda self, *_: 1 / 0


class Tensor:
    """A tensor of a library that is not installed."""

    shape, dtype, device = (1, 3), "sixth.float16", "npu:1"


def closed_file():
    file = io.BytesIO(b"x")
    file.close()
    return file


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        (True, "bool"),
        (5, "int"),
        ("secret", "str of 6 characters"),
        (b"secret", "bytes of 6"),
        (np.zeros((1, 28, 28), np.float32), "float32 (1, 28, 28)"),
        (np.zeros(3, np.int64), "int64 (3,)"),
        (np.float32(1), "float32"),
        (Tensor(), "tests.Tensor float16 (1, 3) on npu:1"),
        (Image.new("RGB", (32, 16)), "PIL image RGB 32x16"),
        (io.BytesIO(b"abc"), "file (3 bytes)"),
        (closed_file(), "file (closed)"),
        ([], "an empty list"),
        ([1, 2], "list of 2 int"),
        ((1, "a", None), "tuple of 3 int and str and None"),
        ([[1, 2], [3, 4]], "list of 2: each list of 2 int"),
        ([[1, 2], [3]], "list of 2: the first list of 2 int"),
        ({}, "an empty dict"),
        ({"a": 1, 2: "b"}, "dict with 'a': int, 2: str of 1 character"),
        ({"images": {"7.png": io.BytesIO(b"abc")}}, "dict with 'images': 1 file '7.png' (3 bytes)"),
        (collections.OrderedDict(a=1), "dict with 'a': int"),
        (HostileList([1, 2]), "HostileList of 2 int"),
        (Tensor, "type"),
    ],
)
def test_a_value_is_told_by_its_kind_and_size(value, words):
    told = kind_of(value)
    for module in (__name__, __name__.partition(".")[0]):
        told = told.replace(f"{module}.", "tests.")
    assert told == words


def test_an_object_that_fails_whatever_it_is_asked_is_told_by_its_type():
    assert kind_of(Hostile()).endswith("Hostile")
    assert given({"a": [Hostile()]})["a"].endswith("Hostile")


def test_a_dict_is_told_key_by_key():
    told = given({"images": {"7.png": io.BytesIO(b"abc")}, "k": "3"})
    assert told == {"images": "1 file '7.png' (3 bytes)", "k": "str of 1 character"}
    assert words_of(told) == "images: 1 file '7.png' (3 bytes), k: str of 1 character"


def test_anything_else_is_told_in_one_string():
    assert given([1, 2]) == "list of 2 int"
    assert given({}) == "an empty dict"


def test_keys_that_are_no_strings_are_told_by_their_kind_unless_they_are_numbers():
    assert given({(1, "secret"): 1, 5: 2}) == {"tuple of 2 int and str": "int", "5": "int"}


def test_the_words_stay_short_however_large_the_value():
    deep = value = {}
    for _ in range(100):
        value["x"] = value = {str(i) * 1000: [["y" * 1000] * 1000] for i in range(20)}
    assert len(json.dumps(given(deep))) < 4000
    assert len(given(dict.fromkeys(range(1000), 1))) == 9
    assert given(dict.fromkeys(range(1000), 1))["…"] == "992 more"


def test_a_list_that_holds_itself_is_told():
    loop = []
    loop.append(loop)
    assert given(loop).startswith("list of 1: the first list of 1")


def test_a_large_value_is_not_copied():
    value = {"file": io.BytesIO(bytes(10_000_000)), "rows": [[1.0] * 1000] * 1000}
    tracemalloc.start()
    given(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_file_can_still_be_changed_afterwards():
    file = io.BytesIO(b"abc")
    given({"file": file})
    assert file.write(b"longer than it was") == 18
