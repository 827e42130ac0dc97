"""A script's own ``health()``: it says when the model is ready, and what the health URL answers."""

import threading
import time

import pytest
from starlette.testclient import TestClient

from engineroom import create_app, load
from engineroom.errors import ScriptError
from engineroom.model import Model
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings

SCRIPT = """
import threading, time
from model_service.onnx_model_service import OnnxServingBaseService


class S(OnnxServingBaseService):
    is_loaded = False

    def __init__(self, model_name, model_path):
        # A daemon that never ends is no loader to wait for; health() tells.
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        time.sleep(0.3)
        self.is_loaded = True

    def health(self):
        {health}

    def _inference(self, data):
        if data == "sick":
            self.is_loaded = False
        return self.is_loaded
"""


@pytest.fixture
def health(package):
    def health(body):
        return package(SCRIPT.format(health=body))

    return health


def test_the_model_is_ready_when_its_health_says_so(health):
    path = health("return {'ok': self.is_loaded}, 200 if self.is_loaded else 404")
    assert load(path)({"a": 1}) is True


def test_a_server_that_stops_does_not_wait_for_it(health):
    model = Model(open_package(health("return 'no', 503")), Settings(), Registry())
    loading = threading.Thread(target=model.load)
    loading.start()
    while not model.has_own_health:
        time.sleep(0.01)
    model.drain()
    loading.join(5)
    assert not loading.is_alive()


def test_the_health_url_follows_it(health):
    path = health("return {'ok': self.is_loaded}, 200 if self.is_loaded else 404")
    with TestClient(create_app(path)) as client:
        for url in ("/health", "/health/ready"):
            answer = client.get(url)
            assert (answer.status_code, answer.json()) == (200, {"ok": True})
        client.post("/", json="sick")
        assert (client.get("/health").status_code, client.get("/health").json()) == (
            404,
            {"ok": False},
        )
        assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("said", ["{'ok': 1}", "({'ok': 1}, '200')", "[1]", "'fine'"])
def test_a_body_alone_is_good_health(health, said):
    with TestClient(create_app(health(f"return {said}"))) as client:
        assert client.get("/health").status_code == 200


def test_a_health_that_fails_is_bad_health_with_the_line(health):
    path = health("return 1 / (self.is_loaded is not None and 1), 200")
    with TestClient(create_app(path)) as client:
        client.app.hosts[0].model.service.is_loaded = None
        answer = client.get("/health")
    assert answer.status_code == 503
    assert "customize_service.py:18: health() raised ZeroDivisionError" in answer.json()["reason"]


def test_a_health_that_never_gets_good_ends_the_load(health):
    with pytest.raises(
        ScriptError, match=r"health\(\) still answers 404 after 1 s.*load-timeout-s"
    ):
        load(health("return {}, 404"), load_timeout_s=1)


def test_without_one_the_server_s_own_words_are_answered(package):
    path = package(SCRIPT.replace("def health", "def other").format(health="pass"))
    with TestClient(create_app(path)) as client:
        assert client.get("/health").json()["status"] == "OK"
