"""Several packages with scripts on one port: each in a process of its own, behind a front."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

ASK = {"a": 1}

SCRIPT = """
import ctypes, os, sys, time
import utils
from model_service.onnx_model_service import OnnxServingBaseService

print("printed by", utils.NAME)
if os.path.exists("model/broken"):
    raise ValueError("the labels are not there")


class S(OnnxServingBaseService):
    runs = 0

    def _inference(self, data):
        if not isinstance(data, dict):
            return {"data": data}
        if data.get("crash"):
            ctypes.string_at(0)
        self.runs += 1
        time.sleep(data.get("s", 0))
        files = sorted(os.listdir("model"))
        return {
            "name": utils.NAME, "files": files, "runs": self.runs, "pid": os.getpid(),
            "prefix": sys.prefix, "got": {k: list(v) if isinstance(v, dict) else v for k, v in data.items()},
        }
"""


def write(folder, name, script=SCRIPT):
    model = folder / name / "model"
    model.mkdir(parents=True)
    (model / "customize_service.py").write_text(script)
    (model / "utils.py").write_text(f"NAME = {name!r}\n")
    (model / f"{name}.txt").write_text(name)
    return model.parent


@pytest.fixture
def write_package(tmp_path):
    """``write_package("cats")`` gives the folder of a package whose ``utils`` is its own."""
    return lambda name, script=SCRIPT: write(tmp_path, name, script)


@pytest.fixture(scope="module")
def server(start_server, services, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    cats, dogs = write(folder, "cats"), write(folder, "dogs")
    return start_server(cats, f"hounds={dogs}", services / "plain", "--max-body-bytes", "3000000")


def children_of(server):
    return psutil.Process(server.process.pid).children()


def child_of(server, name):
    return next(c for c in children_of(server) if c.cmdline()[-1] == name)


def wait_until(condition, timeout_s=20):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


# --- each package is alone in its process


def test_scripts_with_modules_of_one_name_answer_side_by_side(server):
    cats, hounds, first = (
        server.post(ASK, path=path)[1] for path in ("/v1/infers/cats", "/v1/infers/hounds", "/")
    )
    assert (cats["name"], hounds["name"], first["name"]) == ("cats", "dogs", "cats")
    assert "dogs.txt" in hounds["files"]
    assert "cats.txt" in cats["files"]
    assert cats["pid"] != hounds["pid"]
    assert server.post({"x": [[1, 0, 0]]}, path="/v1/infers/plain")[0] == 200


def test_the_front_loads_neither_a_script_nor_an_engine(server):
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    assert "onnxruntime" not in maps.read_text()
    assert server.process.pid not in {server.post(ASK, path="/v1/infers/cats")[1]["pid"]}


def test_lines_of_the_log_name_the_model(server):
    server.post(ASK, path="/v1/infers/hounds")
    server.wait_for_line(r"INFO +\[hounds\] POST /v1/infers/hounds 200")
    assert re.search(r"serving cats, hounds, plain on http://", server.log())
    assert "printed by cats" in server.log()


def test_lines_in_json_name_it_too(start_server, write_package):
    server = start_server(write_package("a"), write_package("b"), "--log-format", "json")
    server.post(ASK, path="/v1/infers/b")
    server.wait_for_line(r'"message": "POST /v1/infers/b 200[^\n]*"model": "b"')


def test_readiness_and_the_list_of_models_are_joined(server):
    status, body, _ = server.get("/health/ready")
    assert (status, body["status"], body["ready"], body["of"]) == (200, "OK", 3, 3)
    assert [(m["model"], m["state"]) for m in body["models"]] == [
        ("cats", "ready"), ("hounds", "ready"), ("plain", "ready")
    ]  # fmt: skip
    models = server.get("/v1/models")[1]["models"]
    assert [model["url"] for model in models] == [
        "/v1/infers/cats", "/v1/infers/hounds", "/v1/infers/plain"
    ]  # fmt: skip
    assert models[2]["inputs"] == [{"name": "x", "shape": ["N", 3], "dtype": "float32"}]
    live = {"status": "OK", "models": {"cats": True, "hounds": True, "plain": True}}
    assert server.get("/health/live")[:2] == (200, live)


# --- what is passed on


def test_forms_and_ids_and_errors_get_through(server, form):
    body, kind = form(("image", "a.png", b"123"), ("note", None, b"hello"))
    status, answer, headers = server.post(
        body, kind, "/v1/infers/hounds", **{"X-Request-Id": "my-id"}
    )
    assert (status, headers["x-request-id"]) == (200, "my-id")
    assert answer["got"] == {"image": ["a.png"], "note": "hello"}
    assert re.search(r"inference;dur=", headers["server-timing"])
    assert len(headers.get_all("date")) == 1
    status, answer, _ = server.post(b"{", path="/v1/infers/hounds")
    assert (status, answer["error"]["code"]) == (400, "invalid_body")
    assert server.post(b"<x/>", "image/unknown", "/v1/infers/hounds")[0] == 415
    answer = server.post(ASK, "application/json", "/v1/infers/hounds?size=3")[1]
    assert answer["got"] == {"a": 1, "size": "3"}


@pytest.mark.parametrize("size", [0, 100, 70_000, 2_900_000])
def test_bodies_of_all_sizes_come_and_go_whole(server, size):
    text = "x" * size
    assert server.post([text], path="/v1/infers/cats")[1] == {"data": [text]}


def test_a_body_above_the_limit_is_refused_by_the_front(server):
    assert server.post([" " * 3_100_000])[0] == 413
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    chunks = (b" " * 500_000 for _ in range(7))
    connection.request(
        "POST", "/", chunks, {"Content-Type": "application/json"}, encode_chunked=True
    )
    reply = connection.getresponse()
    assert (reply.status, reply.read()[:4] != b"") == (413, True)
    connection.close()


def test_paths_and_methods_that_are_not_there_are_answered_as_by_one_server(server):
    status, body, _ = server.post(ASK, path="/v1/infers/birds")
    assert status == 404
    assert "/v1/infers/cats, /v1/infers/hounds, /v1/infers/plain" in body["error"]["message"]
    status, body, headers = server.get("/v1/infers/hounds")
    assert (status, headers["allow"]) == (405, "POST")


def test_urls_of_a_config_are_those_of_the_process_that_has_loaded_it(start_server, write_package):
    a, b = write_package("a"), write_package("b")
    for folder, url in ((a, "/first"), (b, "/second")):
        config = {"apis": [{"url": url, "method": "post"}]}
        (folder / "model" / "config.json").write_text(json.dumps(config))
    server = start_server(a, b)
    paths = ["/first", "/v1/infers/a/first", "/v1/infers/b/second"]
    assert [server.post(ASK, path=path)[1]["name"] for path in paths] == ["a", "a", "b"]
    for path in ("/second", "/v1/infers/b/first"):
        assert server.post(ASK, path=path)[1]["error"]["code"] == "not_found"


def test_many_requests_at_once_each_get_their_own_answer(server):
    def ask(i):
        path = "/v1/infers/" + ("cats" if i % 2 else "hounds")
        return server.post({"i": i}, path=path)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(200)))
    assert [(status, body["got"]) for status, body, _ in answers] == [
        (200, {"i": i}) for i in range(200)
    ]


# --- deadlines and clients that leave


def test_a_late_answer_is_the_child_s_504(server):
    status, body, _ = server.post({"s": 1}, path="/v1/infers/cats", **{"X-Request-Timeout": "0.3"})
    assert status == 504
    assert body["error"]["message"] == "no answer within 0.3 s; the request was running"


def test_the_time_that_an_upload_takes_counts(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = b"POST /v1/infers/hounds HTTP/1.1\r\ncontent-type: application/json\r\n"
        client.sendall(head + b'x-request-timeout: 1\r\ncontent-length: 8\r\n\r\n{"s":')
        time.sleep(0.7)
        began = time.monotonic()
        client.sendall(b" 2}")
        assert client.recv(9000).startswith(b"HTTP/1.1 504")
    assert time.monotonic() - began < 0.9


def test_a_child_that_hangs_is_answered_for_by_the_front(start_server, write_package):
    server = start_server(write_package("a"), write_package("b"))
    child = child_of(server, "b")
    child.suspend()
    try:
        status, body, _ = server.post(ASK, path="/v1/infers/b", **{"X-Request-Timeout": "0.2"})
        assert status == 504
        assert "with a process that does not answer" in body["error"]["message"]
        assert server.post(ASK, path="/v1/infers/a")[0] == 200
        assert server.get("/health/live")[1]["models"] == {"a": True, "b": False}
    finally:
        child.resume()
    assert server.post(ASK, path="/v1/infers/b")[0] == 200


def leave(server, path, body):
    """Post, and go away before the answer."""
    client = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST {path} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    client.sendall(f"{head}\r\n\r\n{body}".encode())
    time.sleep(0.15)
    client.close()


def test_the_queued_requests_of_clients_that_left_are_never_run(start_server, write_package):
    server = start_server(write_package("a"), write_package("b"))
    for _ in range(5):
        leave(server, "/v1/infers/b", '{"s": 1}')
    began = time.monotonic()
    answer = server.post(ASK, path="/v1/infers/b")[1]
    assert answer["runs"] == 2  # the first of the five was running
    assert time.monotonic() - began < 1.3


# --- processes that end


@pytest.mark.parametrize("end", ["kill", "crash"])
def test_a_child_that_dies_loses_its_requests_alone_and_is_started_again(
    start_server, write_package, end
):
    server = start_server(write_package("a"), write_package("b"))
    before = server.post(ASK, path="/v1/infers/b")[1]["pid"]
    with ThreadPoolExecutor(2) as pool:
        body = {"crash": True} if end == "crash" else {"s": 3}
        lost = pool.submit(server.post, body, path="/v1/infers/b")
        other = pool.submit(server.post, {"s": 1}, path="/v1/infers/a")
        if end == "kill":
            time.sleep(0.5)
            child_of(server, "b").kill()
        status, answer, _ = lost.result()
        assert other.result()[0] == 200
    assert (status, answer["error"]["code"], answer["erno"]) == (
        502, "process_ended", "ModelArts.4302"
    )  # fmt: skip
    server.wait_for_line(r"b: its process ended \(SIG(KILL|SEGV)\); starting another")
    server.wait_until_ready()
    assert server.post(ASK, path="/v1/infers/b")[1]["pid"] != before


def test_while_a_child_starts_its_requests_are_503(start_server, write_package):
    slow = SCRIPT.replace("import utils", "import utils\ntime.sleep(1)")
    server = start_server(write_package("a"), write_package("b", slow))
    child_of(server, "b").kill()
    server.wait_for_line("b: its process ended")
    status, body, headers = server.post(ASK, path="/v1/infers/b")
    assert (status, body["error"]["code"], headers["retry-after"]) == (503, "not_ready", "1")
    assert "model 'b' is loading: " in body["error"]["message"]
    status, body, _ = server.get("/health/ready")
    assert (status, body["ready"], body["models"][1]["state"]) == (503, 1, "loading")
    server.wait_until_ready()


def test_one_that_cannot_be_loaded_says_why_and_the_others_go_on(start_server, write_package):
    a, b = write_package("a"), write_package("b")
    (b / "model" / "broken").touch()
    server = start_server(a, b, ready=False)
    server.wait_for_line("b cannot be loaded; SIGHUP tries it again")
    wait_until(lambda: server.get("/health/ready")[1].get("ready") == 1)
    assert server.post(ASK, path="/v1/infers/a")[0] == 200
    status, body, _ = server.post(ASK, path="/v1/infers/b")
    assert status == 503
    assert re.search(
        r"model 'b' is failed: .*customize_service\.py:8: .*the labels are not there",
        body["error"]["message"],
    )
    status, body, _ = server.get("/health/ready")
    assert (status, body["models"][1]["state"]) == (503, "failed")
    assert "the labels are not there" in body["models"][1]["reason"]
    assert server.get("/v1/models")[1]["models"][1]["state"] == "failed"
    (b / "model" / "broken").unlink()
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_until_ready()
    assert server.post(ASK, path="/v1/infers/b")[0] == 200
    assert server.stop() == 0


def test_a_child_that_dies_again_and_again_is_started_later_each_time(start_server, write_package):
    dying = SCRIPT.replace("import utils", "import utils\nos._exit(9)")
    server = start_server(write_package("a"), write_package("b", dying), ready=False)
    server.wait_for_line(r"(?s)another in 0 s.*another in 1 s.*another in 2 s", 40)
    assert server.post(ASK, path="/v1/infers/a")[0] == 200
    body = server.get("/health/ready")[1]
    assert "its process ended (exit code 9)" in body["models"][1]["reason"]
    assert server.stop() == 0


def serve(*arguments):
    command = [sys.executable, "-m", "engineroom", "serve", *map(str, arguments), "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_when_none_can_be_loaded_serve_exits_with_3(write_package, workers):
    bad = SCRIPT.replace("import utils", "raise ValueError('no weights')")
    result = serve(write_package("a", bad), write_package("b", bad), "--workers", workers)
    assert result.returncode == 3
    assert re.search(r"ERROR +\[a\] .*no weights", result.stderr)
    assert re.search(r"ERROR +\[b\] .*no weights", result.stderr)


# --- signals


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish_and_leaves_no_process(
    start_server, write_package, sign
):
    server = start_server(write_package("a"), write_package("b"))
    children = children_of(server)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.post, {"s": 1}, path="/v1/infers/b")
        time.sleep(0.4)
        assert server.stop(sign) == 0
        assert running.result()[0] == 200
    assert [child for child in children if child.is_running()] == []
    assert "starting another" not in server.log()
    assert server.log().splitlines()[-1].endswith("stopped")


def test_the_children_end_with_a_front_that_is_killed(start_server, write_package):
    server = start_server(write_package("a"), write_package("b"), "--workers", "2")
    processes = psutil.Process(server.process.pid).children(recursive=True)
    assert len(processes) >= 6
    server.process.kill()
    assert psutil.wait_procs(processes, timeout=15)[1] == []


def test_sighup_replaces_the_processes_without_a_failed_request(start_server, write_package):
    server = start_server(write_package("a"), write_package("b"))
    before = {child.pid for child in children_of(server)}
    answers, is_done = [], threading.Event()

    def load(name):
        while not is_done.is_set():
            answers.append(server.post({"s": 0.01}, path=f"/v1/infers/{name}")[0])

    with ThreadPoolExecutor(4) as pool:
        for name in "abab":
            pool.submit(load, name)
        os.kill(server.process.pid, signal.SIGHUP)
        server.wait_for_line("(?s)a: a new process has taken over.*b: a new process", 60)
        wait_until(lambda: not before & {child.pid for child in children_of(server)})
        is_done.set()
    assert len(answers) > 20
    assert set(answers) == {200}


def test_a_worker_of_a_child_that_is_killed_is_replaced_by_the_child(start_server, write_package):
    server = start_server(write_package("a"), write_package("b"), "--workers", "2")
    wait_until(lambda: server.log().count("b is ready") == 2)
    child = child_of(server, "b")
    victim = server.post(ASK, path="/v1/infers/b")[1]["pid"]
    psutil.Process(victim).kill()
    wait_until(lambda: server.log().count("b is ready") == 3)
    assert server.post(ASK, path="/v1/infers/b")[0] == 200
    assert child.is_running()


# --- interpreters


@pytest.fixture
def other_python(tmp_path):
    """The interpreter of another virtual environment, which sees what this one has."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site / "ours.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in paths))
    return tmp_path / "venv" / "bin" / "python"


def test_a_package_may_have_an_interpreter_of_its_own(start_server, write_package, other_python):
    option = f"b={other_python}"
    server = start_server(write_package("a"), write_package("b"), "--python", option)
    a, b = (server.post(ASK, path=f"/v1/infers/{name}")[1]["prefix"] for name in "ab")
    assert (a, b) == (sys.prefix, str(other_python.parent.parent))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("echo 0.0.1", r"has engineroom 0\.0\.1, .*run: .* -m pip install engineroom=="),
        ("echo Oh no >&2; exit 1", r"cannot import engineroom \(Oh no\); run: "),
        (None, r"cannot be run: No such file"),
    ],
)
def test_an_interpreter_that_cannot_serve_is_exit_code_2(write_package, tmp_path, said, reason):
    python = tmp_path / "python"
    if said:
        python.write_text(f"#!/bin/sh\n{said}\n")
        python.chmod(0o755)
    result = serve(write_package("a"), write_package("b"), "--python", f"b={python}")
    assert result.returncode == 2
    assert re.search(f"--python b=.*{reason}", result.stderr)


def test_an_interpreter_for_nobody_is_exit_code_2(write_package):
    a, b = write_package("a"), write_package("b")
    assert "no package is called 'c': a, b" in serve(a, b, "--python", "c=python").stderr
    assert "--python is for several packages" in serve(a, "--python", "a=python").stderr
    assert "write NAME=PYTHON" in serve(a, b, "--python", "python").stderr
