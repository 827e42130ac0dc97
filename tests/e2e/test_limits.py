"""Deadlines, the queue, and clients that leave, against a real server process."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def slow(start_server, services):
    return start_server(services / "slow", "--timeout-s", "1", "--max-queue-size", "3")


def leave(server, seconds: float, after_s: float) -> None:
    """Post a job and close the connection without reading the answer."""
    body = json.dumps({"seconds": seconds}).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(after_s)


def test_a_late_answer_is_504_and_the_next_request_is_answered(slow):
    began = time.monotonic()
    status, answer, _ = slow.post({"seconds": 1.3})
    assert (status, answer["erno"], answer["error"]["code"]) == (
        504,
        "ModelArts.4503",
        "deadline_exceeded",
    )
    assert 0.9 < time.monotonic() - began < 1.25
    assert slow.post({"seconds": 0})[:2] == (200, {"runs": 2})


def test_a_request_whose_time_is_up_in_the_queue_is_never_run(slow):
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(slow.post, {"seconds": 1.3})
        time.sleep(0.1)
        queued = [pool.submit(slow.post, {"seconds": 0}) for _ in range(2)]
        answers = [future.result() for future in [first, *queued]]
    assert [answer[0] for answer in answers] == [504] * 3
    assert "in the queue" in answers[1][1]["error"]["message"]
    time.sleep(0.4)
    assert slow.post({"seconds": 0})[1] == {"runs": 2}


def test_a_full_queue_is_503_with_retry_after(slow):
    with ThreadPoolExecutor(8) as pool:
        answers = [future.result() for future in
                   [pool.submit(slow.post, {"seconds": 0.2}) for _ in range(8)]]  # fmt: skip
    refused = [answer for answer in answers if answer[0] == 503]
    assert len(refused) >= 3
    status, answer, headers = refused[0]
    assert answer["error"]["code"] == "queue_full"
    assert int(headers["retry-after"]) >= 1
    assert sorted({answer[0] for answer in answers}) == [200, 503]


def test_clients_that_leave_are_dropped_from_the_queue(slow):
    with ThreadPoolExecutor(4) as pool:
        pool.submit(slow.post, {"seconds": 0.6})
        time.sleep(0.1)
        for _ in range(3):
            pool.submit(leave, slow, 0.3, 0.2)
        time.sleep(0.4)  # they have left; the first job still runs
        status, answer, _ = slow.post({"seconds": 0})
    assert (status, answer) == (200, {"runs": 2})
    assert "499" in slow.log()


def test_five_who_leave_do_not_keep_the_sixth_waiting(start_server, services):
    server = start_server(services / "slow")
    with ThreadPoolExecutor(5) as pool:
        for _ in range(5):
            pool.submit(leave, server, 2.0, 0.2)
    began = time.monotonic()
    answer = server.post({"seconds": 0})[1]
    assert answer == {"runs": 2}
    # Of the five jobs only the first ran: what is left of its 2 s, and 300 ms.
    assert time.monotonic() - began < 2.0 + 0.3


def test_one_request_at_a_time_reaches_a_script(start_server, services):
    server = start_server(services / "slow", "--threads", "4")
    assert "one thread instead of 4" in server.log()
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: server.post({"seconds": 0.1}), range(4)))
    assert time.monotonic() - began >= 0.4


def test_a_thread_safe_script_gets_as_many_requests_at_once_as_it_has_threads(
    start_server, services, tmp_path
):
    script = (services / "slow" / "model" / "customize_service.py").read_text()
    script = script.replace("    runs = 0", "    runs = 0\n    thread_safe = True")
    (tmp_path / "customize_service.py").write_text(script)
    server = start_server(tmp_path, "--threads", "4")
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: server.post({"seconds": 0.4}), range(4)))
    assert time.monotonic() - began < 1.2
