"""The service of a package without a script: files and typed lists to arrays."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from engineroom.errors import InvalidTensorError, InvalidUploadError
from engineroom.service import Service
from engineroom.uploads import default_service, read_file
from engineroom.values import TensorSpec

GREY = np.arange(0, 60, 10, dtype=np.uint8).reshape(2, 3)
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
WEIGHTS = (0.299, 0.587, 0.114)


def picture(pixels, form="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, form)
    return io.BytesIO(content.getvalue())


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return io.BytesIO(content.getvalue())


def npy_with_header(header, data=b"", version=(1, 0)):
    raw = header.encode().ljust(127) + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(raw))
    return io.BytesIO(b"\x93NUMPY" + bytes(version) + size + raw + data)


def png_that_claims(width, height):
    """A PNG of about 100 bytes, whatever size its header claims."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(50))), chunk(b"IEND", b"")]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def read(content, shape=("N", 3, 2, 3), dtype="float32"):
    return read_file("7.png", content, TensorSpec("images", shape, dtype))


def preprocess(data, **inputs):
    """What the default service makes of ``data`` for inputs given as ``name=(shape, dtype)``."""
    specs = tuple(TensorSpec(name, *spec) for name, spec in inputs.items())
    return default_service(Service, specs)()._preprocess(data)


# --- pictures


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        (("N", 1, 2, 3), GREY[None, None]),
        (("N", 2, 3, 1), GREY[None, :, :, None]),
        (("N", 2, 3), GREY[None]),
        (("N", 6), GREY.reshape(1, 6)),
        ((None, None, None, 1), GREY[None, :, :, None]),
        (("N", 1, "H", "W"), GREY[None, None]),
    ],
)
def test_a_grey_picture_is_laid_out_like_the_input(shape, values):
    array = read(picture(GREY), shape)
    np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        (("N", 3, 2, 3), RGB.transpose(2, 0, 1)[None]),
        (("N", 2, 3, 3), RGB[None]),
        (("N", 18), RGB.reshape(1, 18)),
        (("N", None, None, 3), RGB[None]),
        (("N", 3, "H", "W"), RGB.transpose(2, 0, 1)[None]),
        (None, RGB[None]),
    ],
)
def test_a_colour_picture_is_laid_out_like_the_input(shape, values):
    np.testing.assert_array_equal(read(picture(RGB), shape), values)


def test_a_grey_picture_fills_three_equal_channels():
    array = read(picture(GREY), ("N", 3, 2, 3))
    np.testing.assert_array_equal(array, np.stack([GREY] * 3)[None])


def test_a_colour_picture_becomes_grey_by_its_luminance():
    array = read(picture(RGB), ("N", 1, 2, 3))
    np.testing.assert_allclose(array[0, 0], RGB @ WEIGHTS, atol=1)


def test_transparency_is_kept_where_the_model_has_four_channels_and_dropped_elsewhere():
    rgba = np.dstack([RGB, GREY])
    np.testing.assert_array_equal(read(picture(rgba), ("N", 2, 3, 4))[0], rgba)
    np.testing.assert_array_equal(read(picture(rgba), ("N", 2, 3, 3))[0], RGB)


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_the_format_is_found_by_the_content_and_not_by_the_name(form):
    array = read_file("7.txt", picture(RGB, form), TensorSpec("x", ("N", 2, 3, 3), "uint8"))
    assert array.shape == (1, 2, 3, 3)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_values_stay_0_to_255_in_the_dtype_of_the_input(dtype):
    spec = TensorSpec("x", ("N", 2, 3), dtype)
    array = spec.array(read(picture(GREY), ("N", 2, 3), dtype), "m")
    assert (array.dtype, array.max()) == (np.dtype(dtype), 50)


def test_values_that_the_input_cannot_hold_are_refused_and_never_wrapped():
    spec = TensorSpec("images", ("N", 2, 3), "int8")
    with pytest.raises(InvalidTensorError, match="int8"):
        spec.array(read_file("7.png", picture(GREY + 200), spec), "m")


@pytest.mark.parametrize("shape", [("N", 3, 3, 2), ("N", 4), ("N",), (2, 3), ("N", 2, 3, 2), ()])
def test_a_picture_of_another_size_is_refused_with_both_sizes(shape):
    with pytest.raises(InvalidUploadError, match="got the 3x2 picture '7.png'") as caught:
        read(picture(RGB), shape)
    assert caught.value.detail["expected"] == str(TensorSpec("images", shape, "float32"))


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG", picture(RGB).getvalue()[:50], b"just some text", b"\0" * 100, b"GIF89a"],
    ids=["signature", "truncated", "text", "zeros", "gif"],
)
def test_what_is_no_picture_is_refused_by_name(content):
    with pytest.raises(
        InvalidUploadError,
        match="'7.png' is (neither a picture nor an .npy file|not a picture that can)",
    ):
        read(io.BytesIO(content))


def test_a_refusal_shows_nothing_of_the_server_s_memory():
    with pytest.raises(InvalidUploadError) as caught:
        read(io.BytesIO(b"just some text"))
    assert "0x" not in str(caught.value)


def test_an_empty_file_is_refused_as_empty():
    with pytest.raises(InvalidUploadError, match="the file '7.png' is empty"):
        read(io.BytesIO())


@pytest.mark.parametrize("shape", [("N", 3, 2, 3), ("N", 3, "H", "W"), ("N", 3, 60_000, 60_000)])
def test_a_decompression_bomb_is_refused(shape):
    bomb = png_that_claims(60_000, 60_000)
    assert len(bomb.getvalue()) < 200
    with pytest.raises(InvalidUploadError, match="3600000000 pixels"):
        read(bomb, shape)


def test_a_picture_of_the_wrong_size_is_refused_before_it_is_decoded():
    with pytest.raises(InvalidUploadError, match="got the 9000x9000 picture"):
        read(png_that_claims(9000, 9000))


# --- arrays


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_is_its_array_in_either_order(order):
    array = np.array(np.arange(6, dtype=np.int16).reshape(2, 3), order=order)
    got = read(npy(array), ("N", 3))
    assert got.dtype == np.int16
    assert got.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("dtype", ["float64", ">f4", "bool", "uint8", "complex64", "U3"])
def test_an_npy_file_keeps_its_dtype(dtype):
    array = np.ones((2, 2), dtype)
    got = read(npy(array))
    assert got.dtype == array.dtype
    assert got.tolist() == array.tolist()


def test_an_npy_file_is_found_by_its_content_and_not_by_its_name():
    got = read_file("7.jpg", npy(np.zeros(3)), TensorSpec("x", ("N",), "float32"))
    assert got.shape == (3,)


def test_a_newer_npy_version_is_read():
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"
    assert read(npy_with_header(header, bytes(8), (2, 0))).tolist() == [0, 0]


def test_an_npy_header_that_claims_a_huge_shape_allocates_nothing():
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000, 1000)}"
    with pytest.raises(InvalidUploadError, match="not an .npy file that can be read"):
        read(npy_with_header(header, bytes(16)))


@pytest.mark.parametrize(
    "shape", ["(3,)", "(1,)", f"({10**30},)", "('a',)", "(1.5,)", "5", "None", "(2**2,)"]
)
def test_an_npy_header_whose_shape_is_not_that_of_the_data_is_refused(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    with pytest.raises(InvalidUploadError, match="not an .npy file that can be read"):
        read(npy_with_header(header, bytes(8)))


@pytest.mark.parametrize("dtype", ["'|O'", "[('a', '|O')]", "'<U0'", "'nonsense'", "5"])
def test_an_npy_header_with_a_dtype_that_bytes_cannot_be_is_refused(dtype):
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': (1,)}}"
    with pytest.raises(InvalidUploadError, match="not an .npy file that can be read"):
        read(npy_with_header(header, bytes(8)))


def test_an_npy_file_of_pickled_objects_is_refused():
    with pytest.raises(InvalidUploadError, match="not an .npy file that can be read"):
        read(npy(np.array([{"a": 1}], object)))


@pytest.mark.parametrize(
    "header", ["{'descr': ", "__import__('os').abort()", "[]", "(" * 120, "'" * 7, "\\", "5"]
)
def test_an_npy_header_that_is_no_header_is_refused(header):
    with pytest.raises(InvalidUploadError, match="not an .npy file that can be read"):
        read(npy_with_header(header))


@pytest.mark.parametrize("kept", [6, 8, 10, 40, -1])
def test_a_truncated_npy_file_is_refused(kept):
    with pytest.raises(InvalidUploadError, match="not an .npy file that can be read"):
        read(io.BytesIO(npy(np.arange(6.0)).getvalue()[:kept]))


def test_an_npy_version_of_the_future_is_refused():
    with pytest.raises(InvalidUploadError, match="not an .npy file that can be read"):
        read(npy_with_header("{}", version=(9, 0)))


# --- the default service


def test_several_files_under_one_key_are_a_batch_in_their_order():
    files = {"a.png": picture(RGB), "b.png": picture(RGB + 100)}
    batch = preprocess({"images": files}, images=(("N", 2, 3, 3), "float32"))["images"]
    np.testing.assert_array_equal(batch, np.stack([RGB, RGB + 100]))


def test_pictures_and_npy_files_may_share_a_batch():
    files = {"a.png": picture(RGB), "b.npy": npy(np.zeros((2, 2, 3, 3), np.float32))}
    batch = preprocess({"images": files}, images=(("N", 2, 3, 3), "float32"))["images"]
    assert batch.shape == (3, 2, 3, 3)


@pytest.mark.parametrize(
    "second", [np.zeros((1, 4)), np.zeros(3), np.float32(1), np.zeros((1, 3), "datetime64[s]")]
)
def test_files_that_form_no_batch_are_refused_with_their_shapes(second):
    files = {"a.npy": npy(np.zeros((1, 3))), "b.npy": npy(second)}
    with pytest.raises(InvalidTensorError, match='input "x": its 2 files do not form one batch'):
        preprocess({"x": files}, x=(("N", 3), "float32"))


def test_a_list_typed_into_a_text_field_is_a_list():
    assert preprocess({"x": "[[1, 2]]"}, x=(("N", 2), "float32")) == {"x": [[1, 2]]}


@pytest.mark.parametrize("text", ["abc", "[1", "[" * 100_000, "9" * 5000], ids=lambda t: t[:3])
def test_a_text_that_is_no_list_is_left_for_the_check_of_the_input(text):
    assert preprocess({"x": text}, x=(("N",), "float32")) == {"x": text}


def test_a_text_for_an_input_of_strings_is_a_batch_of_one_and_a_list_a_batch():
    assert preprocess({"x": "5"}, x=(("N",), "string")) == {"x": ["5"]}
    assert preprocess({"x": '["a", "b"]'}, x=(("N",), "string")) == {"x": ["a", "b"]}


def test_json_lists_and_unknown_names_pass_through():
    data = {"x": [[1]], "y": "5", "z": {"a.txt": io.BytesIO(b"1")}}
    assert preprocess(data, x=(("N", 1), "float32")) == data
    assert preprocess([[1]], x=(("N", 1), "float32")) == [[1]]


def test_the_default_service_keeps_nothing_and_says_so():
    cls = default_service(Service, ())
    assert issubclass(cls, Service)
    assert cls.thread_safe
