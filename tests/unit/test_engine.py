"""What an engine declares, and the loading of its model file at the right time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from engineroom.devices import Place
from engineroom.engine import Engine, LazyPredictor, Predictor
from engineroom.errors import DeviceError, EngineError, InvalidTensorError, ModelFileError
from engineroom.service import Service
from engineroom.values import CPU, Device, TensorSpec


class Doubling(Predictor):
    inputs = (TensorSpec("x", ("N", 2), "float32"),)
    closed = False

    def run(self, feeds):
        self.fed = feeds
        return {"y": feeds["x"] * 2}

    def close(self):
        self.closed = True


class Doubler(Engine):
    name = "doubler"
    parent = "model_service.doubler_model_service.DoublerBaseService"
    loads = 0

    def load(self, path, device, threads):
        self.loads += 1
        self.loaded_with = path, device, threads
        return Doubling()


def lazy(engine, find=lambda: Path("model.two"), device="auto"):
    return LazyPredictor(engine, find, Place(device), threads=3, model="mnist")


# --- the service class


def test_a_service_class_is_made_from_the_declared_parent():
    cls = Doubler().service_class()
    assert issubclass(cls, Service)
    assert f"{cls.__module__}.{cls.__name__}" == Doubler.parent


def test_the_service_class_is_made_once():
    engine = Doubler()
    assert engine.service_class() is engine.service_class()


# --- the framework


def with_frameworks(*requirements):
    engine = Doubler()
    engine.frameworks = requirements
    return engine


def test_an_engine_without_a_framework_has_no_version():
    assert Doubler().framework_version() is None


def test_the_framework_s_version_comes_from_metadata():
    assert with_frameworks("pluggy>=1").framework_version() == f"pluggy {version('pluggy')}"


def test_any_of_several_frameworks_will_do():
    engine = with_frameworks("no-such-distribution>=1", "pluggy>=999", "click>=8")
    assert engine.framework_version() == f"click {version('click')}"


def test_a_missing_framework_of_ours_is_installed_by_its_extra():
    engine = with_frameworks("no-such-distribution>=2")
    engine.name = "onnx"
    with pytest.raises(EngineError, match=r"found none; run: pip install 'engineroom\[onnx\]'"):
        engine.framework_version()


def test_a_framework_that_is_too_old_is_named_with_the_command_that_helps():
    with pytest.raises(EngineError) as caught:
        with_frameworks("pluggy>=999").framework_version()
    assert str(caught.value) == (
        f"engine 'doubler' needs pluggy>=999, found pluggy {version('pluggy')}; "
        "run: pip install --upgrade 'pluggy>=999'"
    )


def test_a_framework_that_is_missing_is_named_with_the_command_that_helps():
    with pytest.raises(EngineError, match="needs no-such-distribution>=1, found none"):
        with_frameworks("no-such-distribution>=1", "nor-this").framework_version()


# --- concurrency


def test_an_engine_without_a_limit_lets_everybody_in():
    gate = Doubler().gate
    with gate, gate:
        pass


def test_an_engine_with_a_limit_lets_that_many_in_over_all_its_models():
    engine = Doubler()
    engine.max_concurrency = 2
    inside, most = [], []

    def work():
        with engine.gate:
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 2


def test_the_limit_is_the_process_s_and_not_that_of_one_registry():
    one, other = Doubler(), Doubler()
    one.max_concurrency = other.max_concurrency = 1
    assert one.gate is other.gate


def test_who_is_let_in_may_load_what_it_predicts_with():
    engine = Doubler()
    engine.max_concurrency = 1
    with engine.gate, ThreadPoolExecutor(1) as pool:  # as a script may do that waits for the thread
        answer = pool.submit(lazy(engine).predict, {"x": [[1, 2]]}).result(5)
    assert answer["y"].tolist() == [[2, 4]]


# --- loading


class Picky(Doubler):
    """A card is listed and turns out not to work: nobody here has one."""

    def devices(self):
        return (Device("cuda", 0), CPU)

    def load(self, path, device, threads):
        if device.kind == "cuda":
            raise DeviceError("cuda:0 is out of order")
        return super().load(path, device, threads)


def test_auto_takes_the_next_device_when_one_does_not_work_and_says_so(caplog):
    engine = Picky()
    lazy(engine).load()
    assert engine.loaded_with[1] == CPU
    assert "cuda:0 is out of order; trying the next device" in caplog.text


def test_a_device_asked_for_that_does_not_work_ends_the_load():
    with pytest.raises(DeviceError, match="out of order"):
        lazy(Picky(), device="cuda").load()


def test_a_framework_that_cannot_be_imported_is_a_load_error():
    class Broken(Doubler):
        def devices(self):
            raise ImportError("libcudart.so: cannot open shared object file")

    with pytest.raises(EngineError, match="cannot be used: ImportError: libcudart"):
        lazy(Broken()).load()


def test_a_model_file_is_loaded_when_it_is_first_needed():
    engine = Doubler()
    predictor = lazy(engine)
    assert engine.loads == 0
    assert predictor.load() is predictor.load()
    assert engine.loads == 1
    assert engine.loaded_with == (Path("model.two"), CPU, 3)


def test_threads_that_need_it_at_once_load_it_once():
    engine = Doubler()
    predictor = lazy(engine)
    threads = [threading.Thread(target=predictor.load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.loads == 1


def test_a_missing_model_file_is_an_error_only_for_whoever_needs_it():
    def find():
        raise ModelFileError("no model file")

    predictor = lazy(Doubler(), find)
    with pytest.raises(ModelFileError, match="no model file"):
        predictor.load()


def test_a_missing_framework_is_told_before_the_engine_tries():
    engine = with_frameworks("no-such-distribution")
    with pytest.raises(EngineError, match="needs no-such-distribution"):
        lazy(engine).load()
    assert engine.loads == 0


def test_a_device_that_is_not_there_is_told_before_the_engine_tries():
    engine = Doubler()
    with pytest.raises(DeviceError, match="'npu:0' is not there"):
        lazy(engine, device="npu:0").load()
    assert engine.loads == 0


def test_predict_turns_lists_into_the_declared_arrays():
    assert lazy(Doubler()).predict({"x": [[1, 2]]})["y"].tolist() == [[2.0, 4.0]]


def test_predict_hands_an_array_that_fits_over_as_it_is():
    predictor, rows = lazy(Doubler()), np.ones((3, 2), np.float32)
    predictor.predict({"x": rows})
    assert predictor.load().fed["x"] is rows


def test_predict_names_the_model_in_its_refusals():
    with pytest.raises(InvalidTensorError, match='"mnist"'):
        lazy(Doubler()).predict({"x": [[1]]})


def test_the_default_warm_up_runs_the_smallest_inputs():
    predictor = Doubling()
    predictor.warm_up()
    assert predictor.fed["x"].tolist() == [[0.0, 0.0]]


class Pickled(Doubler):
    def code_in(self, path):
        return "is a pickle"


def test_a_file_with_code_in_it_is_loaded_only_where_that_is_allowed(caplog):
    refused = lazy(Pickled())
    with pytest.raises(ModelFileError, match=r"model\.two is a pickle.*--allow-pickle"):
        refused.load()
    assert refused.engine.loads == 0
    allowed = lazy(Pickled())
    allowed.allow_pickle = True
    allowed.load()
    assert "model.two is a pickle: reading it runs code that is in it" in caplog.text


def test_closing_gives_back_what_was_loaded_and_may_be_repeated():
    predictor = lazy(Doubler())
    loaded = predictor.load()
    predictor.close()
    predictor.close()
    assert loaded.closed
    assert predictor.predictor is None


def test_closing_what_was_never_loaded_loads_nothing():
    engine = Doubler()
    lazy(engine).close()
    assert engine.loads == 0


# --- the defaults of a small engine


def test_an_engine_runs_on_the_cpu_and_brings_no_template_unless_it_says_so():
    assert (Doubler().devices(), Doubler().template()) == ((CPU,), None)


def test_an_engine_without_load_cannot_be_made():
    class Half(Engine):
        name = "half"

    with pytest.raises(TypeError, match="load"):
        Half()


# --- what only the layers can refuse


@pytest.mark.parametrize(
    ("shape", "is_open"),
    [((), False), ((2, 3), False), (("N", 3), True), ((None,), True), (None, True)],
)
def test_sizes_are_open_where_a_shape_leaves_one_to_the_client(shape, is_open):
    predictor = Doubling()
    predictor.inputs = (TensorSpec("x", shape, "float32"),)
    assert predictor.has_open_sizes is is_open


def test_a_refusal_says_what_is_declared_and_what_came():
    error = Doubling().refusal({"x": np.ones((1, 3), np.float32)}, "3 rows needed")
    assert str(error) == (
        f"the model declares {error.detail['expected']} and cannot run on "
        '"x" (1, 3) float32: 3 rows needed'
    )
