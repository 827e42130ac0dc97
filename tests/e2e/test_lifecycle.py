"""Start, readiness, failures, signals and workers of a real server process."""

import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

SLOW_LOAD = """
import threading, time
from model_service.onnx_model_service import OnnxServingBaseService


class LateService(OnnxServingBaseService):
    def __init__(self, model_name, model_path):
        threading.Thread(target=self.load, daemon=True).start()

    def load(self):
        time.sleep(1)
        self.labels = ["cat"]

    def _inference(self, data):
        return self.labels
"""


def engineroom(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engineroom", *arguments], capture_output=True, text=True, timeout=60
    )


def test_while_the_script_s_thread_loads_the_server_says_so(start_server, tmp_path):
    (tmp_path / "customize_service.py").write_text(SLOW_LOAD)
    server = start_server(tmp_path, ready=False)
    server.wait_for_line("loading")
    while True:
        try:
            status, body, headers = server.get("/health/ready")
            break
        except OSError:
            time.sleep(0.02)
    assert (status, body["state"], body["status"]) == (503, "loading", "unavailable")
    assert "being loaded" in body["reason"]
    assert server.get("/health/live")[:2] == (200, {"status": "OK"})
    status, body, headers = server.post({"a": 1})
    assert (status, body["error"]["code"], headers["retry-after"]) == (503, "not_ready", "1")
    server.wait_until_ready()
    assert server.post({"a": 1})[:2] == (200, ["cat"])
    assert server.get("/health")[1]["status"] == "OK"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_while_the_model_loads_stops_the_server(start_server, tmp_path, workers):
    script = SLOW_LOAD.replace("sleep(1)", "sleep(30)").replace(", daemon=True", "")
    (tmp_path / "customize_service.py").write_text(script)
    server = start_server(tmp_path, "--workers", workers, ready=False)
    server.wait_for_line("waiting for the thread")
    assert server.stop() == 0


FOREVER = """
import threading, time
from model_service.onnx_model_service import OnnxServingBaseService


class S(OnnxServingBaseService):
    def __init__(self, model_name, model_path):
        threading.Thread(target=self.beat).start()

    def beat(self):
        while True:
            time.sleep(1)

    def _inference(self, data):
        return data
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_script_s_thread_that_never_ends_fails_the_load_and_does_not_hold_the_process(
    tmp_path, workers
):
    (tmp_path / "customize_service.py").write_text(FOREVER)
    options = ("--load-timeout-s", "0.5")
    ended = engineroom("serve", str(tmp_path), "--port", "0", "--workers", workers, *options)
    assert ended.returncode == 3
    assert "make it a daemon thread if it is meant to run for ever" in ended.stderr
    assert engineroom("check", str(tmp_path), *options).returncode == 3


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_failed_load_ends_serve_with_exit_code_3_and_the_reason(services, workers):
    path = str(services / "failing_thread")
    ended = engineroom("serve", path, "--port", "0", "--workers", workers)
    assert ended.returncode == 3
    where = r"customize_service\.py:11: the thread loader.*failed: KeyError: 'nowhere'"
    assert re.search(where, ended.stderr)
    assert "Traceback" not in ended.stderr
    with_traceback = engineroom("serve", path, "--port", "0", "--workers", workers, "--debug")
    assert 'self.labels = {}["nowhere"]' in with_traceback.stderr


def test_two_service_classes_are_named_with_their_lines(services):
    ended = engineroom("serve", str(services / "two_classes"), "--port", "0")
    assert ended.returncode == 3
    assert "found FirstService (line 4) and SecondService (line 8)" in ended.stderr


def test_a_folder_that_is_not_there_is_exit_code_3(tmp_path):
    ended = engineroom("serve", str(tmp_path / "nowhere"))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "no such file or folder" in ended.stderr


def test_the_folder_above_a_package_is_answered_with_its_place(services):
    ended = engineroom("check", str(services))
    assert ended.returncode == 3
    assert f"did you mean {services / 'contract'} or" in ended.stdout


def test_a_port_that_is_taken_is_said_in_one_line(start_server, services):
    server = start_server(services / "echo")
    ended = engineroom("serve", str(services / "echo"), "--port", str(server.port))
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {server.port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_with_exit_code_0(start_server, services, sign, workers):
    server = start_server(services / "echo", "--workers", workers)
    assert server.post({"a": 1})[0] == 200
    assert server.stop(sign) == 0
    assert "Traceback" not in server.log()
    assert server.log().splitlines()[-1].endswith("stopped")


def test_a_running_request_is_finished_before_the_server_stops(start_server, services):
    from concurrent.futures import ThreadPoolExecutor

    server = start_server(services / "slow")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.post, {"seconds": 0.8})
        time.sleep(0.3)
        assert server.stop() == 0
        assert running.result()[:2] == (200, {"runs": 1})


def test_workers_end_when_their_supervisor_is_killed(start_server, services):
    server = start_server(services / "echo", "--workers", "2")
    children = psutil.Process(server.process.pid).children()
    server.process.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


SILENCER = """
import logging, logging.config
from model_service.onnx_model_service import OnnxServingBaseService

logging.config.dictConfig({"version": 1})
logging.disable(logging.CRITICAL)
logging.basicConfig(force=True)


class S(OnnxServingBaseService):
    def __init__(self, model_name, model_path):
        print("printed at once")
        if FAIL:
            raise OSError("no weights")

    def _inference(self, data):
        return data
"""


def test_a_script_s_logging_does_not_silence_the_server(start_server, tmp_path):
    (tmp_path / "customize_service.py").write_text("FAIL = False\n" + SILENCER)
    server = start_server(tmp_path, PYTHONUNBUFFERED="")
    server.wait_for_line("printed at once")
    server.post({"a": 1})
    server.wait_for_line("POST / 200")
    (tmp_path / "customize_service.py").write_text("FAIL = True\n" + SILENCER)
    ended = engineroom("serve", str(tmp_path), "--port", "0")
    assert ended.returncode == 3
    assert "no weights" in ended.stderr
    assert "printed at once" in ended.stdout


def test_a_step_may_ask_for_an_event_loop(start_server, tmp_path):
    (tmp_path / "customize_service.py").write_text(
        "import asyncio\n"
        "from model_service.onnx_model_service import OnnxServingBaseService\n\n\n"
        "class S(OnnxServingBaseService):\n"
        "    def _inference(self, data):\n"
        "        return asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, data))\n"
    )
    assert start_server(tmp_path).post({"a": 1})[:2] == (200, {"a": 1})


@pytest.mark.parametrize("step", ["_preprocess", "_inference", "_postprocess"])
@pytest.mark.parametrize(
    ("error", "status"),
    [("KeyError", 400), ("TypeError", 400), ("ValueError", 500), ("MemoryError", 500),
     ("RecursionError", 500), ("exit", 500)],
)  # fmt: skip
def test_the_contract_s_code_for_an_exception_in_a_step(raises, step, error, status):
    got, answer, headers = raises.post({"step": step, "error": error})
    assert (got, answer["erno"], answer["msg"]) == (status, "MR.0105", "Recognition failed")
    assert answer["words_result"] == {}
    detail = answer["error"]
    assert detail["step"] == step
    assert detail["where"].startswith("customize_service.py:2")
    assert "traceback" not in detail
    assert raises.wait_for_line(headers["x-request-id"])


@pytest.fixture(scope="module")
def raises(start_server, services):
    return start_server(services / "raises")


def test_debug_adds_the_traceback(start_server, services):
    server = start_server(services / "raises", "--debug")
    answer = server.post({"step": "_inference", "error": "ValueError"})[1]
    assert any("ValueError: on purpose" in line for line in answer["error"]["traceback"])


def test_the_example_is_ready_within_a_second_and_a_half(start_server, services):
    example = services.parent.parent / "examples" / "digits-onnx"
    began = time.monotonic()
    start_server(example)
    assert time.monotonic() - began < 1.5
