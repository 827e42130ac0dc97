"""What services return, as JSON."""

import enum
import json
import uuid
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.encoding import _with_care, encode_response
from engineroom.errors import ResultError


class Tensor:
    """As TensorFlow's and MindSpore's: an array behind one method."""

    def __init__(self, value, method):
        setattr(self, method, lambda: np.array(value))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"a": [1, 2.5, None, True, "x"]}, '{"a":[1,2.5,null,true,"x"]}'),
        ([], "[]"),
        ({}, "{}"),
        (5, "5"),
        (None, "null"),
        ("text", '"text"'),
        ('{"a": 1}', '"{\\"a\\": 1}"'),
        ((1, 2), "[1,2]"),
    ],
)
def test_plain_values_are_json(result, text):
    assert encode_response(result) == text.encode()


def test_utf_8_is_sent_as_it_is():
    assert encode_response({"字": "½🙂"}) == '{"字":"½🙂"}'.encode()


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.float16(0.25), 0.25),
        (np.int64(3), 3),
        (np.uint8(255), 255),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.argmax([1, 3, 2]), 1),
        (np.array(7), 7),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([0.5], np.float32), [0.5]),
        (np.array([], np.float32), []),
        (np.array(["中"]), ["中"]),
        (np.array([b"a"]), ["a"]),
        (np.array([1, None, np.float32(2)], object), [1, None, 2.0]),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
        (np.longdouble(0.5), 0.5),
    ],
    ids=repr,
)
def test_numpy_scalars_and_arrays_are_numbers_and_lists(result, value):
    assert json.loads(encode_response(result)) == value


def test_numpy_values_may_stand_anywhere():
    result = {"top": [{"label": np.str_("cat"), "box": (np.int32(1), np.array([2.5]))}]}
    assert encode_response(result) == b'{"top":[{"label":"cat","box":[1,[2.5]]}]}'


@pytest.mark.parametrize("method", ["numpy", "asnumpy"])
def test_tensors_of_a_framework_are_lists(method):
    assert encode_response({"y": Tensor([[1, 2]], method)}) == b'{"y":[[1,2]]}'


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (1, "1"),
        (True, "true"),
        (None, "null"),
        (np.int64(1), "1"),
        (np.str_("a"), "a"),
        (np.bool_(True), "true"),
        (b"a", "a"),
        (Path("a/b"), "a/b"),
    ],
    ids=repr,
)
def test_keys_become_text(key, text):
    assert encode_response({key: np.int64(1)}) == f'{{"{text}":1}}'.encode()


@pytest.mark.parametrize(
    "raw", [b"abc", bytearray(b"abc"), memoryview(b"abc")], ids=lambda raw: type(raw).__name__
)
def test_bytes_are_their_text(raw):
    assert encode_response(raw) == b'"abc"'


def test_bytes_that_are_no_text_are_base64():
    assert encode_response({"mask": b"\xff\xfe"}) == b'{"mask":"//4="}'


def test_a_path_is_its_text():
    assert encode_response([Path("/m/labels.txt")]) == b'["/m/labels.txt"]'


def test_a_set_is_a_list():
    assert sorted(json.loads(encode_response({"labels": {"a", "b"}}))["labels"]) == ["a", "b"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), np.float32("nan")])
def test_nan_and_the_infinities_are_null_wherever_they_stand(value):
    result = {"a": value, "b": [1.5, np.array([value, 2.0])], np.int64(3): {"c": (value,)}}
    assert encode_response(result) == b'{"a":null,"b":[1.5,[null,2.0]],"3":{"c":[null]}}'


def test_half_of_a_surrogate_pair_is_escaped():
    assert encode_response({"字": "\ud800"}) == '{"字":"\\ud800"}'.encode()
    assert encode_response(["\ud800", float("nan"), np.float32(1)]) == b'["\\ud800",null,1.0]'


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (object(), "object"),
        ({"a": [1j]}, "complex"),
        (np.complex64(1), "complex"),
        (np.datetime64("2020-01-01"), "datetime.date"),
        (np.array([object()]), "object"),
        (print, "builtin_function_or_method"),
        (range(3), "range"),
        ((n for n in "ab"), "generator"),
        ({(1, 2): 3}, "tuple"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_a_result_error_that_names_its_type(result, kind):
    with pytest.raises(ResultError, match=f"holds an? {kind}, which JSON cannot") as caught:
        encode_response(result)
    assert (caught.value.status, caught.value.detail["got"]) == (500, kind)


class Colour(enum.Enum):
    RED = "red"


def test_enums_and_uuids_are_their_value():
    number = uuid.UUID(int=5)
    assert encode_response([Colour.RED, number]) == f'["red","{number}"]'.encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_careful_way_writes_the_same_bytes(result):
    assert _with_care(result) == orjson.dumps(result)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40])
def test_integers_of_any_size_are_written_in_full(number):
    assert encode_response({"n": [number, 1e-7]}) == f'{{"n":[{number},1e-7]}}'.encode()


def test_an_integer_that_python_will_not_print_is_a_result_error():
    with pytest.raises(ResultError):
        encode_response({"n": 10**5000})


def holding_itself(kind):
    result = kind()
    result.append(result) if kind is list else result.update(a=result)
    return result


def array_holding_itself():
    result = np.empty(1, object)
    result[0] = result
    return result


def nested(depth, value):
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "result",
    [
        holding_itself(list),
        holding_itself(dict),
        [float("nan"), holding_itself(list)],
        array_holding_itself(),
        nested(100_000, 1),
        nested(100_000, float("nan")),
    ],
    ids=["list", "dict", "with NaN", "array", "deep", "deep with NaN"],
)
def test_a_result_that_holds_itself_is_a_result_error(result):
    with pytest.raises(ResultError, match="nested too deeply, or holds itself"):
        encode_response(result)
