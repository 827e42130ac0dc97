"""Engines that say whom an error blames, and that their framework has ended in this process."""

import pytest
from starlette.testclient import TestClient

from engineroom import create_app, load
from engineroom.errors import EngineEndError, NotReadyError, StepError, StepInputError, WarmUpError
from engineroom.model import State

ENGINE = """
from engineroom import Engine, hookimpl

class Fragile(Engine):
    name = "fragile"
    parent = "model_service.fragile_model_service.FragileBaseService"
    ended = ""

    def load(self, path, device, threads):
        raise NotImplementedError

    def blames_input(self, error):
        return isinstance(error, LookupError)

    def end(self):
        return self.ended

@hookimpl
def register_engine(register):
    register(Fragile())
"""
SCRIPT = """
from model_service.fragile_model_service import FragileBaseService

class Mine(FragileBaseService):
    def _inference(self, data):
        if data["key"] == "lookup":
            raise LookupError("no such column")
        return 1 / data["key"]
"""
ENDING = """
    def _preprocess(self, data):
        import engineroom_fragile_engines
        engineroom_fragile_engines.Fragile.ended = "it has died"
        return data
"""


@pytest.fixture
def path(install_plugin, package):
    install_plugin("fragile", ENGINE)
    return package(SCRIPT)


def test_an_error_that_the_engine_blames_on_the_input_is_400(path):
    model = load(path)
    with pytest.raises(StepInputError, match="LookupError: no such column"):
        model({"key": "lookup"})
    with pytest.raises(StepError, match="ZeroDivisionError"):
        model({"key": 0})


def test_a_request_that_fails_when_the_framework_has_ended_is_503_and_the_model_failed(path):
    model = load(path)
    model.engine.ended = "the other process has died"
    assert model({"key": 1}) == 1.0  # nobody asks while it works
    with pytest.raises(NotReadyError, match="is failed: the other process has died"):
        model({"key": 0})
    assert model.state is State.FAILED
    assert isinstance(model.error, EngineEndError)


def test_a_framework_that_ends_between_two_requests_is_seen_too(path):
    app = create_app(path)
    with TestClient(app) as client:
        assert client.post("/", json={"key": 1}).json() == 1.0
        (host,) = app.hosts
        host.model.engine.ended = "the other process has died"
        host.model.check_engine()
        answer = client.post("/", json={"key": 1})
    assert answer.status_code == 503
    assert "the other process has died" in answer.json()["error"]["message"]


def test_a_model_that_is_loaded_again_after_that_answers(path):
    model = load(path)
    model.engine.ended = "the other process has died"
    model.check_engine()
    model.engine.ended = ""
    model.load()
    assert model({"key": 1}) == 1.0


def test_a_framework_that_ends_in_a_warm_up_is_the_reason_that_its_load_failed(path):
    (path / "model" / "examples").mkdir()
    (path / "model" / "examples" / "one.json").write_text('{"key": 0}')
    with pytest.raises(WarmUpError, match="ZeroDivisionError"):
        load(path)
    (path / "model" / "customize_service.py").write_text(SCRIPT + ENDING)
    with pytest.raises(EngineEndError, match=r"^it has died while model '\w+' was warming$"):
        load(path)
