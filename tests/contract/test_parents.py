"""The parent classes, how a service is found and made, and what is called for a request."""

import logging

import pytest

from engineroom import load
from engineroom.errors import LoadError, ScriptError, StepInputError

FORM = {
    "TfServingBaseService": "model_service.tfserving_model_service",
    "PTServingBaseService": "model_service.pytorch_model_service",
    "SingleNodeService": "model_service.model_service",
    "CaffeBaseService": "model_service.caffe_model_service",
    "HiaiBaseService": "model_service.hiai_model_service",
    "MXNetBaseService": "mms.model_service.mxnet_model_service",
}
TEXT = {
    "XgSklServingBaseService": "model_service.python_model_service",
    "SparkServingBaseService": "model_service.spark_model_service",
}
PARENTS = FORM | TEXT
USUAL = ["TfServingBaseService", "PTServingBaseService", "SingleNodeService"]


def script(body: str, parent: str = "SingleNodeService", top: str = "") -> str:
    """A script whose only class has ``body``."""
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    return f"{top}\nfrom {PARENTS[parent]} import {parent}\n\nclass Service({parent}):\n{lines}\n"


def answer(package, code: str, data=(1,), **files):
    """What the service of ``code`` answers."""
    return load(package(code, **files))(list(data) if isinstance(data, tuple) else data)


# --- the classes


@pytest.mark.parametrize("parent", PARENTS)
def test_each_parent_class_is_imported_by_its_name_and_may_be_subclassed(package, parent):
    body = "def _preprocess(self, data): return 'in'\ndef _inference(self, data): return data\n"
    body += "def _postprocess(self, data): return [data, 'out']"
    assert answer(package, script(body, parent), "text" if parent in TEXT else (1,)) == [
        "in",
        "out",
    ]


@pytest.mark.parametrize("parent", FORM)
def test_the_first_and_the_last_step_pass_through_what_they_get(package, parent):
    data = {"a": [1]}
    assert answer(package, script("def _inference(self, data): return data", parent), data) is data


@pytest.mark.parametrize("parent", ["SingleNodeService", "CaffeBaseService", "HiaiBaseService"])
def test_a_script_without_an_inference_under_a_parent_that_has_none_is_told_so(package, parent):
    with pytest.raises(LoadError, match="override _inference|pip install"):
        load(package(script("pass", parent)))


def test_the_net_of_a_pytorch_service_is_none_until_the_script_sets_it(package):
    pytest.importorskip("engineroom_pytorch")
    body = (
        "def __init__(self, model_name, model_path):\n"
        "    super().__init__(model_name, model_path)\n"
        "    self.before = self.model\n"
        "def _inference(self, data): return self.before"
    )
    assert answer(package, script(body, "PTServingBaseService")) is None


# --- how it is made


@pytest.mark.parametrize("parent", ["TfServingBaseService", "PTServingBaseService",
                                    "SingleNodeService", "CaffeBaseService"])  # fmt: skip
@pytest.mark.parametrize(
    "signature",
    [
        "self, model_name, model_path",
        "self, a, b",
        "self, model_name, model_path, size=3",
        "self, *a",
    ],
)
def test_a_service_is_made_with_name_and_path_by_position(package, parent, signature):
    body = (
        f"def __init__({signature}):\n"
        "    got = dict(locals())\n    got.pop('self')\n    self.got = got\n"
        "def _inference(self, data): return list(self.got.values())"
    )
    path = package(script(body, parent))
    name_and_path = ["sample", str(path / "model")]
    wanted = {"self, *a": [tuple(name_and_path)]}.get(signature, name_and_path)
    assert load(path)([1])[:2] == wanted


@pytest.mark.parametrize("parent", PARENTS)
def test_a_service_that_takes_one_argument_gets_the_path(package, parent):
    body = (
        "def __init__(self, model_path): self.path = model_path\n"
        "def _inference(self, data): return self.path\n"
        "def _preprocess(self, data): return data\n"
        "def _postprocess(self, data): return data"
    )
    path = package(script(body, parent))
    assert load(path)("text" if parent in TEXT else [1]) == str(path / "model")


@pytest.mark.parametrize("parent", TEXT)
def test_engines_of_one_argument_make_their_services_with_the_path_alone(package, parent):
    body = (
        "def __init__(self, *got): self.got = got\ndef inference(self, data): return list(self.got)"
    )
    path = package(script(body, parent))
    assert load(path)("text") == [str(path / "model")]


def test_a_service_under_mxnet_is_made_with_four_arguments(package):
    body = (
        "def __init__(self, model_name, model_dir, manifest, gpu=None):\n"
        "    self.got = [model_name, model_dir, gpu]\n"
        "def _inference(self, data): return self.got"
    )
    path = package(script(body, "MXNetBaseService"))
    assert load(path)([1]) == ["sample", str(path / "model"), None]


CONSTRUCTORS = {
    "without super": "def __init__(self, model_name, model_path):\n    self.size = 3",
    "super()": "def __init__(self, model_name, model_path):\n"
    "    super().__init__(model_name, model_path)",
    "super() of nothing": "def __init__(self, model_name, model_path):\n    super().__init__()",
    "super() by keyword": "def __init__(self, model_name, model_path):\n"
    "    super().__init__(model_path=model_path, model_name=model_name)",
    "the class above": "def __init__(self, model_name, model_path):\n"
    "    super({parent}, self).__init__(model_name, model_path)",
    "by name": "def __init__(self, model_name, model_path):\n"
    "    {parent}.__init__(self, model_name, model_path)",
    "none": "size = 3",
}


@pytest.mark.parametrize("parent", USUAL)
@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_nothing_depends_on_the_constructor_of_the_parent(serve, parent, constructor):
    body = CONSTRUCTORS[constructor].format(parent=parent)
    client = serve(script(f"{body}\ndef _inference(self, data): return data", parent))
    assert client.post("/", json={"a": 1}).json() == {"a": 1}


@pytest.mark.parametrize("parent", USUAL)
@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_name_and_path_are_there_however_the_service_was_made(package, parent, constructor):
    body = CONSTRUCTORS[constructor].format(parent=parent)
    step = "def _inference(self, data): return [self.model_name, self.model_path]"
    path = package(script(f"{body}\n{step}", parent))
    assert load(path)([1]) == ["sample", str(path / "model")]


def test_the_pytorch_parent_may_be_given_the_path_alone(package):
    body = (
        "def __init__(self, model_name, model_path):\n"
        "    super(Service, self).__init__(model_path)\n"
        "    self.path = self.model_path\n"
        "def _inference(self, data): return self.path"
    )
    path = package(script(body, "PTServingBaseService"))
    assert load(path)([1]) == str(path / "model")


@pytest.mark.parametrize(
    "body",
    [
        "def __init__(self, model_name, model_path):\n    self.model_path = 'elsewhere'",
        "def __init__(self, model_name, model_path):\n"
        "    super().__init__(model_name, model_path)\n    self.model_path = 'elsewhere'",
        "def __init__(self, model_name, model_path): super().__init__(model_name, 'elsewhere')",
    ],
)
def test_a_script_may_point_model_path_elsewhere(package, body):
    step = "def _inference(self, data): return self.model_path"
    assert answer(package, script(f"{body}\n{step}")) == "elsewhere"


def test_the_name_is_the_folder_s_and_not_serve_unless_it_is_told(package):
    path = package(script("def _inference(self, data): return self.model_name"))
    assert [load(path)([1]), load(path, name="serve")([1])] == ["sample", "serve"]


# --- which class it is


def services(text: str) -> str:
    """A script in which ``P`` is a parent class and ``def run`` a step that says who runs it."""
    return (
        "from model_service.model_service import SingleNodeService as P\n"
        "def run(self, data): return type(self).__name__\n" + text
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("class A(P): _inference = run", "A"),
        ("class Base(P): pass\nclass Leaf(Base): _inference = run", "Leaf"),
        ("class A(P): _inference = run\nclass B(A): pass\nclass C(B): pass", "C"),
        ("class Mixin: _inference = run\nclass A(Mixin, P): pass", "A"),
        ("class Mixin: _inference = run\nclass A(P, Mixin):\n  _inference = Mixin._inference", "A"),
        ("class X(P): pass\nclass Y(P): pass\nclass Z(X, Y): _inference = run", "Z"),
        ("class A(P): _inference = run\nB = A\nModel = A", "A"),
        ("class A(P): _inference = run\nclass Helper: pass\nclass Config(dict): pass", "A"),
        ("import abc\nclass A(P, metaclass=abc.ABCMeta): _inference = run", "A"),
        ("if True:\n  class A(P): _inference = run\nelse:\n  class B(P): pass", "A"),
        ("def make():\n  class Inner(P): pass\n  return Inner\nclass A(P): _inference = run", "A"),
        ("class A(P):\n  class Inner: pass\n  _inference = run", "A"),
        ("class A(P): pass\nclass A(P): _inference = run", "A"),
        ("class A(P): _inference = run\nservice = A('m', 'p')", "A"),
    ],
)
def test_the_one_leaf_among_the_subclasses_of_a_parent_is_the_service(package, text, wanted):
    assert answer(package, services(text)) == wanted


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("from model_service.model_service import SingleNodeService as P\nclass Base(P): pass",
         "from base import Base\nclass A(Base): _inference = run"),
        ("from model_service.model_service import SingleNodeService as P\n"
         "class A(P):\n  def _inference(self, data): return 'A'", "from base import A"),
        ("from model_service.model_service import SingleNodeService as P\nclass Other(P): pass",
         "from base import Other\nclass A(P): _inference = run"),
        ("class A:\n  def _inference(self, data): return 'A'", "import base\nclass A(base.A, P): pass"),
    ],
)  # fmt: skip
def test_the_service_or_its_base_may_come_from_a_module_beside_the_script(package, module, text):
    assert answer(package, services(text), **{"base.py": module}) == "A"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class A(P): _inference = run\nclass B(P): _inference = run", "found A .line 3. and B"),
        ("class X(P): pass\nclass A(X): pass\nclass B(X): pass", "found A .line 4. and B"),
        ("class A:\n  def _inference(self, data): pass", "found A without such a parent"),
        ("class A: pass", "found none"),
        ("A = P", "found none"),
        ("def inference(data): return data", "found none"),
    ],
)
def test_no_leaf_or_several_are_an_error_that_names_what_was_found(package, text, words):
    with pytest.raises(ScriptError, match=words):
        load(package(services(text)))


def test_a_leaf_under_two_parents_is_one_service(package):
    text = "from model_service.pytorch_model_service import PTServingBaseService as Q\n"
    assert answer(package, services(text + "class A(P, Q): _inference = run")) == "A"


# --- what is called


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("def _inference(self, data): return data + ['i']", [1, "i"]),
        ("def _inference(self, data): return data\n"
         "def _preprocess(self, data): return data + ['a']", [1, "a"]),
        ("def _inference(self, data): return data\n"
         "def _postprocess(self, data): return data + ['o']", [1, "o"]),
        ("def _preprocess(self, data): return data + ['a']\n"
         "def _inference(self, data): return data + ['i']\n"
         "def _postprocess(self, data): return data + ['o']", [1, "a", "i", "o"]),
        ("def inference(self, data): return 'whole'", "whole"),
        ("def _preprocess(self, data): raise OSError\ndef inference(self, data): return 'whole'", "whole"),
    ],
)  # fmt: skip
def test_each_step_and_inference_itself_may_be_overridden(package, body, wanted):
    assert answer(package, script(body)) == wanted


@pytest.mark.parametrize(
    "body",
    [
        # As in published scripts: what one step gives does not fit the usual next one.
        "def _preprocess(self, data): return data, 2\n"
        "def _inference(self, data, width): return data * width\n"
        "def inference(self, data):\n"
        "    data, width = self._preprocess(data)\n"
        "    return self._inference(data, width)",
        "def _preprocess(self, data, width=2): return data * width\n"
        "def _inference(self, data): return data",
        "def _inference(self, *args, **options): return args[0] * 2",
        "@staticmethod\ndef _inference(data): return data * 2",
        "@classmethod\ndef _inference(cls, data): return data * 2",
        "_inference = lambda self, data: data * 2",
        "def run(self, data, width): return data * width\n"
        "def inference(self, data, **options): return self.run(data, 2)",
        "def _postprocess(self, data, shape): return data * shape\n"
        "def inference(self, data): return self._postprocess(data, 2)",
        "def inference(self, request_data): return request_data * 2",
        "def __init__(self, model_name, model_path): self.inference = lambda data: data * 2",
        "def __init__(self, model_name, model_path): self._inference = lambda data: data * 2",
        "def inference(self, data): return super().inference(data) * 2\n"
        "def _inference(self, data): return data",
    ],
)
def test_inference_is_the_one_entry_point_whatever_the_signatures_of_the_steps(package, body):
    assert answer(package, script(body)) == [1, 1]


def test_steps_whose_signatures_do_not_fit_each_other_fail_the_request(package):
    model = load(package(script("def _inference(self, data, width): return data * width")))
    with pytest.raises(StepInputError, match="width"):
        model([1])


def test_the_log_has_the_milliseconds_of_each_step(serve, caplog):
    caplog.set_level(logging.INFO, "engineroom")
    serve(script("def _inference(self, data): return data")).post("/", json={"a": 1})
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("POST / 200")]
    for step in ("preprocess", "inference", "postprocess"):
        assert f"{step} 0." in line


REPORTING = script(
    """
def _inference(self, data):
    return {"label": "cat"}

def inference(self, data):
    start = time.time()
    data = self._preprocess(data)
    before_inference = time.time()
    pre_ms = (before_inference - start) * 1000
    if self.model_name + "_LatencyPreprocess" in MetricsManager.metrics:
        MetricsManager.metrics[self.model_name + "_LatencyPreprocess"].update(pre_ms)
    data = self._inference(data)
    inference_ms = (time.time() - before_inference) * 1000
    if self.model_name + "_LatencyInference" in MetricsManager.metrics:
        MetricsManager.metrics[self.model_name + "_LatencyInference"].update(inference_ms)
    data = self._postprocess(data)
    if self.model_name + "_LatencyOverall" in MetricsManager.metrics:
        MetricsManager.metrics[self.model_name + "_LatencyOverall"].update(pre_ms + inference_ms)
    data["latency_time"] = "%.1f ms" % (pre_ms + inference_ms)
    data["keys"] = sorted(MetricsManager.metrics)
    return data
""",
    top="import time\nfrom metric.metrics_manager import MetricsManager",
)


def test_an_inference_of_the_script_s_own_may_report_to_the_metrics(serve):
    told = serve(REPORTING).post("/", json={"a": 1}).json()
    assert (told["label"], told["latency_time"][-3:]) == ("cat", " ms")
    keys = ["sample_LatencyInference", "sample_LatencyOverall", "sample_LatencyPreprocess"]
    assert set(keys) <= set(told["keys"])


# --- what else can be imported


@pytest.mark.parametrize(
    "line",
    [
        "import log\nlogger = log.getLogger(__name__)",
        "from model_service import log\nlogger = log.getLogger(__name__)",
        "import model_service.log as log\nlogger = log.getLogger(__name__)",
        "from model_service.log import getLogger\nlogger = getLogger(__name__)",
        "from mms.log import get_logger\nlogger = get_logger(__name__)",
    ],
)
def test_a_logger_comes_from_any_of_the_platform_s_modules(package, caplog, line):
    caplog.set_level(logging.INFO)
    body = "def _inference(self, data):\n    logger.info('shape %s', data)\n    return logger.name"
    assert answer(package, script(body, top=line)) == "customize_service"
    assert "shape [1]" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "from metric.metrics_manager import MetricsManager",
        "from mms.metrics_manager import MetricsManager",
        "from mms.utils.mxnet import image, ndarray",
        "from mms.model_service.mxnet_vision_service import MXNetVisionService",
        "from mms.model_service.model_service import SingleNodeService as Node",
    ],
)
def test_other_modules_of_the_platform_can_be_imported(package, line):
    assert answer(package, script("def _inference(self, data): return 'ran'", top=line)) == "ran"


@pytest.mark.parametrize("name", ["log", "metric", "mms", "model_service"])
def test_such_names_are_nobody_else_s(package, name):
    import importlib.util
    import sys

    load(package(script("def _inference(self, data): return data", top=f"import {name}")))([1])
    assert name not in sys.modules
    assert importlib.util.find_spec(name) is None


@pytest.mark.parametrize("name", ["log", "metric", "mms"])
def test_a_module_of_such_a_name_in_the_package_wins(package, name):
    code = script(f"def _inference(self, data): return {name}.OWN", top=f"import {name}")
    assert answer(package, code, **{f"{name}.py": "OWN = 'own'"}) == "own"
