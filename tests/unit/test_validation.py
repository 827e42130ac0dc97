"""--validate-requests: what it lets through, what it says, and that it is not there when off."""

import io
import json
import logging
import subprocess
import sys
import time

import pytest
from starlette.testclient import TestClient

from engineroom import create_app
from engineroom.apis import read_apis
from engineroom.decoding import decode_request
from engineroom.errors import RequestSchemaError
from engineroom.package import open_package
from engineroom.validation import checked, make_check

SCRIPT = """
from model_service.onnx_model_service import OnnxServingBaseService

class Echo(OnnxServingBaseService):
    def _inference(self, data):
        return sorted(data)
"""
PROPERTIES = {
    "photo": {"type": "file"},
    "top": {"type": "integer", "minimum": 1, "maximum": 10},
    "threshold": {"type": "float"},
    "verbose": {"type": "boolean"},
    "label": {"type": "string", "enum": ["cat", "5"]},
    "boxes": {"type": "list", "items": [{"type": "float"}]},
    "any": {"type": "json"},
}


def config(properties=PROPERTIES, **more):
    data = {"type": "object", "properties": properties, **more}
    return json.dumps({"apis": [{"request": {"data": data}}]})


@pytest.fixture
def check(package):
    """Checks a decoded request: the error that it gets, or None."""

    def check(data, text_keys=(), text=None):
        opened = open_package(package(**{"config.json": text or config()}))
        try:
            make_check(opened, opened.apis[0], "reject")(data, text_keys)
        except RequestSchemaError as error:
            return error
        return None

    return check


@pytest.fixture
def client(package):
    """A client of a package with this config.json."""

    def start(text, **settings):
        return TestClient(create_app(package(SCRIPT, **{"config.json": text}), **settings))

    return start


UPLOAD = {"7.png": io.BytesIO(b"7")}

# --- what fits


@pytest.mark.parametrize(
    "data",
    [
        {"photo": UPLOAD},
        {"top": 3, "threshold": 0.5, "verbose": True, "label": "cat", "boxes": [1, 2.5]},
        {"threshold": 3, "any": {"x": [None]}, "unknown": "is welcome"},
        {"boxes": []},
    ],
)
def test_a_request_that_fits_is_let_through(check, data):
    assert check(data) is None


@pytest.mark.parametrize(
    ("data", "field", "expected", "got"),
    [
        ({"photo": "7.png"}, "$.photo", "an uploaded file", 'text "7.png"'),
        ({"photo": {}}, "$.photo", "an uploaded file", "an object with nothing in it"),
        ({"top": UPLOAD}, "$.top", "a whole number", 'an uploaded file "7.png"'),
        ({"top": "3"}, "$.top", "a whole number", 'text "3"'),
        ({"top": 2.5}, "$.top", "a whole number", "2.5"),
        ({"top": True}, "$.top", "a whole number", "true"),
        ({"top": 11}, "$.top", "at most 10", "11"),
        ({"label": "dog"}, "$.label", 'one of ["cat", "5"]', 'text "dog"'),
        ({"boxes": [1, None]}, "$.boxes[1]", "a number", "null"),
        ({"boxes": {"a": 1}}, "$.boxes", "a list", 'an object with "a"'),
        ([1, 2], "$", "an object", "a list of 2"),
    ],
)
def test_a_request_that_does_not_fit_is_told_field_wanted_and_got(
    check, data, field, expected, got
):
    error = check(data)
    assert error.detail == {"field": field, "expected": expected, "got": got}
    assert f'"{field}" of the request should be {expected}, got {got}' in str(error)


def test_a_field_that_is_missing_is_named(check):
    error = check({"top": 3}, text=config(required=["photo"]))
    assert error.detail == {"field": "$.photo", "expected": "an uploaded file", "got": "nothing"}


def test_the_message_is_short_however_large_the_request(check):
    assert len(str(check({"top": "x" * 100_000}))) < 250


def test_half_a_surrogate_pair_can_be_told(check):
    json.dumps(check({"top": "\ud800"}).detail, ensure_ascii=False).encode()


# --- text of forms and queries


@pytest.mark.parametrize(
    "form",
    [
        {"top": "3"}, {"top": " 3 "}, {"threshold": "-1e-3"}, {"verbose": "true"},
        {"verbose": "False"}, {"boxes": "[1, 2]"}, {"label": "5"}, {"any": "x"}, {"unknown": "x"},
    ],
)  # fmt: skip
def test_text_of_a_form_that_holds_what_is_wanted_counts_as_it(check, form):
    assert check(form, form) is None


@pytest.mark.parametrize(
    "form",
    [
        {"top": "many"}, {"top": "11"}, {"top": "NaN"}, {"top": ""}, {"threshold": "inf"},
        {"photo": "5"}, {"label": "6"}, {"boxes": "1"}, {"boxes": "[" * 100_000},
    ],
)  # fmt: skip
def test_text_of_a_form_that_holds_something_else_does_not(check, form):
    assert check(form, form) is not None


def test_a_body_that_is_text_counts_as_the_json_in_it(check):
    assert check('{"top": 3}') is None
    assert check('{"top": "x"}').detail["field"] == "$.top"


@pytest.fixture
def decode(package):
    opened = open_package(package(**{"config.json": config()}))
    return checked(decode_request, make_check(opened, opened.apis[0], "reject"))


def test_a_form_and_a_query_carry_text_and_json_does_not(decode, form):
    body, content_type = form(("top", None, b"3"))
    assert decode(content_type, body, b"") == {"top": "3"}
    assert decode("application/x-www-form-urlencoded", b"top=3", b"") == {"top": "3"}
    assert decode("application/json", b'{"threshold": 1}', b"top=3")["top"] == "3"
    assert decode("application/x-www-form-urlencoded", b'{"top": 3}', b"") == {"top": 3}
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        with pytest.raises(RequestSchemaError):  # as curl -d sends JSON
            decode(content_type, b'{"top": "3"}', b"")


def test_a_batch_of_a_million_numbers_takes_no_more_than_its_decoding(check):
    data = {"boxes": [0.5] * 1_000_000}
    check(data)
    start = time.perf_counter()
    assert check(data) is None
    assert time.perf_counter() - start < 0.5


# --- the three modes


def test_reject_answers_400_with_the_field(client):
    with client(config(required=["photo"]), validate_requests="reject") as http:
        reply = http.post("/", json={"top": 3})
        assert http.post("/", files={"photo": ("7.png", b"7")}).json() == ["photo"]
    body = reply.json()
    assert (reply.status_code, body["erno"]) == (400, "MR.0101")
    assert body["error"]["code"] == "request_schema"
    assert body["error"]["field"] == "$.photo"


def test_warn_answers_and_logs_one_line_that_names_the_field(client, caplog):
    with client(config(), validate_requests="warn") as http:
        assert http.post("/", json={"top": "x", "threshold": "y"}).status_code == 200
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 1
    assert '" of the request should be a ' in lines[0]


def test_off_checks_nothing(client):
    with client(config(required=["photo"])) as http:
        assert http.post("/", json={"top": "x"}).status_code == 200


def test_off_puts_nothing_between_the_body_and_its_decoder(package):
    app = create_app(package(SCRIPT, **{"config.json": config()}))
    assert {predict.decode for predict in app.predicts.values()} == {decode_request}


def test_the_library_is_imported_only_when_it_is_on(services):
    code = (
        "import sys, engineroom\n"
        f"engineroom.create_app({str(services / 'plain')!r})\n"
        "print('jsonschema' in sys.modules, 'engineroom.validation' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False False\n", done.stderr


def test_each_url_has_the_schema_of_its_api(client):
    apis = [
        {"url": url, "request": {"data": {"type": "object", "required": [key]}}}
        for url, key in (("/a", "x"), ("/b", "y"))
    ]
    with client(json.dumps({"apis": apis}), validate_requests="reject") as http:
        status = {
            url: http.post(url, json={"y": 1}).status_code
            for url in ("/", "/a", "/b", "/v1/infers/sample", "/v1/infers/sample/b")
        }
    assert status == {
        "/": 400, "/a": 400, "/b": 200, "/v1/infers/sample": 400, "/v1/infers/sample/b": 200
    }  # fmt: skip


# --- nothing to check against


@pytest.mark.parametrize("text", ["{}", "{", '{"apis": []}', '{"apis": [{"url": "/"}]}'])
def test_a_package_that_declares_nothing_is_one_warning_and_is_served(client, caplog, text):
    with client(text, validate_requests="reject") as http:
        assert http.post("/", json={"a": 1}).status_code == 200
    assert caplog.text.count("declares no schema of a request: requests are not checked") == 1


@pytest.mark.parametrize(
    "schema", [{"title": 5}, {"properties": {"a": {"minLength": -1}}}, {"multipleOf": 0}]
)
def test_a_schema_that_is_broken_is_one_warning_and_no_check(client, caplog, schema):
    text = json.dumps({"apis": [{"request": {"data": {"type": "object", **schema}}}]})
    with client(text, validate_requests="reject") as http:
        assert http.post("/", json={"a": 1}).status_code == 200
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["requests are not checked" in line.getMessage() for line in lines] == [True]


def test_the_deepest_schema_that_is_read_can_be_checked(package):
    data, value = {"type": "string"}, "x"
    for _ in range(200):
        data, value = {"type": "object", "properties": {"a": data}}, {"a": value}
    opened = open_package(package(**{"config.json": "{}"}))
    (api,), _ = read_apis({"apis": [{"request": {"data": data}}]})
    make_check(opened, api, "reject")(value, ())
