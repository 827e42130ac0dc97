"""Whatever a client sends, it gets a 4xx that says why, and the next good request is answered."""

import io
import json
import socket
import struct
import time
import zlib

import psutil
import pytest

GOOD = {"x": [[1, 0, 0]]}


@pytest.fixture(scope="module")
def plain(start_server, services):
    server = start_server(services / "plain", "--timeout-s", "2", "--max-body-bytes", "100000")
    yield server
    assert server.post(GOOD)[:2] == (200, {"y": [[0.0, 1.0]]})


@pytest.fixture(scope="module")
def pictures(start_server, services):
    return start_server(services / "pictures")


def talk(server, data: bytes, pause_s: float = 0.0, more: bytes = b"") -> tuple[int, dict, bytes]:
    """Status, JSON body and head of what comes back for raw bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(data)
        if more:
            time.sleep(pause_s)
            sock.sendall(more)
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += sock.recv(65536) or pytest.fail(f"no answer, only {reply!r}")
        head, _, body = reply.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += sock.recv(65536)
    status = int(head.split()[1])
    is_json = b"application/json" in head
    return status, json.loads(body) if is_json else {"text": body.decode()}, head


def head(length, kind: str = "application/json", method: str = "POST", path: str = "/") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


# --- the body


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"x": [1,', "not JSON"),
        (b"\xff\xfe{}", "not utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 40_000 + b"]" * 40_000, "nested too deeply"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"hello", "not JSON"),
    ],
    ids=["truncated", "not-utf-8", "100000-open", "80000-deep", "huge-integer", "text"],
)
def test_broken_json_is_400(plain, body, why):
    status, answer, _ = plain.post(body)
    assert (status, answer["erno"], answer["error"]["code"]) == (400, "MR.0101", "invalid_body")
    assert why in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b'--e\r\nContent-Disposition: form-data; name="x"\r\n\r\nabc', "e", "ends before"),
        (b"no boundary at all", "e", "broken"),
        (b"", "e", "no input"),
        (b"--e--\r\n", "", "without a boundary"),
        (b"--e\r\nX: y\r\n\r\nabc\r\n--e--\r\n", "e", "Missing Content-Disposition"),
        (b'--e\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\r\n--e--\r\n', "e", "UTF-8"),
        (b"--e\r\n" + b"h: " + b"a" * 90_000 + b"\r\n\r\n", "e", "broken"),
    ],
    ids=["truncated", "no-boundary-line", "empty", "no-boundary", "no-name", "not-utf-8", "header"],
)
def test_broken_multipart_is_400(plain, body, kind, why):
    kind = f"multipart/form-data; boundary={kind}" if kind else "multipart/form-data"
    status, answer, _ = plain.post(body, kind)
    assert status == 400
    assert why in answer["error"]["message"]


def test_ten_thousand_form_fields_are_400(plain, form):
    many = b"&".join(b"k%d=v" % i for i in range(10_000))
    assert plain.post(many, "application/x-www-form-urlencoded")[0] == 400
    status, answer, _ = plain.post(*form(*((f"k{i}", None, b"") for i in range(1_200))))
    assert (status, answer["error"]["message"]) == (400, "the form has more than 1000 fields")
    assert plain.post(GOOD, path="/?" + "a=1&" * 2000)[0] == 400


def test_an_unsupported_media_type_is_415_and_lists_those_that_are(plain):
    status, answer, _ = plain.post(b"<x/>", "application/xml")
    assert status == 415
    assert "multipart/form-data" in answer["error"]["message"]


def test_an_unknown_path_is_404_and_a_wrong_method_405(plain):
    assert plain.post(GOOD, path="/nope")[0] == 404
    status, answer, headers = plain.get("/")
    assert (status, headers["allow"]) == (405, "POST")
    assert answer["error_code"] == "APIG.0101"
    assert plain.request("/health", method="DELETE")[0] == 405


def test_a_declared_body_over_the_limit_is_413_before_it_is_sent(plain):
    status, answer, top = talk(plain, head(10**12))
    assert (status, answer["erno"]) == (413, "APIG.0201")
    assert b"connection: close" in top
    assert "100000 bytes" in answer["error"]["message"]


def test_a_body_that_grows_over_the_limit_is_413_and_not_held(plain):
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    start = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert talk(plain, start + chunk * 20)[0] == 413


def test_a_client_that_sends_60_mb_reads_the_413(plain):
    status, answer, _ = plain.post(b"a" * 60_000_000)
    assert (status, answer["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "start",
    [
        head(100),
        head(100) + b"{",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["no-body", "stalls", "never-ends"],
)
def test_a_body_that_does_not_arrive_is_408(plain, start):
    began = time.monotonic()
    status, answer, _ = talk(plain, start)
    assert (status, answer["erno"]) == (408, "ModelArts.4205")
    assert time.monotonic() - began < 3


def test_a_body_that_trickles_for_ever_is_408(plain):
    with socket.create_connection(("127.0.0.1", plain.port), timeout=10) as sock:
        sock.sendall(head(100))
        sock.settimeout(0.1)
        reply = b""
        limit = time.monotonic() + 5
        while not reply and time.monotonic() < limit:
            sock.sendall(b" ")
            try:
                reply = sock.recv(65536)
            except TimeoutError:
                continue
    assert reply.startswith(b"HTTP/1.1 408")


def test_a_body_that_comes_slowly_but_in_time_is_answered(plain):
    body = json.dumps(GOOD).encode()
    status, answer, _ = talk(plain, head(len(body)) + body[:5], 0.5, body[5:])
    assert (status, answer) == (200, {"y": [[0.0, 1.0]]})


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2"])
def test_a_content_length_that_is_no_length_is_400(plain, length):
    assert talk(plain, head(length) + b"{}")[0] == 400


def test_a_content_length_that_is_too_short_is_400(plain):
    assert talk(plain, head(3) + b'{"x": [[1, 0, 0]]}')[0] == 400


def test_a_request_that_is_not_http_is_400(plain):
    status, answer, _ = talk(plain, b"hello\r\n\r\n")
    assert (status, answer["erno"]) == (400, "MR.0101")
    assert "the request is not valid HTTP: Invalid method" in answer["error"]["message"]


def test_a_charset_whose_decoder_is_slow_is_refused(plain):
    body = b"a" * 10 + b"-" + b"z9" * 40_000
    status, answer, _ = plain.post(body, "application/json; charset=punycode")
    assert (status, "unknown charset" in answer["error"]["message"]) == (400, True)


def test_an_input_name_that_utf_8_cannot_hold_is_400(plain):
    status, answer, _ = plain.post(b'{"\\ud800": 1}')
    assert (status, answer["error"]["code"]) == (400, "invalid_tensor")


def test_a_form_of_nothing_but_escapes_takes_no_gigabyte(start_server, services):
    server = start_server(services / "echo")
    server.post({"a": 1})
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    kind = "application/x-www-form-urlencoded"
    assert server.post(b"%41" * 3_900_000, kind)[0] == 400
    assert server.post(b"k=" + b"%41" * 900_000, kind)[1] == {"k": "A" * 900_000}
    assert process.memory_info().rss - before < 100_000_000


def test_an_offer_to_upgrade_to_http_2_is_ignored(plain):
    body = json.dumps(GOOD).encode()
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    request = head(len(body))[:-2] + offer + body
    assert talk(plain, request)[:2] == (200, {"y": [[0.0, 1.0]]})


# --- what the engine's steps are given


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([[1, 2], [1]], "ragged"),
        ([["a", "b", "c"]], "strings"),
        ([[1, 2]], "(1, 2)"),
        ([1, 2, 3], "(3,)"),
        ([[[1, 2, 3]]], "(1, 1, 3)"),
        ([], "(0,)"),
        ([[None, 1, 2]], "not numbers"),
        ([[float("nan"), 1, 2]], "nan at index [0, 0]"),
        ([[1e39, 1, 2]], "float32 can hold"),
        ({"a": 1}, "dict"),
        ("text", "strings"),
        ([[10**40, 1, 2]], "float32 can hold"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_400_with_expected_and_got(plain, value, why):
    status, answer, _ = plain.post({"x": value})
    error = answer["error"]
    assert (status, answer["erno"], error["code"]) == (400, "MR.0101", "invalid_tensor")
    assert why in error["message"]
    assert error["expected"] == "(N, 3) float32"
    assert (error["model"], error["input"], error["step"]) == ("plain", "x", "_inference")


def test_an_empty_batch_is_400(plain, form):
    npy = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }"
    status, answer, _ = plain.post(*form(("x", "row.npy", npy.ljust(127) + b"\n")))
    assert status == 400
    assert "empty batch" in answer["error"]["message"]


def test_an_unknown_input_name_is_400_with_the_declared_ones(plain):
    status, answer, _ = plain.post({"z": [[1, 2, 3]]})
    assert status == 400
    assert "unknown input 'z'; missing input 'x'" in answer["error"]["message"]
    assert '"x" (N, 3) float32' in answer["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00", b"\x89PNG\r\n\x1a\n"])
def test_an_upload_that_the_default_service_cannot_read_is_400(plain, form, content):
    status, answer, _ = plain.post(*form(("x", "f.png", content)))
    assert (status, answer["error"]["code"]) == (400, "invalid_upload")


# --- uploads that a script opens


def png(width: int, height: int, pixels: bytes | None = None) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    raw = pixels if pixels is not None else (b"\0" + bytes(width)) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def test_a_good_upload_is_read(pictures, form):
    answer = pictures.post(*form(("image", "a.png", png(3, 2)), ("json", "b", b"[1]")))
    assert answer[:2] == (200, {"a.png": [2, 3], "b": [1]})


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("image", b""),
        ("image", b"just text"),
        ("image", png(30, 20)[:45]),
        ("image", png(30, 20, b"\0short")),
        ("image", png(20_000, 20_000, b"\0")),
        ("image", png(11_000, 11_000, b"\0")),
        ("array", b""),
        ("array", b"just text"),
        ("array", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'"),
        ("json", b"{"),
        ("text", b"\xff"),
    ],
    ids=[
        "empty-picture", "text-as-picture", "truncated-picture", "picture-without-its-pixels",
        "bomb", "half-a-bomb", "empty-array", "text-as-array", "truncated-array", "json", "text",
    ],
)  # fmt: skip
def test_an_upload_that_its_reader_refuses_is_400(pictures, form, key, content):
    status, answer, _ = pictures.post(*form((key, "file", content)))
    assert (status, answer["erno"], answer["error"]["code"]) == (400, "MR.0101", "invalid_upload")
    assert answer["error"]["where"].startswith("customize_service.py:")


def test_base64_that_is_none_is_400(pictures):
    assert pictures.post({"base64": "!!"})[0] == 400


def test_memory_stays_small_while_many_send_too_much(plain):
    process = psutil.Process(plain.process.pid)
    before = process.memory_info().rss
    body = io.BytesIO(b"a" * 20_000_000)
    for _ in range(5):
        assert plain.post(body.getvalue())[0] == 413
    assert process.memory_info().rss - before < 20_000_000
