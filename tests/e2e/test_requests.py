"""What a client may post, and what the script gets: the contract's section on requests."""

import json
import urllib.parse

import pytest


@pytest.fixture(scope="module")
def echo(start_server, services):
    return start_server(services / "echo")


def test_json_arrives_as_parsed(echo):
    assert echo.post({"a": [1, {"b": "ü"}]})[:2] == (200, {"a": [1, {"b": "ü"}]})
    assert echo.post([1, 2])[1] == {"data": [1, 2]}


def test_answers_are_utf_8_as_it_is(echo):
    assert echo.post({"name": "图"})[1] == {"name": "图"}
    assert echo.post({"name": "图"})[2]["content-type"] == "application/json"


def test_files_of_one_key_share_a_dict_in_order(echo, form):
    body, kind = form(("images", "b.png", b"12"), ("images", "a.png", b"1"), ("k", None, b"0.5"))
    answer = echo.post(body, kind)[1]
    assert answer == {"images": {"b.png": ["BytesIO", 2], "a.png": ["BytesIO", 1]}, "k": "0.5"}
    assert list(answer["images"]) == ["b.png", "a.png"]


def test_client_file_names_survive_without_directories(echo, form):
    body, kind = form(("f", "../../etc/猫.png", b"1"), ("g", r"C:\tmp\cat.png", b"1"))
    assert echo.post(body, kind)[1] == {
        "f": {"猫.png": ["BytesIO", 1]},
        "g": {"cat.png": ["BytesIO", 1]},
    }


def test_urlencoded_fields_are_text(echo):
    kind = "application/x-www-form-urlencoded"
    body = urllib.parse.urlencode({"a": "1", "b": "ü&="}).encode()
    assert echo.post(body, kind)[1] == {"a": "1", "b": "ü&="}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_json_is_json_whatever_curl_calls_it(echo, kind):
    assert echo.post(b'{"a": 1}', kind)[1] == {"a": 1}


def test_query_parameters_are_merged_in_and_win(echo, form):
    assert echo.post({"a": 1, "b": 2}, path="/?a=x&c=%C3%BC")[1] == {"a": "x", "b": 2, "c": "ü"}
    body, kind = form(("a", "f.png", b"1"))
    assert echo.post(body, kind, path="/?t=0.5")[1] == {"a": {"f.png": ["BytesIO", 1]}, "t": "0.5"}
    assert echo.request("/?a=1", data=b"")[1] == {"a": "1"}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'""'])
def test_nothing_usable_is_mr_0101(echo, body):
    status, answer, _ = echo.post(body)
    assert (status, answer["erno"]) == (400, "MR.0101")
    assert answer["msg"] == "The input parameter is invalid"
    assert answer["words_result"] == {}


def test_a_script_written_for_the_contract_runs_unmodified(start_server, services, form):
    server = start_server(services / "contract")
    body, kind = form(("rows", "a.csv", b"1,0,0"), ("rows", "b.csv", b"0,0,1"))
    assert server.post(body, kind)[1] == {
        "labels": ["dog", "dog"],
        "log": "the package's own log module",
        "metrics": True,
    }
    assert "settings shift: 0" in server.log()


def test_a_model_without_a_script_answers_by_name(start_server, services, form):
    server = start_server(services / "plain")
    assert server.post({"x": [[1, 0, 0], [0, 0, 1]]})[1] == {"y": [[0.0, 1.0], [4.0, 5.0]]}
    npy = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }"
    npy = npy.ljust(127) + b"\n" + b"\0\0\x80?" + b"\0" * 8
    body, kind = form(("x", "row.npy", npy))
    assert server.post(body, kind)[1] == {"y": [[0.0, 1.0]]}
    assert server.post(b"x=[[1,0,0]]", "application/x-www-form-urlencoded")[1] == {
        "y": [[0.0, 1.0]]
    }


def test_a_request_id_is_in_the_answer_and_in_the_log(echo):
    _, _, headers = echo.post({"a": 1}, **{"X-Request-Id": "mine-1"})
    assert headers["x-request-id"] == "mine-1"
    assert echo.wait_for_line("id=mine-1")
    own = echo.post({"a": 1})[2]["x-request-id"]
    assert echo.wait_for_line(f"id={own}")
    assert echo.post({"a": 1}, **{"X-Request-Id": "a b"})[2]["x-request-id"] != "a b"


def test_logs_can_be_json_lines(start_server, services):
    server = start_server(services / "echo", "--log-format", "json")
    server.post({"a": 1}, **{"X-Request-Id": "json-1"})
    server.wait_for_line("json-1")
    lines = [json.loads(line) for line in server.log().splitlines()]
    line = next(line for line in lines if line.get("request_id") == "json-1")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/", 200)


def test_no_access_log_means_no_line_per_request(start_server, services):
    server = start_server(services / "echo", "--no-access-log")
    server.post({"a": 1}, **{"X-Request-Id": "quiet-1"})
    server.post({}, **{"X-Request-Id": "quiet-2"})
    assert "quiet" not in server.log()


def test_the_url_of_config_json_predicts_too(start_server, tmp_path, services):
    script = (services / "echo" / "model" / "customize_service.py").read_text()
    (tmp_path / "customize_service.py").write_text(script)
    (tmp_path / "config.json").write_text('{"apis": [{"url": "/v1/guess"}]}')
    server = start_server(tmp_path)
    assert server.post({"a": 1}, path="/v1/guess")[:2] == (200, {"a": 1})


def test_what_a_script_reports_to_the_metrics_manager_is_in_the_log_and_in_the_figures(
    start_server, services
):
    server = start_server(services / "reports")
    status, answer, _ = server.post({"x": [1, 2]})
    assert (status, answer["sum"]) == (200, 3)
    server.wait_for_line(r"preprocess 12\.5, inference 25\.0, overall 37\.5")
    (model,) = server.get("/v1/models")[1]["models"]
    assert (model["engine"], model["device"]) == ("none", None)
    assert model["latency_ms"] == {
        "preprocess": {"count": 1, "mean": 12.5, "last": 12.5},
        "inference": {"count": 2, "mean": 12.5, "last": 5.0},
        "overall": {"count": 1, "mean": 37.5, "last": 37.5},
    }
