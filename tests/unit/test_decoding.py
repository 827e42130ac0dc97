"""A request's bytes to the data that a service gets: the rules of the contract, one by one."""

import io
import json
import time

import pytest

from engineroom.decoding import MAX_FIELDS, decode_request
from engineroom.errors import InvalidBodyError, InvalidInputError, UnsupportedMediaTypeError

JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=edge"


def decode(body, content_type=JSON, query=b""):
    return decode_request(content_type, body, query)


def decode_form(form, *parts, query=b""):
    """The data of a form, with the content of its files instead of the files."""
    body, content_type = form(*parts)
    return contents(decode_request(content_type, body, query))


def contents(data):
    return {
        key: {name: file.getvalue() for name, file in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in data.items()
    }


# --- JSON


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ("[[1, 2]]", [[1, 2]]),
        ("5", 5),
        ("0", 0),
        ("false", False),
        ('"text"', "text"),
        ('{"中": "文"}', {"中": "文"}),
    ],
)
def test_json_becomes_the_parsed_value(body, data):
    assert decode(body.encode()) == data


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.model+json",
        "applicaton/json",
        "multipart/json",
    ],
)
def test_json_under_another_name_is_json_all_the_same(content_type):
    assert decode(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize("body", [b'{"a": 1}', b' \n{"a": 1}', b"[1]"])
def test_json_that_curl_calls_urlencoded_is_json(body):
    assert decode(body, URLENCODED) in ({"a": 1}, [1])


@pytest.mark.parametrize(
    "content_type",
    [JSON, "application/json; charset=utf-8", "application/json; charset=UTF-8", "text/plain"],
)
def test_a_byte_order_mark_before_json_is_ignored(content_type):
    assert decode(b'\xef\xbb\xbf{"a": 1}', content_type) == {"a": 1}


def test_json_in_the_charset_that_the_client_names():
    assert decode('{"a": "中"}'.encode("gbk"), "application/json; charset=gbk") == {"a": "中"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"a": }', "line 1, column 7"),
        (b'{"a": 1\n "b": 2}', "line 2, column 2"),
        (b'{"a": 1', "line 1, column"),
        (b"{} x", "Extra data"),
        (b'{"a": "\xff"}', "byte 7 is not utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "4300 digits"),
        (b"   ", "line 1"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_broken_json_is_told_with_its_place(body, problem):
    with pytest.raises(InvalidBodyError, match=problem):
        decode(body)


@pytest.mark.parametrize("charset", ["klingon", "base64", "rot13", "undefined", '"a\0b"'])
def test_a_charset_that_nobody_can_decode_is_the_client_s_error(charset):
    with pytest.raises(InvalidBodyError, match="the body is not text"):
        decode(b"{}", f"application/json; charset={charset}")


def test_an_integer_may_be_long_but_not_without_end():
    assert decode(b"[" + b"9" * 4000 + b"]") == [10**4000 - 1]


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808", "-9223372036854775809", "18446744073709551616", "-0", "-0.0",
        "0.1234567890123456789", "1e400", "-1e400", "5e-324", "NaN", "[Infinity, -Infinity]",
        '"\\ud800"', '"\\u0000"', '{"a": 1, "a": 2}', "1234567890123456789012345678901234567890",
    ],
)  # fmt: skip
def test_json_has_the_values_that_python_s_own_parser_finds(text):
    assert repr(decode(f"[{text}]".encode())) == repr(json.loads(f"[{text}]"))


# --- nothing usable


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'""'])
@pytest.mark.parametrize("content_type", [JSON, "", "text/plain"])
def test_nothing_usable_is_mr_0101(body, content_type):
    with pytest.raises(InvalidInputError) as caught:
        decode(body, content_type)
    assert (caught.value.status, caught.value.erno) == (400, "MR.0101")


def test_no_body_is_no_input_whatever_the_content_type_says():
    for content_type in (MULTIPART, URLENCODED, "image/png"):
        with pytest.raises(InvalidInputError, match="carries no input"):
            decode(b"", content_type)


def test_a_form_without_parts_is_no_input(form):
    with pytest.raises(InvalidInputError, match="carries no input"):
        decode_form(form)


# --- query parameters


def test_query_parameters_are_merged_in_as_text_and_win():
    assert decode(b'{"a": 1, "b": 2}', query=b"b=3&c=%E4%B8%AD") == {"a": 1, "b": "3", "c": "中"}


def test_query_parameters_alone_are_a_request():
    assert decode(b"", query=b"a=1") == {"a": "1"}
    assert decode(b"null", query=b"a=1") == {"a": "1"}


def test_a_query_parameter_wins_over_a_file(form):
    assert decode_form(form, ("image", "7.png", b"x"), query=b"image=none") == {"image": "none"}


def test_query_parameters_have_no_place_in_a_list():
    assert decode(b"[1]", query=b"a=1") == [1]


def test_an_empty_query_parameter_is_an_empty_text():
    assert decode(b"", query=b"a=&b") == {"a": "", "b": ""}


def test_a_query_that_is_not_utf_8_is_refused():
    with pytest.raises(InvalidBodyError, match="query string is not percent-encoded UTF-8"):
        decode(b'{"a": 1}', query=b"a=%FF")


# --- urlencoded forms


def test_an_urlencoded_form_is_a_dict_of_texts():
    body = b"a=1&b=x+y&c=%E4%B8%AD&d="
    assert decode(body, URLENCODED) == {"a": "1", "b": "x y", "c": "中", "d": ""}


def test_an_urlencoded_field_given_twice_has_its_last_value():
    assert decode(b"a=1&a=2", URLENCODED) == {"a": "2"}


@pytest.mark.parametrize("body", [b"a=%FF", b"a=\xff"])
def test_an_urlencoded_form_that_is_not_percent_encoded_utf_8_is_refused(body):
    with pytest.raises(InvalidBodyError, match="form is not percent-encoded UTF-8"):
        decode(body, URLENCODED)


def test_an_urlencoded_form_may_begin_with_a_bracket():
    assert decode(b"[0]=1&[1]=2", URLENCODED) == {"[0]": "1", "[1]": "2"}


# --- multipart forms


def test_a_text_field_is_a_str_and_a_file_field_a_dict_of_its_file(form):
    data = decode_form(form, ("image", "7.png", b"\x89PNG"), ("threshold", None, "½".encode()))
    assert data == {"image": {"7.png": b"\x89PNG"}, "threshold": "½"}


def test_a_file_is_a_seekable_bytesio(form):
    body, content_type = form(("image", "7.png", b"12345"))
    file = decode(body, content_type)["image"]["7.png"]
    assert type(file) is io.BytesIO
    assert (file.tell(), file.seekable(), bytes(file.getbuffer())) == (0, True, b"12345")


def test_several_files_under_one_key_share_its_dict_in_their_order(form):
    parts = [("image", f"{name}.png", name.encode()) for name in "zax"]
    data = decode_form(form, *parts, ("other", "o.png", b"o"))
    assert list(data["image"].items()) == [("z.png", b"z"), ("a.png", b"a"), ("x.png", b"x")]
    assert data["other"] == {"o.png": b"o"}


def test_the_same_file_name_twice_keeps_the_last(form):
    assert decode_form(form, ("i", "7.png", b"first"), ("i", "7.png", b"last")) == {
        "i": {"7.png": b"last"}
    }


def test_a_file_beats_a_text_field_of_the_same_key(form):
    file, text = ("image", "7.png", b"x"), ("image", None, b"text")
    assert decode_form(form, file, text) == decode_form(form, text, file)
    assert decode_form(form, file, text) == {"image": {"7.png": b"x"}}


def test_a_text_field_given_twice_has_its_last_value(form):
    assert decode_form(form, ("a", None, b"1"), ("a", None, b"2")) == {"a": "2"}


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("7.png", "7.png"),
        ("a b;c.png", "a b;c.png"),
        ("手写.png", "手写.png"),
        ("/etc/passwd", "passwd"),
        ("../../7.png", "7.png"),
        ("C:\\Users\\me\\7.png", "7.png"),
        ("..\\..\\7.png", "7.png"),
        ("a/b\\c/7.png", "7.png"),
        ("..", "image"),
        (".", "image"),
        ("folder/", "image"),
        ("", "image"),
    ],
)
def test_the_client_s_file_name_survives_without_any_directory(form, sent, name):
    assert decode_form(form, ("image", sent, b"x")) == {"image": {name: b"x"}}


def test_a_file_name_in_the_extended_notation_is_a_file_name():
    # What the requests library sends for names beyond ASCII, up to urllib3 1.24.
    head = b"Content-Disposition: form-data; name=\"image\"; filename*=utf-8''%E4%B8%AD.png"
    body = b"--edge\r\n" + head + b"\r\n\r\n\x89PNG\r\n--edge--\r\n"
    assert decode(body, MULTIPART)["image"]["中.png"].getvalue() == b"\x89PNG"


def test_a_file_name_in_the_extended_notation_has_no_directory_either():
    head = b"Content-Disposition: form-data; name=\"image\"; filename*=utf-8''..%2F7.png"
    body = b"--edge\r\n" + head + b"\r\n\r\nx\r\n--edge--\r\n"
    assert list(decode(body, MULTIPART)["image"]) == ["7.png"]


def test_a_file_may_be_empty(form):
    assert decode_form(form, ("image", "7.png", b"")) == {"image": {"7.png": b""}}


def test_a_file_widget_that_nobody_used_is_left_out(form):
    assert decode_form(form, ("image", "", b""), ("a", None, b"1")) == {"a": "1"}


def test_a_file_may_hold_line_ends_and_what_looks_like_a_boundary(form):
    content = b"\r\n--edg\r\n--\r\n\0\r\n"
    assert decode_form(form, ("image", "7.png", content)) == {"image": {"7.png": content}}


def test_a_boundary_may_be_quoted(form):
    body, _ = form(("a", None, b"1"))
    assert decode(body, 'multipart/form-data; boundary="edge"') == {"a": "1"}


def test_text_after_the_closing_boundary_is_ignored(form):
    body, content_type = form(("a", None, b"1"))
    assert decode(body + b"\r\nepilogue", content_type) == {"a": "1"}


def test_a_text_field_that_is_not_utf_8_is_refused_by_name(form):
    with pytest.raises(InvalidBodyError, match="field 'a' is not UTF-8: byte 1"):
        decode_form(form, ("a", None, b"x\xff"))


@pytest.mark.parametrize("kept", [30, 70, -4, -9, -12])
def test_a_truncated_form_is_refused(form, kept):
    body, content_type = form(("a", None, b"1"), ("image", "7.png", b"x" * 100))
    with pytest.raises(InvalidBodyError, match="ends before its closing boundary '--edge--'"):
        decode(body[:kept], content_type)


def test_a_truncated_form_says_how_many_parts_came(form):
    body, content_type = form(("a", None, b"1"), ("b", None, b"2"))
    with pytest.raises(InvalidBodyError, match="1 whole parts came"):
        decode(body[:-12], content_type)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_multipart_without_a_boundary_is_refused(form, content_type):
    body, _ = form(("a", None, b"1"))
    with pytest.raises(InvalidBodyError, match="without a boundary"):
        decode(body, content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"--other\r\n\r\n",
        b"--edge\nname=a\n\n1\n--edge--\n",
        b"--edge\r\nno header\r\n\r\n1\r\n--edge--\r\n",
        b"--edge\r\nX: " + b"y" * 100_000 + b"\r\n\r\n1\r\n--edge--\r\n",
        b"--edge\r\n" + b"X: y\r\n" * 10_000 + b"\r\n1\r\n--edge--\r\n",
    ],
    ids=lambda body: ascii(body)[:20],
)
def test_a_broken_form_is_refused(body):
    with pytest.raises(InvalidBodyError, match="multipart body"):
        decode(body, MULTIPART)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b'Content-Disposition: form-data; name=""', "part 1 of the form has no name"),
        (b"Content-Disposition: form-data", "broken after 0 whole parts: .*Missing name"),
        (b"Content-Type: text/plain", "broken after 0 whole parts: Missing Content-Disposition"),
    ],
)
def test_a_part_without_a_name_is_refused_by_number(head, why):
    with pytest.raises(InvalidBodyError, match=why):
        decode(b"--edge\r\n" + head + b"\r\n\r\n1\r\n--edge--\r\n", MULTIPART)


def test_quotation_marks_in_a_name_are_read_as_browsers_write_them():
    head = b'Content-Disposition: form-data; name="a"; filename="%22seven%22.png"'
    body = b"--edge\r\n" + head + b"\r\n\r\nx\r\n--edge--\r\n"
    assert list(decode(body, MULTIPART)["a"]) == ['"seven".png']


def test_a_name_that_is_not_utf_8_is_latin_1():
    head = b'Content-Disposition: form-data; name="caf\xe9"'
    body = b"--edge\r\n" + head + b"\r\n\r\nx\r\n--edge--\r\n"
    assert decode(body, MULTIPART) == {"caf\xe9": "x"}


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("name=a[0]", {"a[0]": "x"}),
        ("name=size; filename=my file.png", {"size": {"my file.png": b"x"}}),
        ("name=größe", {"größe": "x"}),
        ('filename="a;b.png"; name="a"', {"a": {"a;b.png": b"x"}}),
        (r'name="a"; filename="say \"x\".png"', {"a": {'say "x".png': b"x"}}),
        ("name=\"a\"; filename*=utf-8''àé.png", {"a": {"àé.png": b"x"}}),
    ],
)
def test_names_are_taken_as_they_come_quoted_or_not(head, found):
    body = f"--edge\r\nContent-Disposition: form-data; {head}\r\n\r\nx\r\n--edge--\r\n".encode()
    assert contents(decode(body, MULTIPART)) == found


@pytest.mark.parametrize("boundary", ["----=_Part_1", "abc==", "a:b/c?d", "a,b(c)"])
def test_a_boundary_need_not_be_quoted(boundary):
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--{boundary}--'
    assert decode(part.encode(), f"multipart/form-data;\tboundary={boundary}") == {"a": "1"}


def test_a_header_of_many_lines_is_refused():
    head = b'Content-Disposition: form-data;\r\n name="a"'
    with pytest.raises(InvalidBodyError, match="broken after 0 whole parts"):
        decode(b"--edge\r\n" + head + b"\r\n\r\n1\r\n--edge--\r\n", MULTIPART)


@pytest.mark.parametrize("value", ['"' + ";" * 60_000, 'x;b="y' * 10_000, '"' + '\\";' * 20_000])
def test_a_header_of_many_options_costs_nothing(value):
    start = time.monotonic()
    with pytest.raises(UnsupportedMediaTypeError):
        decode(b"x", f"image/png; a={value}")
    assert time.monotonic() - start < 0.5


def test_a_boundary_beyond_all_measure_is_refused():
    with pytest.raises(InvalidBodyError, match="multipart body is broken"):
        decode(b"x", "multipart/form-data; boundary=" + "b" * 5000)


# --- limits


def test_a_form_of_10_000_fields_is_refused(form):
    with pytest.raises(InvalidBodyError, match="more than 1000 fields"):
        decode_form(form, *((f"k{i}", None, b"1") for i in range(10_000)))
    pairs = b"&".join(b"k%d=1" % i for i in range(10_000))
    with pytest.raises(InvalidBodyError, match="form has more than 1000 fields"):
        decode(pairs, URLENCODED)
    with pytest.raises(InvalidBodyError, match="query string has more than 1000 fields"):
        decode(b"{}", query=pairs)


def test_a_form_of_as_many_fields_as_allowed_is_taken(form):
    assert len(decode_form(form, *((f"k{i}", None, b"1") for i in range(MAX_FIELDS)))) == 1000
    assert len(decode(b"&".join(b"k%d=1" % i for i in range(MAX_FIELDS)), URLENCODED)) == 1000


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/xml", "application/octet-stream", "multipart/mixed"]
)
def test_a_content_type_that_nobody_decodes_is_415_and_names_those_that_are(content_type):
    with pytest.raises(UnsupportedMediaTypeError, match=f"'{content_type}'.*send one of") as caught:
        decode(b"x", content_type)
    assert caught.value.status == 415
    assert caught.value.detail["got"] == content_type
