"""Workers and the devices they get. The cards are faked where they are counted; nobody has any."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import os
from model_service.onnx_model_service import OnnxServingBaseService

class Tell(OnnxServingBaseService):
    def _inference(self, data):
        return [os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")]
"""
# Every Python process of the test imports it at its start.
TWO_CARDS = "import engineroom.devices\nengineroom.devices.machine_devices = lambda kind: 2\n"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    (folder / "customize_service.py").write_text(SCRIPT)
    return folder


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    (folder / "sitecustomize.py").write_text(TWO_CARDS)
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def seen(server, count, unlike=None):
    """What ``count`` workers say: their card by process, when that many have answered."""
    found = {}
    limit = time.monotonic() + 30
    while time.monotonic() < limit and len(found) < count:
        pid, card = server.post({"a": 1})[1]
        if pid != unlike:
            found[pid] = card
    return found


def test_each_worker_gets_a_card_and_the_one_that_replaces_a_dead_one_gets_its_card(
    start_server, told, cards
):
    server = start_server(told, "--workers", "2", "--device", "cuda:0,cuda:1", **cards)
    first = seen(server, 2)
    assert sorted(first.values()) == ["0", "1"]
    pid, card = next(iter(first.items()))
    os.kill(pid, signal.SIGKILL)
    server.wait_for_line("worker .* ended")
    time.sleep(1)
    second = seen(server, 2, unlike=pid)
    assert sorted(second.values()) == ["0", "1"]
    assert set(first) - {pid} < set(second)
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_for_line(r"(?s)(is ready.*){5}")
    time.sleep(1)
    third = seen(server, 2)
    assert sorted(third.values()) == ["0", "1"]
    assert not set(third) & set(second)


def test_a_list_of_visible_cards_is_what_the_numbers_count(start_server, told, cards):
    server = start_server(told, "--device", "cuda:1", CUDA_VISIBLE_DEVICES="4,7", **cards)
    assert server.post({"a": 1})[1][1] == "7"


def test_with_the_cpu_a_script_sees_no_card(start_server, told, cards):
    assert start_server(told, "--device", "cpu", **cards).post({"a": 1})[1][1] == ""


def test_with_auto_a_script_sees_what_there_is(start_server, told, cards):
    assert start_server(told, **cards).post({"a": 1})[1][1] is None


def serve(*arguments, **environment):
    command = [sys.executable, "-m", "engineroom", "serve", *map(str, arguments), "--port", "0"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def test_a_script_that_asks_for_no_device_does_not_run_on_the_cpu_in_silence(told, cards):
    result = serve(told, "--device", "cuda:2", **cards)
    assert result.returncode == 3
    assert re.search("'cuda:2' is not there; here are: cuda:0, cuda:1, cpu", result.stderr)


@pytest.mark.parametrize("device", ["mps", "gpu:0"])
def test_a_device_that_only_the_framework_could_tell_of_is_asked_for_there(told, device):
    if sys.platform == "darwin":
        pytest.skip("a machine that may have it")
    result = serve(told, "--device", device)
    assert result.returncode == 3
    assert f"device '{device}' is not there; this engine sees: cpu" in result.stderr


def test_more_devices_than_workers_is_a_mistake_that_names_the_way_out(told):
    result = serve(told, "--device", "cuda:0,cuda:1")
    assert result.returncode == 2
    assert "use --workers 2" in result.stderr


def test_a_word_that_is_no_device_is_refused_at_once(told):
    result = serve(told, "--device", "gpu zero")
    assert result.returncode == 2
    assert "expected auto, cpu, or a device such as cuda:0" in result.stderr
