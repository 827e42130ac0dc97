"""Requests as they may stand on a connection: in pieces, one behind the other, in old versions."""

import contextlib
import json
import socket
import time

import pytest


@pytest.fixture(scope="module")
def echo(start_server, services):
    return start_server(services / "echo")


@contextlib.contextmanager
def connected(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        yield connection, connection.makefile("rb")


def request(body: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"POST / HTTP/" + version, b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def answer_from(reader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    status = int(reader.readline().split()[1])
    headers = {}
    while (line := reader.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, reader.read(int(headers.get("content-length", 0)))


def test_requests_sent_without_waiting_are_answered_in_their_order(echo):
    bodies = [b'{"a":%d}' % i for i in range(20)]
    with connected(echo) as (connection, reader):
        connection.sendall(b"".join(map(request, bodies)))
        assert [answer_from(reader)[2] for _ in bodies] == bodies


def test_a_bad_request_among_them_costs_the_others_nothing(echo):
    bodies = [b'{"a":1}', b"{", b'{"a":3}']
    with connected(echo) as (connection, reader):
        connection.sendall(b"".join(map(request, bodies)))
        assert [answer_from(reader)[0] for _ in bodies] == [200, 400, 200]


def test_one_of_them_that_does_not_end_is_told_when_its_time_is_up(start_server, services):
    server = start_server(services / "echo", "--timeout-s", "1")
    with connected(server) as (connection, reader):
        connection.sendall(request(b'{"a":1}') + request(b'{"a":2}')[:-1])
        assert answer_from(reader)[0] == 200
        assert answer_from(reader)[0] == 408


@pytest.mark.parametrize("size", [1, 7, 60])
def test_a_request_may_come_in_pieces(echo, size):
    whole = request(b'{"a":"' + b"x" * 50 + b'"}')
    with connected(echo) as (connection, reader):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), size):
            connection.sendall(whole[start : start + size])
            time.sleep(0.001)
        assert answer_from(reader)[::2] == (200, b'{"a":"' + b"x" * 50 + b'"}')


def test_a_client_that_asks_first_is_told_to_go_on(echo):
    body = b'{"a":1}'
    head = request(body, b"Expect: 100-continue").removesuffix(body)
    with connected(echo) as (connection, reader):
        connection.sendall(head)
        assert answer_from(reader)[0] == 100
        connection.sendall(body)
        assert answer_from(reader)[::2] == (200, body)


@pytest.mark.parametrize(
    "asked", [request(b"[1]", version=b"1.0"), request(b"[1]", b"Connection: close")]
)
def test_a_connection_ends_with_the_answer_where_the_client_wants_that(echo, asked):
    with connected(echo) as (connection, reader):
        connection.sendall(asked)
        status, headers, body = answer_from(reader)
        assert (status, headers["connection"], json.loads(body)) == (200, "close", {"data": [1]})
        assert reader.read() == b""


def test_a_client_that_closes_at_once_costs_the_next_nothing(echo):
    for _ in range(50):
        with connected(echo) as (connection, _):
            connection.sendall(request(b'{"a":1}'))
    assert echo.post({"a": 2})[:2] == (200, {"a": 2})
    assert "Traceback" not in echo.log()


def test_a_body_may_come_in_chunks_of_http(echo):
    head = request(b"", b"Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    with connected(echo) as (connection, reader):
        for _ in range(2):
            connection.sendall(head + b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n')
            assert answer_from(reader)[::2] == (200, b'{"a":1}')


def test_what_follows_a_chunked_body_does_not_count_as_a_header(echo):
    head = request(b"", b"Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    with connected(echo) as (connection, reader):
        connection.sendall(head + b"3\r\n[1]\r\n0\r\nContent-Type: image/png\r\n\r\n")
        assert answer_from(reader)[0] == 200


def test_many_bad_requests_at_once_do_not_hold_up_other_clients(echo):
    with connected(echo) as (connection, _):
        connection.sendall(request(b"") * 5000)
        time.sleep(0.05)
        start = time.monotonic()
        assert echo.post({"a": 1})[0] == 200
        assert time.monotonic() - start < 0.5


def test_requests_that_wait_behind_another_are_answered_before_the_server_stops(
    start_server, services
):
    server = start_server(services / "slow", ready=True)
    with connected(server) as (connection, reader):
        connection.sendall(request(b'{"seconds":0.5}') + request(b'{"seconds":0}'))
        time.sleep(0.2)
        server.process.terminate()
        first, second = answer_from(reader), answer_from(reader)
    assert (first[0], second[0], second[1]["connection"]) == (200, 200, "close")


def test_a_body_that_is_broken_half_way_is_told_so_and_ends_the_connection(echo):
    head = request(b"", b"Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    with connected(echo) as (connection, reader):
        connection.sendall(head + b'3\r\n{"a\r\nno length\r\n')
        status, _, body = answer_from(reader)
        assert (status, "not valid HTTP" in json.loads(body)["error"]["message"]) == (400, True)
        assert reader.read() == b""
    assert "Traceback" not in echo.log()


def test_what_fails_and_what_fits_take_turns_on_one_connection(echo):
    with connected(echo) as (connection, reader):
        for body, status in ((b"{", 400), (b"[1]", 200), (b"", 400), (b"[2]", 200)):
            connection.sendall(request(body))
            assert answer_from(reader)[0] == status
