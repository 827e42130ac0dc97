"""Several models without scripts on one port."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from engineroom import create_app
from engineroom.errors import PackageError, SettingError

pytestmark = pytest.mark.slow

ROW = {"x": [[1, 0, 0]]}


@pytest.fixture(scope="module")
def server(start_server, services):
    plain = services / "plain"
    return start_server(f"first={plain}", f"second={plain / 'model' / 'model.onnx'}", plain)


def test_each_model_answers_under_its_name_and_the_first_at_the_root(server):
    paths = ["/", *(f"/v1/infers/{name}" for name in ("first", "second", "plain", "plain/"))]
    answers = [server.post(ROW, path=path) for path in paths]
    assert [status for status, *_ in answers] == [200] * 5
    assert len({str(body) for _, body, _ in answers}) == 1


def test_requests_for_all_of_them_at_once_are_all_answered(server):
    paths = [f"/v1/infers/{name}" for name in ("first", "second", "plain")] * 20
    with ThreadPoolExecutor(6) as pool:
        assert {status for status, *_ in pool.map(lambda p: server.post(ROW, path=p), paths)} == {
            200
        }


def test_readiness_counts_all_of_them(server):
    status, body, _ = server.get("/health/ready")
    assert (status, body["status"], body["ready"], body["of"]) == (200, "OK", 3, 3)
    assert [model["model"] for model in body["models"]] == ["first", "second", "plain"]


def test_the_list_of_models_says_what_each_takes_and_gives(server):
    first = server.get("/v1/models")[1]["models"][0]
    assert set(first.pop("latency_ms")["overall"]) == {"count", "mean", "last"}
    assert first == {
        "name": "first",
        "url": "/v1/infers/first",
        "engine": "onnx",
        "device": "cpu",
        "state": "ready",
        "inputs": [{"name": "x", "shape": ["N", 3], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": ["N", 2], "dtype": "float32"}],
    }


def test_a_name_that_is_not_served_is_a_404_with_those_that_are(server):
    status, body, _ = server.post(ROW, path="/v1/infers/third")
    assert status == 404
    assert "/v1/infers/first, /v1/infers/second" in body["error"]["message"]


def test_the_log_names_all_of_them_and_each_when_it_is_ready(server):
    log = server.log()
    assert re.search(r"serving first, second, plain on http://", log)
    assert all(f"{name} is ready" in log for name in ("first", "second", "plain"))


def test_a_single_package_is_found_under_its_name_too(start_server, services):
    server = start_server(services / "echo")
    assert server.post({"a": 1}, path="/v1/infers/echo")[0] == 200
    (model,) = server.get("/v1/models")[1]["models"]
    assert (model["name"], model["device"], model["inputs"]) == ("echo", None, [])


# --- what cannot be served together


def serve(*arguments):
    command = [sys.executable, "-m", "engineroom", "serve", *map(str, arguments), "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_two_packages_of_one_name_are_refused_with_the_way_out(services):
    result = serve(services / "plain", services / "plain")
    assert result.returncode == 2
    assert "two packages are called 'plain'; write NAME=PATH" in result.stderr


def test_one_model_that_cannot_be_loaded_ends_the_start(services, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    result = serve(services / "plain", tmp_path / "bad.onnx")
    assert result.returncode == 3
    assert "bad.onnx: not a model" in result.stderr


@pytest.mark.parametrize("name", ["a b=", "/="])
def test_a_name_that_no_url_could_hold_is_refused(services, name):
    result = serve(f"{name}{services / 'plain'}")
    assert result.returncode == 2
    assert "a name has letters, digits" in result.stderr


# --- embedded


def test_an_app_may_serve_several_too(services):
    app = create_app({"a": services / "plain", "b": services / "plain"})
    with TestClient(app) as client:
        assert client.post("/v1/infers/b", json=ROW).status_code == 200
        assert client.get("/health/ready").json()["ready"] == 2


def test_an_app_refuses_what_the_command_line_refuses(services):
    with pytest.raises(PackageError, match="a script owns its process"):
        create_app({"a": services / "plain", "b": services / "echo"})
    with pytest.raises(SettingError, match="is for one package"):
        create_app({"a": services / "plain", "b": services / "plain"}, name="c")
