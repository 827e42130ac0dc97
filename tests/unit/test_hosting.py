"""How a server's model is started and stopped, also when both happen at once."""

import contextlib
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from starlette.testclient import TestClient

from engineroom import create_app
from engineroom.hosting import Host, make_hosts, open_packages
from engineroom.model import State
from engineroom.settings import Settings
from engineroom.turns import Turns

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
    wait_for(lambda: len(threads_of_runners()) <= before)


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


HELD = """
import threading
from model_service.onnx_model_service import OnnxServingBaseService

class Held(OnnxServingBaseService):
    go = threading.Event()

    def _inference(self, data):
        if data == "wait":
            self.go.wait(10)
        return data
"""


@pytest.fixture
def held(package, monkeypatch):
    """A client of an app whose engine returns from "wait" when it is told: ``held(drain_s=1)``."""
    monkeypatch.setattr("engineroom.app.WATCH_S", 0.05)
    with contextlib.ExitStack() as stack:

        def start(**settings):
            app = create_app(package(HELD), timeout_s=0.5, **settings)
            client = stack.enter_context(TestClient(app))
            stack.callback(lambda: release(client))
            return client

        yield start


def release(client):
    client.app.hosts[0].model.service.go.set()


def wait_for_state(client, state):
    limit = time.monotonic() + 5
    while client.get("/v1/models").json()["models"][0]["state"] != state:
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_model_is_stuck_while_its_engine_does_not_return_and_then_ready_again(held):
    client = held()
    assert client.post("/", json="wait").status_code == 504
    wait_for_state(client, "stuck")
    health = client.get("/health")
    assert (health.status_code, health.json()["state"]) == (503, "stuck")
    answer = client.post("/", json="next")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "is stuck: the requests that run" in answer.json()["error"]["message"]
    release(client)
    wait_for_state(client, "ready")
    assert client.post("/", json="next").json() == "next"


def test_those_who_wait_behind_a_stuck_request_are_sent_away_before_their_own_deadline(held):
    client = held()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/", json="wait")
        time.sleep(0.3)
        began = time.monotonic()
        behind = pool.submit(client.post, "/", json="next").result()
        assert behind.status_code == 503
        assert time.monotonic() - began < 0.45
        assert first.result().status_code == 504


def test_a_model_is_not_closed_under_a_thread_that_is_still_in_its_engine(held):
    client = held(drain_s=0.2)
    assert client.post("/", json="wait").status_code == 504
    (host,) = client.app.hosts
    closed = []
    host.model.predictor.close = lambda: closed.append(True)
    host.stop()
    assert (host.model.state, closed) == (State.STOPPED, [])


ONE_AT_A_TIME = """
import time
from engineroom import Engine, Predictor, TensorSpec, hookimpl

class Sleepy(Predictor):
    inputs = (TensorSpec("x", ("N",), "float32"),)
    runs = 0

    def __init__(self, seconds):
        self.seconds = seconds

    def run(self, feeds):
        self.runs += 1
        time.sleep(self.seconds)
        return {"y": feeds["x"]}

class OneAtATime(Engine):
    name = "sleepy"
    parent = "model_service.sleepy_model_service.SleepyBaseService"
    model_files = ("*.sleepy",)
    max_concurrency = 1

    def load(self, path, device, threads):
        return Sleepy(float(path.read_text()))

@hookimpl
def register_engine(register):
    register(OneAtATime())
"""


def test_a_request_that_waits_for_another_model_of_its_engine_is_in_the_queue(
    install_plugin, tmp_path
):
    install_plugin("sleepy", ONE_AT_A_TIME)
    for name, seconds in (("slow", "0.6"), ("quick", "0")):
        (tmp_path / f"{name}.sleepy").write_text(seconds)
    paths = {name: tmp_path / f"{name}.sleepy" for name in ("slow", "quick")}
    with TestClient(create_app(paths)) as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.post, "/v1/infers/slow", json={"x": [1.0]})
        time.sleep(0.2)
        predictor = client.app.hosts[1].model.predictor.predictor
        before = predictor.runs
        late = client.post(
            "/v1/infers/quick", json={"x": [1.0]}, headers={"x-request-timeout": "0.1"}
        )
        assert slow.result().status_code == 200
        assert client.post("/v1/infers/quick", json={"x": [1.0]}).status_code == 200
    assert late.status_code == 504
    assert "the request was waiting in the queue" in late.json()["error"]["message"]
    assert predictor.runs == before + 1


@pytest.mark.parametrize(("wait_ms", "sleeps"), [(0, True), (1, False)])
def test_the_loop_does_not_sleep_where_a_batch_waits_for_more(services, wait_ms, sleeps):
    gave, turns, settings = [], Turns(), Settings(batch_wait_ms=wait_ms)
    give = turns.give
    turns.give = lambda start: gave.append(1) or give(start)
    packages = open_packages([("", services / "echo")], settings)
    (host,) = make_hosts(packages, settings, turns=turns)

    async def ask():
        await host.start()
        submit = functools.partial(host.runner.submit, {"a": 1}, time.monotonic() + 10)
        for _ in range(60):  # until it is known as a quick one
            await submit().wait()
        for job in [submit() for _ in range(5)]:
            await job.wait()

    anyio.run(ask)
    host.stop()
    assert bool(gave) is sleeps
