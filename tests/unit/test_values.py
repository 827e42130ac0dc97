"""Devices, and values checked against the declared inputs of a model."""

import io

import numpy as np
import pytest

from engineroom.errors import DeviceError, InvalidTensorError
from engineroom.values import CPU, Device, TensorSpec, choose_device, is_upload, tensors

CUDA0, CUDA1 = Device("cuda", 0), Device("cuda", 1)


def short(value):
    """A test's name for a value."""
    return ascii(value).partition(" at 0x")[0][:40]


def spec(dtype="float32", shape=("N",)):
    return TensorSpec("x", shape, dtype)


def check(value, dtype="float32", shape=("N",)):
    return spec(dtype, shape).array(value, "mnist")


def refusal(value, dtype="float32", shape=("N",)):
    with pytest.raises(InvalidTensorError) as caught:
        check(value, dtype, shape)
    return caught.value


# --- devices


@pytest.mark.parametrize(
    ("wanted", "device"),
    [
        ("auto", CUDA0),
        ("cuda", CUDA0),
        ("cuda:1", CUDA1),
        ("CUDA:1", CUDA1),
        (" cpu ", CPU),
        ("cpu:0", CPU),
    ],
)
def test_a_device_is_chosen_among_those_that_are_there(wanted, device):
    assert choose_device(wanted, (CUDA0, CUDA1, CPU)) == device


@pytest.mark.parametrize("wanted", ["cuda:2", "npu", "npu:0", "cpu:1"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(wanted):
    with pytest.raises(DeviceError, match=f"{wanted}.*this engine sees: cuda:0, cpu"):
        choose_device(wanted, (CUDA0, CPU))


@pytest.mark.parametrize("wanted", ["", "cuda:", "cuda:-1", "cuda:x", "cuda:0:0", "GPU 0"])
def test_what_is_no_device_name_is_refused_with_an_example(wanted):
    with pytest.raises(DeviceError, match="expected auto, cpu, or a device such as cuda:0"):
        choose_device(wanted, (CPU,))


def test_an_engine_without_devices_has_none_for_auto_either():
    with pytest.raises(DeviceError, match="sees: none"):
        choose_device("auto", ())


@pytest.mark.parametrize(
    ("device", "name"), [(CPU, "cpu"), (CUDA1, "cuda:1"), (Device("mps"), "mps")]
)
def test_a_device_prints_as_it_is_typed(device, name):
    assert str(device) == name


# --- specs


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        (("N", 3, None), "(N, 3, ?) float32"),
        (("N",), "(N,) float32"),
        ((), "() float32"),
        (None, "(any shape) float32"),
    ],
)
def test_a_spec_prints_like_a_shape(shape, shown):
    assert str(spec(shape=shape)) == shown


def test_the_smallest_array_has_ones_for_open_dimensions():
    smallest = spec("uint8", ("N", 3, None)).smallest()
    assert (smallest.shape, smallest.dtype) == ((1, 3, 1), np.uint8)


def test_the_smallest_array_of_strings_holds_empty_strings():
    assert spec("string").smallest().tolist() == [""]


def test_every_smallest_array_fits_its_own_spec():
    for dtype in ("float16", "int64", "bool", "string"):
        assert check(spec(dtype, ("N", 2)).smallest(), dtype, ("N", 2)).shape == (1, 2)


# --- arrays and lists


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "uint8", "bool", "complex64"])
def test_an_array_that_fits_passes_through_without_a_copy(dtype):
    array = np.ones((4, 2), dtype)
    assert check(array, dtype, ("N", 2)) is array


def test_an_array_of_another_dtype_is_cast():
    assert check(np.ones(2, np.float64)).dtype == np.float32
    assert check(np.ones(2, ">f4")).dtype == np.dtype("=f4")


def test_a_list_becomes_an_array_of_the_declared_dtype():
    array = check([[1, 2.5]], shape=("N", 2))
    assert (array.dtype, array.tolist()) == (np.float32, [[1.0, 2.5]])


def test_a_model_with_a_scalar_input_takes_a_number():
    assert check(3, shape=()).shape == ()


def test_a_spec_without_a_shape_takes_any_shape():
    assert check([[[1]], [[2]]], shape=None).shape == (2, 1, 1)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int8", [-128, 127]),
        ("uint8", [0, 255]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("int64", [2**53 + 1]),
        ("uint64", [2**64 - 1]),
        ("int64", [1.0, -3.0]),
        ("uint8", [255.0]),
        ("int32", [True, False]),
        ("float32", [True, 2]),
        ("float16", [65504.0]),
        ("bool", [True, False]),
        ("bool", [1, 0]),
        ("bool", [1.0, 0.0]),
        ("string", ["a", "中", ""]),
        ("string", ["ends in a null\0"]),
        ("complex64", [1 + 2j]),
    ],
    ids=short,
)
def test_a_value_that_the_dtype_can_hold_is_held_exactly(dtype, value):
    assert check(value, dtype).tolist() == value


def test_an_unsigned_array_goes_into_a_signed_input_as_far_as_it_fits():
    largest = np.array([2**63 - 1], np.uint64)
    assert check(largest, "int64").tolist() == [2**63 - 1]


def test_floats_lose_digits_and_nothing_else():
    assert check([0.1, 1e-50]).tolist() == [float(np.float32(0.1)), 0.0]


def test_an_integer_that_numpy_has_no_type_for_still_fits_a_float():
    assert check([2**70]).tolist() == [float(2**70)]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", [256]),
        ("uint8", [-1]),
        ("int8", [128]),
        ("int8", [-129]),
        ("int64", [2**63]),
        ("int64", [2**64]),
        ("uint64", [-1]),
        ("int64", [9.3e18]),
        ("uint8", [1e30]),
        ("int64", [1.5]),
        ("int64", [1e-50]),
        ("float16", [65520.0]),
        ("float16", [100_000]),
        ("float32", [1e39]),
        ("bool", [2]),
        ("bool", [0.5]),
        ("float32", [10**400]),
    ],
    ids=short,
)
def test_a_number_that_the_dtype_cannot_hold_is_refused(dtype, value):
    assert dtype in str(refusal(value, dtype))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities_of_an_array_do_not_become_integers(dtype, value):
    refusal(np.array([1.0, value]), dtype)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e400])
def test_nan_and_infinities_of_a_request_are_refused_with_their_place(value):
    error = refusal([[1.0, 2.0], [3.0, value]], shape=("N", 2))
    assert f"{value} at index [1, 1]" in str(error)


def test_nan_of_a_script_s_own_array_passes():
    assert np.isnan(check(np.array([np.nan], np.float32)))[0]


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool", "string"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"a": 1},
        b"1",
        [None],
        [1, None],
        ["a", None],
        [{}],
        [[1], [1, 2]],
        [["a"], "a"],
        [b"1"],
        {1},
        [2**70, "a"],
        [],
        [[]],
        np.array(["2020"], "datetime64[Y]"),
        np.array([b"1"]),
        np.array([object()], object),
    ],
    ids=short,
)
def test_what_is_no_tensor_is_refused_for_every_dtype(dtype, value):
    refusal(value, dtype)


@pytest.mark.parametrize("value", ["1", ["1"], ["a"], [1, "a"], "[1]", np.array(["1"])], ids=short)
def test_strings_are_not_taken_for_numbers(value):
    assert "give float32 numbers" in str(refusal(value))


@pytest.mark.parametrize("value", [[1], [1.5], [True], ["a", 1], [True, "a"]], ids=short)
def test_numbers_are_not_taken_for_strings(value):
    assert "give strings" in str(refusal(value, "string"))


def test_one_long_string_among_many_numbers_does_not_fill_the_memory():
    # numpy would make room for the longest string in every place: here 146 TiB.
    refusal(["a" * 20_000_000, *[1] * 2_000_000])


def test_a_list_nested_deeper_than_arrays_can_be_is_refused():
    value = 1
    for _ in range(500):
        value = [value]
    refusal(value)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([1, 2, 3], "(3,)"),
        ([[1, 2]], "(1, 2)"),
        ([[1, 2, 3, 4]], "(1, 4)"),
        ([[[1, 2, 3]]], "(1, 1, 3)"),
        (1, "()"),
    ],
)
def test_a_wrong_shape_is_refused_with_both_shapes(value, got):
    error = refusal(value, shape=("N", 3))
    assert f"expected (N, 3) float32, got {got} float32" in str(error)


def test_a_missing_first_dimension_is_called_the_batch():
    assert "the first dimension is the batch" in str(refusal([1, 2, 3], shape=("N", 3)))
    assert "the batch" not in str(refusal([[1]], shape=("N", 3)))


def test_an_empty_batch_is_refused():
    assert "an empty batch" in str(refusal(np.zeros((0, 3), np.float32), shape=("N", 3)))


def test_an_uploaded_file_that_no_step_has_read_is_named_as_such():
    error = refusal({"7.png": io.BytesIO(b"x")})
    assert "got an uploaded file; make an array of it in _preprocess" in str(error)


def test_a_refusal_names_model_input_and_both_sides():
    error = refusal([1.5], "int64")
    assert str(error).startswith('input "x" of model "mnist": expected (N,) int64, got ')
    assert error.detail == {
        "model": "mnist",
        "input": "x",
        "expected": "(N,) int64",
        "got": "float64 values",
    }


# --- several inputs

PAIR = (TensorSpec("a", ("N", 2), "float32"), TensorSpec("b", ("N", "M"), "int64"))


def test_inputs_come_out_by_name_in_the_order_of_the_model():
    feeds = tensors(PAIR, {"b": [[1]], "a": [[1, 2]]}, "m")
    assert list(feeds) == ["a", "b"]
    assert (feeds["a"].shape, feeds["b"].dtype) == ((1, 2), np.int64)


def test_a_model_without_inputs_takes_an_empty_dict():
    assert tensors((), {}, "m") == {}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"a": [[1, 2]]}, "missing input 'b'"),
        ({"a": [[1, 2]], "b": [[1]], "c": 1}, "unknown input 'c'"),
        ({"a": [[1, 2]], "c": 1}, "unknown input 'c'; missing input 'b'"),
        ({}, "missing input 'a', 'b'"),
    ],
)
def test_wrong_names_are_told_with_the_right_ones(data, problem):
    with pytest.raises(InvalidTensorError) as caught:
        tensors(PAIR, data, "m")
    assert str(caught.value) == (
        f'model "m": {problem}; its inputs are "a" (N, 2) float32, "b" (N, M) int64'
    )


@pytest.mark.parametrize("data", [None, [[1, 2]], "text", 5, np.zeros(2)], ids=short)
def test_what_is_no_dict_is_refused_with_the_inputs(data):
    with pytest.raises(InvalidTensorError, match='expected a dict with the inputs "a" .*, got '):
        tensors(PAIR, data, "m")


def test_one_symbol_is_one_size_across_inputs():
    with pytest.raises(InvalidTensorError) as caught:
        tensors(PAIR, {"a": [[1, 2], [3, 4]], "b": [[1]]}, "m")
    assert 'dimension N is 2 in input "a" and 1 in input "b"' in str(caught.value)


def test_one_symbol_is_one_size_within_an_input():
    square = (TensorSpec("a", ("N", "N"), "float32"), TensorSpec("b", (None,), "float32"))
    with pytest.raises(InvalidTensorError, match="dimension N"):
        tensors(square, {"a": [[1, 2]], "b": [1]}, "m")


def test_one_symbol_is_one_size_within_the_only_input():
    with pytest.raises(InvalidTensorError, match="dimension N"):
        tensors((TensorSpec("a", ("N", "N"), "float32"),), {"a": [[1, 2]]}, "m")


def test_unnamed_dimensions_may_differ():
    specs = (TensorSpec("a", (None,), "float32"), TensorSpec("b", (None,), "float32"))
    assert tensors(specs, {"a": [1], "b": [1, 2]}, "m")["b"].shape == (2,)


# --- uploads


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ({"a.png": io.BytesIO()}, True),
        ({"a.png": io.BytesIO(), "b.png": io.BytesIO()}, True),
        ({}, False),
        ({"a": 1}, False),
        ({"a.png": io.BytesIO(), "b": "text"}, False),
        (io.BytesIO(), False),
    ],
)
def test_a_dict_of_files_and_nothing_else_is_an_upload(value, answer):
    assert is_upload(value) is answer
