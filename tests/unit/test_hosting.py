"""How a server's model is started and stopped, also when both happen at once."""

import threading
import time

import anyio
import pytest

from engineroom.hosting import Host, make_hosts, open_packages
from engineroom.model import State
from engineroom.settings import Settings

SLOW = """
import time
from model_service.onnx_model_service import OnnxServingBaseService

class Slow(OnnxServingBaseService):
    asked = 0

    def __init__(self, model_name, model_path):
        time.sleep({load_s})

    def _inference(self, data):
        self.asked += 1
        time.sleep({warm_up_s})
        return self.asked
"""


@pytest.fixture
def hosts(tmp_path):
    """Hosts of slow packages: ``hosts((load_s, warm_up_s), …)``."""

    def make(*times: tuple[float, float]) -> list[Host]:
        found = []
        for i, (load_s, warm_up_s) in enumerate(times):
            folder = tmp_path / f"slow{i}"
            (folder / "examples").mkdir(parents=True)
            (folder / "examples" / "one.json").write_text('{"a": 1}')
            script = SLOW.format(load_s=load_s, warm_up_s=warm_up_s)
            (folder / "customize_service.py").write_text(script)
            packages = open_packages([("", folder)], Settings())
            found += make_hosts(packages, Settings(), in_background=True)
        return found

    return make


def start(*hosts: Host) -> None:
    async def begin() -> None:
        for host in hosts:
            await host.start()

    anyio.run(begin)


def wait_for(condition, timeout_s: float = 10) -> None:
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.005)


def threads_of_runners() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("engineroom-0")]


def test_a_model_is_warmed_up_in_the_thread_that_predicts_and_once(hosts):
    (host,) = hosts((0, 0))
    start(host)
    wait_for(lambda: host.is_ready)
    assert host.model({"a": 1}) == 2
    host.stop()


def test_a_model_is_not_ready_before_its_threads_are(hosts):
    (host,) = hosts((0, 0.2))
    start(host)
    wait_for(lambda: host.model.state is State.WARMING)
    assert not host.is_ready
    assert host.model.reason == "it is loaded and answers its warm-up"
    wait_for(lambda: host.model.state is State.READY)
    wait_for(lambda: host.is_ready, 0.1)
    host.stop()


@pytest.mark.parametrize("times", [(0.2, 0), (0, 0.2)], ids=["loads", "warms up"])
def test_a_stop_while_a_model_is_started_leaves_nothing_behind(hosts, times):
    before = len(threads_of_runners())
    (host,) = hosts(times)
    start(host)
    state = State.LOADING if times[0] else State.WARMING
    wait_for(lambda: host.model.state is state)
    host.stop()
    wait_for(lambda: host.model.state is State.STOPPED)
    assert not host.is_ready
    wait_for(lambda: len(threads_of_runners()) == before)


def test_a_model_that_waits_for_its_turn_to_load_is_not_loaded_after_a_stop(hosts):
    first, second = hosts((0.3, 0), (0, 0))
    start(first, second)
    second.stop()
    first.stop()
    wait_for(lambda: second.model.state is State.STOPPED)
    assert second.model.predictor.predictor is None
    assert not second.is_ready


def test_a_host_that_was_stopped_while_it_started_can_be_started_again(hosts):
    (host,) = hosts((0.1, 0))
    start(host)
    host.stop()
    wait_for(lambda: host.model.state is State.STOPPED)
    start(host)
    wait_for(lambda: host.is_ready)
    host.stop()
    assert host.model.state is State.STOPPED
