"""Engines whose services take the body as text, the path alone, and have words of their own."""

import json
import subprocess
import sys
import textwrap

import pytest
from starlette.testclient import TestClient

from engineroom import create_app, load

ENGINE = """
import json
from engineroom import Engine, hookimpl

class TextEngine(Engine):
    name = "text"
    parent = "model_service.text_model_service.TextBaseService"
    model_files = ("*.text",)
    body = "text"
    path_alone = True
    words = {
        "MR.0101": ("PY.0101", "The input data is invalid"),
        "MR.0105": ("PY.0105", "Predict failed"),
    }

    def load(self, path, device, threads):
        raise NotImplementedError

    def envelope(self, data, result):
        return {"data": result}

@hookimpl
def register_engine(register):
    register(TextEngine())
"""


@pytest.fixture
def text_package(install_plugin, package):
    install_plugin("text", ENGINE)

    def write(body, constructor="model_path", **files):
        script = textwrap.dedent("""
            import json
            from model_service.text_model_service import TextBaseService

            class Upper(TextBaseService):
                def __init__(self, {constructor}):
                    self.model_path = model_path

                def _inference(self, data):
                    {body}
        """)
        return package(script.format(constructor=constructor, body=body), **files)

    return write


@pytest.fixture
def post(text_package):
    def post(body, content, **headers):
        with TestClient(create_app(text_package(body))) as client:
            return client.post("/", content=content, headers=headers)

    return post


@pytest.mark.parametrize(
    "kind", ["application/json", "text/csv", "application/x-www-form-urlencoded", ""]
)
def test_the_body_comes_as_text_whatever_its_content_type(post, kind):
    answer = post("return [type(data).__name__, data]", b'{"x": [1]}', **{"content-type": kind})
    assert answer.json() == {"data": ["str", '{"x": [1]}']}


def test_the_answer_is_in_the_engine_s_envelope_and_load_returns_what_the_service_does(
    text_package,
):
    path = text_package("return data.upper()")
    assert load(path)("abc") == "ABC"
    with TestClient(create_app(path)) as client:
        assert client.post("/", content="abc").json() == {"data": "ABC"}


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff"])
def test_no_text_is_the_client_s_error_in_the_engine_s_words(post, content):
    answer = post("return data", content)
    assert answer.status_code == 400
    assert answer.json()["erno"] == "PY.0101"
    assert answer.json()["msg"] == "The input data is invalid"
    assert answer.json()["error_info"] == answer.json()["error"]["message"]
    assert "words_result" not in answer.json()


def test_predict_and_check_print_the_engine_s_words(text_package):
    path = text_package("return data['x']")
    for command, label in (("predict", "error:"), ("check", "request ")):
        words = [sys.executable, "-m", "engineroom", command, path, "-d", "abc"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert f"{label} 400 PY.0105 Predict failed: _inference" in done.stdout + done.stderr


@pytest.mark.parametrize(("body", "status"), [("return data['x']", 400), ("return 1 / 0", 500)])
def test_a_failed_step_has_the_engine_s_words(post, body, status):
    answer = post(body, "abc")
    assert (answer.status_code, answer.json()["erno"]) == (status, "PY.0105")


@pytest.mark.parametrize(
    "constructor", ["model_path", "model_path, extra=None", "*args, model_path='?'"]
)
def test_a_service_is_made_with_the_path_alone(text_package, constructor):
    path = text_package("return self.model_path", constructor, **{"iris.text": "x"})
    assert load(path)("abc") == ("?" if "*" in constructor else str(path / "model" / "iris.text"))


def test_a_service_that_asks_for_a_name_too_gets_both(text_package):
    path = text_package("return self.model_path", "model_name, model_path", **{"iris.text": "x"})
    assert load(path)("abc").endswith("iris.text")


def test_examples_are_bodies(text_package):
    path = text_package("self.model_path, seen = data, self.model_path; return seen")
    (path / "examples").mkdir()
    (path / "examples" / "one.json").write_text(json.dumps({"x": 1}))
    assert load(path)("next") == '{"x": 1}'
