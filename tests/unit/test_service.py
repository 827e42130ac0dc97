"""The three steps, and what scripts may leave out."""

import threading

import pytest

from engineroom.errors import StepError
from engineroom.service import Service, standing_behind, take_step_times


class Echo:
    """Stands behind: answers what it was asked."""

    def __init__(self, name="echo"):
        self.name = name

    def predict(self, data):
        return {self.name: data}


def test_without_overrides_the_data_goes_straight_to_the_model_and_back():
    with standing_behind(Echo()):
        service = Service("mnist", "/m/model.onnx")
    assert service.inference({"x": 1}) == {"echo": {"x": 1}}


def test_the_three_steps_run_in_order_each_on_the_result_of_the_last():
    class Steps(Service):
        def _preprocess(self, data):
            return [*data, "preprocess"]

        def _inference(self, data):
            return [*data, "inference"]

        def _postprocess(self, data):
            return [*data, "postprocess"]

    assert Steps().inference([]) == ["preprocess", "inference", "postprocess"]


def test_a_constructor_that_never_calls_super_is_no_problem():
    class Forgetful(Service):
        def __init__(self, model_name, model_path):
            self.mine = model_path

    with standing_behind(Echo()):
        service = Forgetful("mnist", "/m")
    assert service.inference(1) == {"echo": 1}
    assert (service.model_name, service.model_path, service.mine) == ("serve", "", "/m")


def test_a_constructor_may_call_super_with_two_arguments_with_one_or_with_none():
    class Two(Service):
        def __init__(self, model_name, model_path):
            super().__init__(model_name, model_path)

    class One(Service):
        def __init__(self, model_path):
            super().__init__(model_path)

    class Zero(Service):
        def __init__(self, **_options):
            super().__init__()

    assert Two("mnist", "/m").model_name == "mnist"
    assert (One("/m").model_name, One("/m").model_path) == ("serve", "/m")
    assert Zero(device="cpu").model_name == "serve"


def test_the_model_name_is_serve_unless_it_is_told():
    assert Service().model_name == "serve"


def test_a_service_is_not_thread_safe_unless_it_says_so():
    assert Service.thread_safe is False


def test_a_service_made_outside_says_why_it_has_no_model():
    class Mine(Service):
        pass

    with pytest.raises(StepError, match=r"Mine was made outside Engineroom.*engineroom\.load"):
        Mine().inference({})


def test_what_stands_behind_is_there_inside_its_block_and_inside_its_thread_only():
    made = []
    with standing_behind(Echo("outer")):
        with standing_behind(Echo("inner")):
            made.append(Service())
        made.append(Service())
        thread = threading.Thread(target=lambda: made.append(Service()))
        thread.start()
        thread.join()
    assert [service.inference(1) for service in made[:2]] == [{"inner": 1}, {"outer": 1}]
    with pytest.raises(StepError, match="outside"):
        made[2].inference(1)


def test_step_times_are_those_of_the_last_inference_and_are_taken_once():
    class Slow(Service):
        def _inference(self, data):
            threading.Event().wait(0.02)
            return data

    Slow().inference(1)
    preprocess, inference, postprocess = take_step_times()
    assert inference >= 0.02 > preprocess + postprocess >= 0
    assert take_step_times() is None


def test_an_override_of_inference_has_no_step_times():
    class Own(Service):
        def inference(self, data):
            return data

    take_step_times()
    assert Own().inference(1) == 1
    assert take_step_times() is None
