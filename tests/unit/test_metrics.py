"""The figures of a model's steps, and what scripts find in MetricsManager."""

import threading

import pytest

from engineroom import load
from engineroom.metrics import Metrics

PARENT = (
    "from metric.metrics_manager import MetricsManager\n"
    "from model_service.onnx_model_service import OnnxServingBaseService\n"
    "class S(OnnxServingBaseService):\n"
)
# As published scripts do it, down to the postprocessing that counts as inference.
REPORTING = (
    PARENT
    + """
    def _inference(self, data): return data

    def inference(self, data):
        def report(key, ms):
            if self.model_name + key in MetricsManager.metrics:
                MetricsManager.metrics[self.model_name + key].update(ms)

        report('_LatencyPreprocess', 10)
        data = self._inference(data)
        report('_LatencyInference', 20)
        report('_LatencyInference', 5)
        report('_LatencyOverall', 35)
        return data
"""
)


def test_a_script_finds_the_metrics_of_its_model_under_the_keys_of_the_contract(package):
    path = package(
        PARENT + "    def _inference(self, data):\n"
        "        return [k for k in MetricsManager.metrics if k.startswith(self.model_name)]"
    )
    keys = ["LatencyPreprocess", "LatencyInference", "LatencyOverall"]
    assert load(path)({"a": 1}) == [f"sample_{key}" for key in keys]
    assert load(path, name="cat")({"a": 1}) == [f"cat_{key}" for key in keys]


@pytest.mark.parametrize("name", ["", "self.model_name = 'mine'", "super().__init__()"])
def test_the_metrics_are_there_whatever_the_script_calls_itself(package, name):
    path = package(
        PARENT + f"    def __init__(self, model_name, model_path):\n        {name or 'pass'}\n"
        "        self.early = self.model_name + '_LatencyOverall' in MetricsManager.metrics\n"
        "    def _inference(self, data):\n"
        "        return [self.early, self.model_name + '_LatencyOverall' in MetricsManager.metrics]"
    )
    assert load(path)({"a": 1}) == ["mine" not in name, True]


def test_what_a_script_reports_are_the_steps_of_the_request_and_the_figures_of_the_model(package):
    model = load(package(REPORTING))
    for _ in range(3):
        answer = model.answer({"a": 1})
    assert answer.step_times == pytest.approx(
        {"preprocess": 0.010, "inference": 0.025, "overall": 0.035}
    )
    assert model.metrics.figures() == {
        "preprocess": {"count": 3, "mean": 10, "last": 10},
        "inference": {"count": 6, "mean": 12.5, "last": 5},
        "overall": {"count": 3, "mean": 35, "last": 35},
    }


def test_a_service_that_reports_nothing_is_timed_all_the_same(package):
    model = load(package(PARENT + "    def _inference(self, data): return data"))
    model({"a": 1})
    figures = model.metrics.figures()
    assert {step: figure["count"] for step, figure in figures.items()} == dict.fromkeys(
        ["preprocess", "inference", "postprocess", "overall"], 1
    )


def test_an_own_inference_that_reports_nothing_has_its_overall_time(package):
    model = load(package(PARENT + "    def inference(self, data): return data"))
    assert model.answer({"a": 1}).step_times == {}
    assert list(model.metrics.figures()) == ["overall"]


def test_an_own_inference_around_the_usual_one_counts_a_request_once(package):
    model = load(
        package(
            PARENT + "    def _inference(self, data): return data\n"
            "    def inference(self, data):\n"
            "        data = super().inference(data)\n"
            "        MetricsManager.metrics['sample_LatencyInference'].update(7)\n"
            "        return data"
        )
    )
    model({"a": 1})
    figures = model.metrics.figures()
    assert {figure["count"] for figure in figures.values()} == {1}
    assert figures["inference"]["last"] == 7


def test_warm_ups_and_failures_are_not_counted(package):
    path = package(
        PARENT + "    def inference(self, data):\n"
        "        MetricsManager.metrics['sample_LatencyPreprocess'].update(1)\n"
        "        return 1 / data['a']",
        **{"examples/one.json": '{"a": 1}'},
    )
    model = load(path)
    assert model.metrics.figures() == {}
    with pytest.raises(Exception, match="ZeroDivisionError"):
        model({"a": 0})
    assert "overall" not in model.metrics.figures()
    assert model.answer({"a": 1}).step_times == {"preprocess": 0.001}


def test_two_models_in_one_process_have_their_own_metrics(package, tmp_path):
    one, two = load(package(REPORTING), name="one"), load(package(REPORTING), name="two")
    one({"a": 1})
    assert one.metrics.figures()["overall"]["count"] == 1
    assert two.metrics.figures() == {}


def test_no_update_is_lost_between_threads():
    metric = Metrics().by_key(["m"])["m_LatencyOverall"]
    threads = [
        threading.Thread(target=lambda: [metric.update(2) for _ in range(2000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metric.figures() == {"count": 8000, "mean": 2, "last": 2}
