"""Processes that are killed, crash, hang, stop or are replaced while eight clients send requests.

What each test counts: ``answered`` 200; ``refused`` any other answer, or no connection; ``lost`` no
answer to a request that was sent.
"""

import collections
import contextlib
import http.client
import json
import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

pytestmark = pytest.mark.slow

CLIENTS = 8


FRAGILE = """
import ctypes, os, time
from model_service.onnx_model_service import OnnxServingBaseService


class FragileService(OnnxServingBaseService):
    def _inference(self, data):
        if data.get("crash"):
            ctypes.string_at(0)
        if data.get("grip"):
            ctypes.PyDLL(None).sleep(1000)  # without letting go of the interpreter
        time.sleep(data.get("seconds", 0))
        return os.getpid()
"""


@pytest.fixture
def fragile(package):
    return package(FRAGILE)


class Load:
    """Eight clients that send one request after the other, until the ``with`` block ends."""

    def __init__(self, server, keep_alive=True, seconds=0.02):
        self.server, self.keep_alive = server, keep_alive
        self.body = json.dumps({"seconds": seconds})
        self.counts = collections.Counter()
        self.statuses = collections.Counter()
        self.losers = []
        """For each lost request, the process that had answered before it on that connection."""
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        logging.info("counts: %s; %s", dict(self.counts), dict(self.statuses))

    def _send(self):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.port)) as line:
            while not self._over.is_set():
                what = self._send_one(line)
                if what == "lost" and self.keep_alive:
                    self.losers.append(line.process)
                if not self.keep_alive:
                    line.close()
                if what != "answered":
                    time.sleep(0.05)

    def _send_one(self, line):
        if line.sock is None:
            line.process = None
            try:
                line.connect()
            except OSError:
                return self._count("refused", "no connection")
        try:
            line.request("POST", "/", self.body)
            answer = line.getresponse()
            process = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            line.close()
            return self._count("lost", type(error).__name__)
        if answer.status != 200:
            return self._count("refused", answer.status)
        line.process = process
        return self._count("answered", 200)

    def _count(self, what, status):
        self.counts[what] += 1
        self.statuses[status] += 1
        return what

    def wait_for(self, answered):
        """Return when so many more requests have been answered."""
        wanted, limit = self.counts["answered"] + answered, time.monotonic() + 30
        while self.counts["answered"] < wanted:
            assert time.monotonic() < limit, self.counts
            time.sleep(0.01)


def workers_of(server):
    found = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def wait_for_workers(server, ready, of=2):
    """Return when so many are ready, as the server says."""
    limit = time.monotonic() + 30
    while server.get("/health")[1].get("workers") != {"ready": ready, "of": of}:
        assert time.monotonic() < limit, server.log()
        time.sleep(0.05)


@pytest.mark.parametrize("keep_alive", [True, False])
def test_kill_9_of_a_worker_loses_only_what_it_had(start_server, fragile, keep_alive):
    server = start_server(fragile, "--workers", "2")
    wait_for_workers(server, 2)
    with Load(server, keep_alive=keep_alive) as load:
        load.wait_for(50)
        victim = server.post({"seconds": 0})[1]
        os.kill(victim, signal.SIGKILL)
        wait_for_workers(server, 1)
        load.wait_for(20)
        wait_for_workers(server, 2)
        load.wait_for(50)
    assert load.counts["refused"] == 0
    assert load.counts["lost"] <= CLIENTS
    assert set(load.losers) <= {victim, None}
    assert "ended (SIGKILL); starting another" in server.log()


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("to_all", [False, True])
def test_sigterm_loses_nothing(start_server, fragile, keep_alive, workers, to_all):
    server = start_server(fragile, "--workers", workers)
    with Load(server, keep_alive, seconds=0) as load:
        load.wait_for(200)
        if to_all:
            os.killpg(server.process.pid, signal.SIGTERM)
        assert server.stop() == 0
    assert load.counts["lost"] == 0
    assert set(load.statuses) <= {200, "no connection"}
    assert "starting another" not in server.log()


@pytest.mark.parametrize("at_once", [True, False])
def test_connections_are_shared_among_the_workers(start_server, fragile, at_once):
    server = start_server(fragile, "--workers", "2")
    wait_for_workers(server, 2)
    shares = collections.Counter()
    with contextlib.ExitStack() as open_lines:
        lines = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(20)]
        for line in lines:
            open_lines.enter_context(contextlib.closing(line))
            if at_once:
                line.connect()
        for line in lines:
            line.request("POST", "/", '{"seconds": 0}')
            shares[json.load(line.getresponse())] += 1
    assert min(shares.values()) >= 8
    assert len(shares) == 2


@pytest.mark.parametrize("keep_alive", [True, False])
def test_sighup_replaces_every_worker_and_fails_no_request(start_server, fragile, keep_alive):
    server = start_server(fragile, "--workers", "2")
    wait_for_workers(server, 2)
    before = {worker.pid for worker in workers_of(server)}
    with Load(server, keep_alive, seconds=0) as load:
        load.wait_for(200)
        os.kill(server.process.pid, signal.SIGHUP)
        _, alive = psutil.wait_procs([psutil.Process(pid) for pid in before], 30)
        assert not alive
        load.wait_for(200)
    assert load.counts["lost"] == load.counts["refused"] == 0
    assert len(workers_of(server)) == 2


def post_aside(server, body):
    """Send a request and wait for nothing."""

    def post():
        with contextlib.suppress(OSError):
            server.post(body)

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def test_an_engine_that_segfaults_loses_only_what_its_process_had(start_server, fragile):
    server = start_server(fragile, "--workers", "2")
    wait_for_workers(server, 2)
    with Load(server) as load:
        load.wait_for(50)
        thread = post_aside(server, {"crash": True})
        server.wait_for_line(r"line 9 in _inference(.|\n)*ended \(SIGSEGV\); starting another")
        load.wait_for(20)
        wait_for_workers(server, 2)
        load.wait_for(50)
    thread.join()
    assert load.counts["refused"] == 0
    assert load.counts["lost"] <= CLIENTS


def test_an_engine_that_hangs_is_replaced_and_those_behind_it_are_sent_away(start_server, fragile):
    limits = ("--timeout-s", "1", "--hang-s", "4")
    server = start_server(fragile, "--workers", "2", *limits)
    wait_for_workers(server, 2)
    before = {worker.pid for worker in workers_of(server)}
    with Load(server) as load:
        load.wait_for(50)
        assert server.post({"seconds": 1000})[0] == 504
        server.wait_for_line("is stuck")
        wait_for_workers(server, 1)
        load.wait_for(20)
        server.wait_for_line(r"does not come back(.|\n)*ended \(exit code 4\); starting another")
        wait_for_workers(server, 2)
        load.wait_for(50)
    assert load.counts["lost"] == 0
    assert len({worker.pid for worker in workers_of(server)} & before) == 1


def test_a_single_process_whose_engine_hangs_says_so_and_ends_with_exit_code_4(
    start_server, fragile
):
    server = start_server(fragile, "--timeout-s", "1", "--hang-s", "4")
    hung = post_aside(server, {"seconds": 1000})
    server.wait_for_line("is stuck")
    status, body, _ = server.get("/health")
    assert (status, body["state"]) == (503, "stuck")
    began = time.monotonic()
    status, body, headers = server.post({"seconds": 0})
    assert (status, body["error"]["code"], headers["retry-after"]) == (503, "not_ready", "1")
    assert time.monotonic() - began < 0.5
    assert server.process.wait(20) == 4
    assert "raise --hang-s" in server.log()
    hung.join()


def test_what_the_other_threads_run_is_answered_before_the_process_ends(start_server, package):
    path = package(FRAGILE.replace("Service):", "Service):\n    thread_safe = True\n"))
    server = start_server(path, "--threads", "2", "--timeout-s", "2", "--hang-s", "4")
    hung = post_aside(server, {"seconds": 1000})
    time.sleep(3)  # one thread is stuck, the other is not
    assert server.get("/health")[0] == 200
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(server.post, {"seconds": 1.5})
        server.wait_for_line("does not come back")
        assert last.result()[0] == 200
    assert server.process.wait(20) == 4
    hung.join()


def test_an_engine_that_is_slow_and_comes_back_keeps_its_process(start_server, fragile):
    server = start_server(fragile, "--timeout-s", "0.5")
    pid = server.post({"seconds": 0})[1]
    assert server.post({"seconds": 3})[0] == 504
    server.wait_for_line("is stuck")
    server.wait_for_line("is ready again")
    assert server.post({"seconds": 0})[:2] == (200, pid)


def test_a_worker_that_cannot_be_loaded_again_is_tried_less_and_less(start_server, fragile):
    server = start_server(fragile, "--workers", "2")
    wait_for_workers(server, 2)
    script = fragile / "model" / "customize_service.py"
    script.write_text("raise OSError('no weights')\n" + FRAGILE)
    workers_of(server)[0].kill()
    server.wait_for_line(r"before it was ready \(exit code 3\); starting another in 1 s")
    server.wait_for_line(r"before it was ready \(exit code 3\); starting another in 2 s")
    assert server.post({"seconds": 0})[0] == 200
    assert server.get("/health")[1]["workers"] == {"ready": 1, "of": 2}
    script.write_text(FRAGILE)
    wait_for_workers(server, 2)


def test_workers_that_crash_while_they_load_end_the_server_with_exit_code_3(package, start_server):
    server = start_server(
        package("import ctypes\nctypes.string_at(0)\n" + FRAGILE), "--workers", "2", ready=False
    )
    assert server.process.wait(30) == 3
    assert "ended before it was ready (SIGSEGV); none is left; stopping" in server.log()


def test_sighup_with_a_package_that_is_broken_keeps_the_old_workers(start_server, fragile):
    server = start_server(fragile, "--workers", "2")
    wait_for_workers(server, 2)
    (fragile / "model" / "customize_service.py").write_text("raise OSError('no weights')")
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_for_line(r"the new worker ended before it was ready \(exit code 3\)")
    assert server.post({"seconds": 0})[0] == 200
    assert server.get("/health")[1]["workers"] == {"ready": 2, "of": 2}


def test_a_worker_whose_engine_never_lets_go_of_the_interpreter_is_replaced(start_server, fragile):
    server = start_server(fragile, "--workers", "2", "--hang-s", "2")
    wait_for_workers(server, 2)
    thread = post_aside(server, {"grip": True})
    server.wait_for_line(r"has said nothing for 2 s; killing it(.|\n)*line 11 in _inference")
    server.wait_for_line(r"ended \(SIGABRT\); starting another")
    wait_for_workers(server, 2)
    thread.join()
