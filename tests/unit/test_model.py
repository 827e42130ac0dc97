"""The life of a model, its warm-up and its errors."""

import importlib.metadata
import threading
import time
from pathlib import Path

import pytest

from engineroom import load
from engineroom.errors import (
    EngineError,
    LoadError,
    ModelFileError,
    NotReadyError,
    StepError,
    WarmUpError,
)
from engineroom.hookspecs import hookimpl
from engineroom.model import Model, State
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings

PARENT = "from model_service.onnx_model_service import OnnxServingBaseService\n"
ECHO = PARENT + "class S(OnnxServingBaseService):\n    def _inference(self, data): return data\n"


@pytest.fixture
def model_file(services) -> bytes:
    return (services / "plain" / "model" / "model.onnx").read_bytes()


@pytest.fixture
def without_tensorflow(monkeypatch):
    """An environment without that engine, also where it is installed."""
    all_of = importlib.metadata.entry_points

    def others(group: str) -> importlib.metadata.EntryPoints:
        found = all_of(group=group)
        return importlib.metadata.EntryPoints(e for e in found if e.name != "tensorflow")

    monkeypatch.setattr(importlib.metadata, "entry_points", others)


def make(path: Path, registry: Registry | None = None, **settings) -> Model:
    return Model(open_package(path), Settings.read(settings), registry or Registry())


def test_states_from_created_to_stopped(services):
    model, seen = make(services / "plain"), []

    class Watcher:
        @hookimpl
        def before_load(self, package, device):
            seen.append((model.state.value, package.name, device))

        @hookimpl
        def after_load(self, model, seconds):
            seen.append((model.state.value, seconds > 0))

        @hookimpl
        def after_warm_up(self, model, seconds):
            seen.append((model.state.value, seconds > 0))

        @hookimpl
        def before_unload(self, model):
            seen.append(model.state.value)

    model.registry.manager.register(Watcher())
    assert model.state is State.CREATED
    model.load()
    assert model.state.value == "ready"
    model.drain()
    model.unload()
    assert model.state.value == "stopped"
    assert seen == [
        ("loading", "plain", "auto"), ("loading", True), ("warming", True), "draining"
    ]  # fmt: skip


@pytest.mark.parametrize("state", [s for s in State if s is not State.READY])
def test_each_state_that_is_not_ready_says_so_in_its_own_words(services, state):
    model = make(services / "plain")
    model.state = state
    if state is State.FAILED:
        model.error = LoadError("no weights")
    message = str(model.not_ready())
    assert f"is {state.value}: " in message
    assert len(message) > len(f"model 'plain' is {state.value}: ")


def test_a_model_that_is_not_loaded_refuses_to_answer(services):
    with pytest.raises(NotReadyError, match="created"):
        make(services / "plain")({"x": [[1, 2, 3]]})


def test_a_failed_load_keeps_its_reason(services):
    model = make(services / "failing_thread")
    with pytest.raises(LoadError):
        model.load()
    assert model.state is State.FAILED
    assert "KeyError: 'nowhere'" in model.reason


def test_the_name_is_the_folder_s_unless_a_setting_says_otherwise(services):
    assert make(services / "plain" / "model").name == "plain"
    assert make(services / "plain" / "model" / "model.onnx").name == "model"
    assert make(services / "plain", name="mine").name == "mine"


def test_a_script_that_needs_the_model_file_fails_without_one(package):
    path = package(PARENT + "class S(OnnxServingBaseService):\n    pass\n")
    with pytest.raises(ModelFileError, match=r"expected one model file \(\*\.onnx\), found none"):
        load(path)


def test_a_script_that_runs_its_model_itself_needs_no_model_file_and_no_framework(package):
    model = load(package(ECHO))
    assert model.inputs == ()
    assert "the script runs its model itself" in model.runs_on()


def test_a_script_may_call_the_default_inference_from_its_own(package, model_file):
    path = package(
        PARENT + "class S(OnnxServingBaseService):\n"
        "    def _inference(self, data):\n"
        "        return {'rows': len(super()._inference(data)['y'])}\n",
        **{"model.onnx": model_file},
    )
    assert load(path)({"x": [[1, 2, 3]] * 4}) == {"rows": 4}


@pytest.mark.parametrize(
    "body",
    [
        "def _inference(self, data): return super()._inference(data)",
        "def inference(self, data): return self._inference(data)",
        "def _preprocess(self, data): return data",
    ],
)
def test_a_script_that_relies_on_the_default_inference_has_its_model_file_loaded_first(
    package, body
):
    path = package(
        PARENT + f"class S(OnnxServingBaseService):\n    {body}\n", **{"model.onnx": b"no model"}
    )
    with pytest.raises(ModelFileError, match=r"model\.onnx: not a model"):
        load(path)


@pytest.mark.parametrize(
    "body",
    [
        "def _inference(self, data): return data",
        "def inference(self, data): return data",
        "def inference(self, data): return self._inference(data)\n"
        "    def _inference(self, data): return data",
    ],
)
def test_a_script_that_does_not_rely_on_it_is_not_bothered_with_the_model_file(package, body):
    path = package(
        PARENT + f"class S(OnnxServingBaseService):\n    {body}\n", **{"model.onnx": b"no model"}
    )
    assert load(path)({"a": 1}) == {"a": 1}


def test_the_engine_that_the_user_names_is_taken_or_the_reason_given(services, without_tensorflow):
    assert make(services / "plain", engine="onnx").engine.name == "onnx"
    with pytest.raises(
        EngineError, match="no engine is called 'nosuch'; installed engines: .*onnx"
    ):
        make(services / "plain", engine="nosuch")
    with pytest.raises(EngineError, match=r"pip install 'engineroom\[tensorflow\]'"):
        make(services / "plain", engine="tensorflow")


def test_a_model_type_without_its_engine_says_what_to_install(package, without_tensorflow):
    path = package(**{"config.json": '{"model_type": "TensorFlow"}', "saved_model.pb": b""})
    with pytest.raises(EngineError, match=r"TensorFlow.*pip install 'engineroom\[tensorflow\]'"):
        make(path)


def test_a_model_type_that_does_not_fit_the_files_is_only_a_warning(package, model_file, caplog):
    path = package(**{"config.json": '{"model_type": "Custom"}', "model.onnx": model_file})
    assert make(path).engine.name == "onnx"
    assert "\"model_type\" is 'Custom', which no usable engine recognises" in caplog.text


# --- warm-up


def test_examples_go_through_the_whole_service_before_it_is_ready(package, tmp_path):
    path = package(
        PARENT + "class S(OnnxServingBaseService):\n"
        "    seen = []\n"
        "    def _inference(self, data):\n"
        "        self.seen.append(data)\n"
        "        return [sorted(d) for d in self.seen]\n",
        **{
            "config.json": '{"apis": [{"request": {"data": {"properties": {"pic": {"type": "file"}}}}}]}',
            "examples/a.json": '{"json": 1}',
            "examples/b.png": b"picture",
            "examples/c.form.json": '{"form": ["@d.png"], "text": "0.5"}',
            "examples/d.png": b"picture",
        },
    )
    assert load(path)({"last": 1}) == [["json"], ["pic"], ["form", "text"], ["last"]]


def test_an_example_that_fails_ends_the_start_with_its_name_and_reason(package):
    path = package(
        PARENT
        + "class S(OnnxServingBaseService):\n    def _inference(self, data): return data['b']\n",
        **{"examples/one.json": '{"a": 1}'},
    )
    with pytest.raises(WarmUpError, match=r"one\.json: the example failed: .*KeyError: 'b'"):
        load(path)


# --- errors in a step


def test_an_error_names_the_step_the_line_and_the_exception(package):
    path = package(
        PARENT + "class S(OnnxServingBaseService):\n"
        "    def _inference(self, data): return data\n"
        "    def _postprocess(self, data):\n"
        "        return self.missing\n"
    )
    with pytest.raises(StepError) as caught:
        load(path)({"a": 1})
    detail = caught.value.detail
    assert (detail["step"], detail["where"]) == ("_postprocess", "customize_service.py:5")
    assert detail["line"] == "return self.missing"
    assert detail["exception"].startswith("AttributeError: 'S' object has no attribute")


def test_a_direct_call_waits_for_its_turn_on_a_service_that_is_not_thread_safe(package):
    path = package(
        "import time\n" + PARENT + "class S(OnnxServingBaseService):\n"
        "    def _preprocess(self, data):\n"
        "        self.kept = data\n"
        "        time.sleep(0.01)\n"
        "        return data\n"
        "    def _inference(self, data): return self.kept == data\n"
    )
    model, answers = load(path), []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(model({"i": i}))) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 8


def test_max_concurrency_holds_over_all_models_of_an_engine(package, services, monkeypatch):
    registry = Registry()
    engine = registry.engine("onnx")
    monkeypatch.setattr(type(engine), "max_concurrency", 1)
    path = package(
        "import time\n" + PARENT + "class S(OnnxServingBaseService):\n"
        "    now, most = [0], [0]\n"
        "    def _inference(self, data):\n"
        "        self.now[0] += 1\n"
        "        self.most[0] = max(self.most[0], self.now[0])\n"
        "        time.sleep(0.02)\n"
        "        self.now[0] -= 1\n"
        "        return self.most[0]\n"
    )
    models = [make(path, registry, name=name) for name in ("a", "b")]
    for model in models:
        model.load()
    models[1].service.now, models[1].service.most = models[0].service.now, models[0].service.most
    threads = [threading.Thread(target=model, args=({"a": 1},)) for model in models * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert models[0].service.most == [1]


ONE_AT_A_TIME = """
from engineroom import Engine, hookimpl

class Single(Engine):
    name = "single"
    parent = "model_service.single_model_service.SingleBaseService"
    max_concurrency = 1

    def load(self, path, device, threads):
        raise AssertionError

@hookimpl
def register_engine(register):
    register(Single())
"""
SLOW_SINGLE = """
import time
from model_service.single_model_service import SingleBaseService
time.sleep(0.05)

class S(SingleBaseService):
    def _inference(self, data):
        time.sleep(0.001)
        return data
"""


def test_a_load_and_a_prediction_of_an_engine_with_a_limit_do_not_wait_for_each_other_for_ever(
    install_plugin, tmp_path
):
    install_plugin("single", ONE_AT_A_TIME)
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.mkdir()
        (path / "customize_service.py").write_text(SLOW_SINGLE)
    predicting, end = load(paths[0]), time.monotonic() + 0.5

    def predict():
        while time.monotonic() < end:
            predicting({"a": 1})

    def load_often():
        while time.monotonic() < end:
            load(paths[1])

    threads = [threading.Thread(target=work, daemon=True) for work in (predict, load_often)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
