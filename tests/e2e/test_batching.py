"""Requests that share an inference, against a real server process."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest


def ask_at_once(server, requests):
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(server.post, requests))


def batch_of(headers) -> int:
    found = re.search(r'batch;desc="(\d+)"', headers["server-timing"])
    return int(found[1]) if found else 1


@pytest.fixture(scope="module")
def joined(start_server, services):
    return start_server(services / "joined")


def test_what_waits_while_a_batch_runs_is_the_next_batch(joined):
    answers = ask_at_once(joined, [{"x": i} for i in range(12)])
    assert [answer for _, answer, _ in answers] == [{"y": 2.0 * i, "rows": 1} for i in range(12)]
    sizes = [batch_of(headers) for _, _, headers in answers]
    assert max(sizes) > 2
    assert max(sizes) <= 8


def test_one_bad_request_in_a_batch_leaves_the_others_their_answers(joined):
    answers = ask_at_once(joined, [{"x": i} for i in range(16)])
    assert [status for status, _, _ in answers] == [500 if i == 13 else 200 for i in range(16)]
    assert [a["y"] for s, a, _ in answers if s == 200] == [2.0 * i for i in range(16) if i != 13]
    error = answers[13][1]["error"]
    assert error["step"] == "_inference"
    assert error["where"] == "customize_service.py:18"


def test_a_bad_request_fails_before_it_joins_a_batch(joined):
    answers = ask_at_once(joined, [{"x": 1}, {"no": 1}, {"x": 3}])
    assert [status for status, _, _ in answers] == [200, 400, 200]
    assert answers[1][1]["error"]["where"] == "customize_service.py:13"


def test_a_lone_request_waits_for_nobody(joined):
    _, _, headers = joined.post({"x": 1})
    steps = dict(re.findall(r"(\w+);dur=([\d.]+)", headers["server-timing"]))
    assert list(steps) == ["queue", "preprocess", "inference", "postprocess"]
    assert float(steps["queue"]) < 20
    assert 50 <= float(steps["inference"]) < 80


def test_the_log_tells_the_size_of_the_batch(joined):
    ask_at_once(joined, [{"x": i} for i in range(6)])
    assert re.search(r"inference \d+\.\d, postprocess \d+\.\d, batch of [2-8]\) id=", joined.log())


def test_a_window_fills_a_batch(start_server, services):
    server = start_server(services / "joined", "--batch-wait-ms", "300", "--max-batch-size", "4")
    answers = ask_at_once(server, [{"x": i} for i in range(4)])
    assert [batch_of(headers) for _, _, headers in answers] == [4] * 4


def test_a_package_without_a_script_shares_inferences_by_itself(start_server, services):
    server = start_server(services / "plain", "--batch-wait-ms", "200")
    alone = [server.post({"x": [[i, 1, 2]]})[1] for i in range(8)]
    answers = ask_at_once(server, [{"x": [[i, 1, 2]]} for i in range(8)])
    assert [answer for _, answer, _ in answers] == alone
    assert max(batch_of(headers) for _, _, headers in answers) > 1
    single = start_server(services / "plain", "--max-batch-size", "1")
    assert batch_of(single.post({"x": [[1, 1, 2]]})[2]) == 1


def test_a_script_that_keeps_state_is_refused_with_the_line(start_server, package, services):
    folder = package(
        """
        from model_service.onnx_model_service import OnnxServingBaseService

        class Sized(OnnxServingBaseService):
            def _preprocess(self, data):
                self.size = data.pop("size")
                return data

            def _postprocess(self, data):
                return {"size": self.size}
        """,
        **{"model.onnx": (services / "plain" / "model" / "model.onnx").read_bytes()},
    )
    server = start_server(folder, "--max-batch-size", "8")
    told = server.wait_for_line(r"one request at a time instead of up to 8 together: (.*)")[1]
    assert told == (
        "customize_service.py:6: _preprocess keeps self.size; if requests may meet there, set "
        "thread_safe = True"
    )
    answers = ask_at_once(server, [{"x": [[1, 2, 3]], "size": i} for i in range(8)])
    assert [answer["size"] for _, answer, _ in answers] == list(range(8))


def test_a_script_with_an_inference_of_its_own_is_refused_unless_it_says_so(start_server, services):
    server = start_server(services / "slow", "--max-batch-size", "8")
    told = server.wait_for_line(r"one request at a time instead of up to 8 together: (.*)")[1]
    assert re.match(r"customize_service.py:\d+: the script has _inference of its own; if ", told)
    assert "set max_batch_size on" in told


def test_a_client_s_own_limit_shortens_the_server_s(joined):
    status, answer, _ = joined.post({"x": 1}, **{"X-Request-Timeout": "0.02"})
    assert (status, answer["error"]["code"]) == (504, "deadline_exceeded")
    assert "no answer within 0.02 s" in answer["error"]["message"]
    assert joined.post({"x": 1}, **{"X-Request-Timeout": "5"})[0] == 200


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_limit_that_is_no_time_is_the_client_s_error(joined, text):
    status, answer, _ = joined.post({"x": 1}, **{"X-Request-Timeout": text})
    assert status == 400
    assert (
        f"X-Request-Timeout: expected seconds above 0, such as 2.5, got '{text}'"
        in (answer["error"]["message"])
    )
