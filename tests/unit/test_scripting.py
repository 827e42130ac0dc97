"""How a customize_service.py is loaded: the contract's sections on parents and environment."""

import importlib
import os
import sys
import threading
import time

import pytest

from engineroom import load
from engineroom.errors import EngineError, ScriptError, StepError

PARENT = "from model_service.onnx_model_service import OnnxServingBaseService\n"
ECHO = PARENT + "class S(OnnxServingBaseService):\n    def _inference(self, data): return data\n"


def script(body: str) -> str:
    """A script with one service class, whose methods are ``body``."""
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    return f"import os, sys, threading, time\n{PARENT}class S(OnnxServingBaseService):\n{lines}\n"


# --- what exists while a script runs


def test_the_contract_s_modules_exist_while_a_script_runs_and_not_after(package):
    path = package(
        "import log, sys\n"
        "from model_service import log as other\n"
        "from model_service.log import getLogger\n"
        "from metric.metrics_manager import MetricsManager\n"
        + script(
            "def _inference(self, data):\n"
            "    assert sys.modules['log'] is log\n"
            "    return [other.getLogger('a').name, log.INFO, type(MetricsManager.metrics)]"
        )
    )
    before = set(sys.modules)
    assert load(path)({"a": 1}) == ["a", 20, dict]
    lent = {"model_service", "log", "metric", "customize_service"}
    assert not lent & {name.partition(".")[0] for name in set(sys.modules) - before}


def test_nothing_of_it_is_left_on_the_path_or_in_the_working_directory(package):
    path, cwd, meta = list(sys.path), os.getcwd(), list(sys.meta_path)
    load(package(ECHO))({"a": 1})
    assert (sys.path, os.getcwd(), sys.meta_path) == (path, cwd, meta)


def test_both_folders_are_importable(package):
    path = package(
        "from helpers import A\nfrom model.helpers import A as B\n"
        + script("def _inference(self, data): return [A, B, __file__, sys.path[:2]]"),
        **{"helpers.py": "A = 1"},
    )
    model_folder = str(path / "model")
    assert load(path)({"a": 1}) == [
        1, 1, f"{model_folder}/customize_service.py", [model_folder, str(path)],
    ]  # fmt: skip


def test_a_module_called_log_in_the_package_wins(package):
    path = package(
        "import log, metric\n" + script("def _inference(self, data): return log.A + metric.B"),
        **{"log.py": "A = 'own '", "metric/__init__.py": "B = 'metric'"},
    )
    assert load(path)({"a": 1}) == "own metric"


def test_two_packages_with_modules_of_one_name_do_not_mix(tmp_path):
    models = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "utils.py").write_text(f"NAME = {name!r}")
        (tmp_path / name / "customize_service.py").write_text(
            script("def _inference(self, data):\n    import utils\n    return utils.NAME")
        )
        models.append(load(tmp_path / name))
    assert [model({"a": 1}) for model in (*models, *models)] == ["one", "two", "one", "two"]


def test_a_folder_of_the_package_leaves_when_the_process_has_one_of_that_name(
    package, tmp_path, monkeypatch
):
    (tmp_path / "mine" / "parts").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    path = package(
        "from parts.b import f\n" + script("def _inference(self, data): return f()"),
        **{"parts/b.py": "def f(): return 'of the package'\n"},
    )
    assert load(path)({"a": 1}) == "of the package"
    assert "parts" not in sys.modules


@pytest.mark.parametrize("theirs", ["utils.py", "utils/__init__.py", "utils/other.py"])
def test_a_module_that_the_process_has_of_the_same_name_is_not_the_script_s(
    package, tmp_path, monkeypatch, theirs
):
    file = tmp_path / "mine" / theirs
    file.parent.mkdir(parents=True)
    file.write_text("WHOSE = 'mine'")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.setitem(sys.modules, "utils", None)  # so that it is gone again after the test
    del sys.modules["utils"]
    mine = importlib.import_module("utils")
    path = package(
        "from utils import WHOSE\n" + script("def _inference(self, data): return WHOSE"),
        **{"utils.py": "WHOSE = 'the package'"},
    )
    assert load(path)({"a": 1}) == "the package"
    assert sys.modules["utils"] is mine


def test_a_parent_that_no_engine_has_says_what_to_install(package):
    path = package(
        "from model_service.caffe_model_service import CaffeBaseService\n"
        "class S(CaffeBaseService): pass"
    )
    with pytest.raises(EngineError, match=r"CaffeBaseService needs Caffe.*override _inference"):
        load(path)


def test_a_step_that_unloads_modules_keeps_nobody_waiting(package):
    import email.mime.text  # noqa: F401

    path = package(
        script(
            "def _inference(self, data):\n"
            "    return len([sys.modules.pop(n) for n in list(sys.modules) if n[:5] == 'email'])"
        )
    )
    model, answers = load(path), []
    saved = {name: module for name, module in sys.modules.items() if name[:5] == "email"}
    try:
        answers.append(model({"a": 1}))
        thread = threading.Thread(target=lambda: answers.append(model({"a": 1})))
        thread.start()
        thread.join(5)
    finally:
        sys.modules.update(saved)
    assert answers == [len(saved), 0]


def test_a_script_s_annotations_are_what_it_wrote(package):
    path = package(
        "def f(x: int): pass\n"
        + script("def _inference(self, data): return f.__annotations__['x'] is int")
    )
    assert load(path)({"a": 1}) is True


# --- the class


def test_the_leaf_class_is_the_service(package):
    path = package(
        PARENT
        + "class Base(OnnxServingBaseService):\n    def _inference(self, data): return 'base'\n"
        + "class Leaf(Base):\n    def _inference(self, data): return 'leaf'\n"
    )
    assert load(path)({"a": 1}) == "leaf"


def test_a_service_class_may_come_from_a_module_beside_the_script(package):
    path = package("from impl import S", **{"impl.py": ECHO})
    assert load(path)({"a": 1}) == {"a": 1}


def test_a_class_without_a_parent_is_named(package):
    path = package(PARENT + "class S:\n    def _inference(self, data): return data\n")
    line = f"write: {PARENT.strip()}"
    with pytest.raises(ScriptError, match=f"found S without such a parent; {line} and class S"):
        load(path)


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("files", [{"config.json": '{"model_type": "Fake"}'}, {"m.fake": "2"}])
def test_the_parent_to_write_follows_the_model_type_or_the_model_file(package, files):
    path = package("class S:\n    def _inference(self, data): pass\n", **files)
    line = "from model_service.fake_model_service import FakeServingBaseService"
    with pytest.raises(ScriptError, match=rf"write: {line} and class S\(FakeServingBaseService\)"):
        load(path)


def test_a_syntax_error_is_named_with_its_line(package):
    with pytest.raises(ScriptError, match=r"customize_service\.py:2: not Python"):
        load(package("a = 1\nb = = 2\n"))


def test_a_missing_module_is_named_with_the_command_that_installs_it(package):
    path = package(PARENT + "import nosuchmodule.sub\n")
    with pytest.raises(ScriptError, match=r"py:2: .*'nosuchmodule'.*pip install nosuchmodule"):
        load(path)


def test_a_part_that_an_installed_library_no_longer_has_is_not_to_be_installed(package):
    with pytest.raises(
        ScriptError, match=r"'numpy\.contrib' does not exist in the installed numpy"
    ):
        load(package(PARENT + "import numpy.contrib\nnumpy.contrib\n"))


def test_exit_while_importing_is_a_failed_load(package):
    with pytest.raises(ScriptError, match="SystemExit"):
        load(package(PARENT + "exit(0)\n"))


# --- construction


@pytest.mark.parametrize(
    ("signature", "wanted"),
    [
        ("self, model_name, model_path", "['sample', 'FILE']"),
        ("self, a, b='x', c='y'", "['sample', 'FILE']"),
        ("self, *args", "['sample', 'FILE']"),
        ("self, model_path", "['FILE']"),
        ("self", "[]"),
    ],
)
def test_construction_is_positional(package, services, signature, wanted):
    model_file = (services / "plain" / "model" / "model.onnx").read_bytes()
    path = package(
        script(
            f"def __init__({signature}):\n"
            "    values = {k: v for k, v in locals().items() if k not in ('self', '__class__')}\n"
            "    self.got = list(values.pop('args', values.values()))[:2]\n"
            "def _inference(self, data): return self.got"
        ),
        **{"model.onnx": model_file},
    )
    got = [str(value).replace(str(path / "model" / "model.onnx"), "FILE")
           for value in load(path)({"a": 1})]  # fmt: skip
    assert str(got) == wanted


def test_the_class_above_the_parent_takes_both_arguments(package):
    path = package(
        script(
            "def __init__(self, model_name, model_path):\n"
            "    super(OnnxServingBaseService, self).__init__(model_name, model_path)\n"
            "def _inference(self, data): return self.model_name"
        )
    )
    assert load(path)({"a": 1}) == "sample"


def test_without_super_the_default_inference_still_runs_the_model(package, services):
    path = package(
        script("def __init__(self, model_name, model_path): pass"),
        **{"model.onnx": (services / "plain" / "model" / "model.onnx").read_bytes()},
    )
    assert load(path)({"x": [[1, 0, 0]]})["y"].tolist() == [[0.0, 1.0]]


def test_an_own_inference_is_the_only_entry_point(package):
    path = package(
        script(
            "def _preprocess(self, data): return data, 2\n"
            "def _inference(self, data, width): return [data, width]\n"
            "def inference(self, data):\n"
            "    data, width = self._preprocess(data)\n"
            "    return self._inference(data, width)"
        )
    )
    assert load(path)({"a": 1}) == [{"a": 1}, 2]


def test_a_failing_constructor_is_named_with_its_line(package):
    path = package(script("def __init__(self, a, b):\n    raise OSError('no weights')"))
    with pytest.raises(ScriptError, match=r"py:5: class S could not be made: OSError: no weights"):
        load(path)


# --- threads that the constructor starts


def test_a_thread_that_loads_is_waited_for(package):
    path = package(
        script(
            "def __init__(self, a, b): threading.Thread(target=self.load).start()\n"
            "def load(self):\n    time.sleep(0.2)\n    self.model = 'loaded'\n"
            "def _inference(self, data): return self.model"
        )
    )
    assert load(path)({"a": 1}) == "loaded"


def test_a_thread_started_by_a_thread_is_waited_for_too(package):
    path = package(
        script(
            "def __init__(self, a, b): threading.Thread(target=self.first).start()\n"
            "def first(self): threading.Thread(target=self.second).start()\n"
            "def second(self):\n    time.sleep(0.2)\n    self.model = 'loaded'\n"
            "def _inference(self, data): return self.model"
        )
    )
    assert load(path)({"a": 1}) == "loaded"


def test_an_exception_in_a_thread_is_a_failed_load_with_its_traceback(package):
    path = package(
        script(
            "def __init__(self, a, b): threading.Thread(target=self.load, name='loader').start()\n"
            "def load(self): raise KeyError('weights')"
        )
    )
    hook = threading.excepthook
    with pytest.raises(
        ScriptError, match=r"py:5: the thread loader.*KeyError: 'weights'"
    ) as caught:
        load(path)
    assert isinstance(caught.value.__cause__, KeyError)
    assert threading.excepthook is hook


def test_a_thread_that_never_ends_is_a_failed_load_after_the_time_for_it(package):
    path = package(
        script(
            "def __init__(self, a, b): threading.Thread(target=self.load, name='hangs').start()\n"
            "def load(self): time.sleep(1)"
        )
    )
    with pytest.raises(ScriptError, match="the thread hangs.*still runs after 0.1 s"):
        load(path, load_timeout_s=0.1)


def test_a_daemon_that_runs_for_ever_delays_readiness_only_for_a_while(package, monkeypatch):
    monkeypatch.setattr("engineroom.threads.DAEMON_WAIT_S", 0.2)
    path = package(
        script(
            "def __init__(self, a, b): threading.Thread(target=self.beat, daemon=True).start()\n"
            "def beat(self): time.sleep(2)\n"
            "def _inference(self, data): return data"
        )
    )
    began = time.monotonic()
    assert load(path)({"a": 1}) == {"a": 1}
    assert time.monotonic() - began < 1.5


def test_threads_of_the_host_are_not_waited_for(package):
    done = threading.Event()
    threading.Thread(target=done.wait, daemon=True).start()
    began = time.monotonic()
    load(package(ECHO))
    done.set()
    assert time.monotonic() - began < 1


def test_work_that_a_pool_does_for_the_constructor_is_waited_for(package):
    path = package(
        "from concurrent.futures import ThreadPoolExecutor\n"
        + script(
            "def __init__(self, a, b): ThreadPoolExecutor(1).submit(self.load)\n"
            "def load(self):\n    time.sleep(0.2)\n    self.model = 'loaded'\n"
            "def _inference(self, data): return self.model"
        )
    )
    assert load(path)({"a": 1}) == "loaded"


def test_an_exception_in_a_pool_is_a_failed_load(package):
    path = package(
        "from concurrent.futures import ThreadPoolExecutor\n"
        + script(
            "def __init__(self, a, b): ThreadPoolExecutor(1).submit(self.load)\n"
            "def load(self): raise KeyError('weights')"
        )
    )
    with pytest.raises(ScriptError, match=r"a thread pool, .* failed: KeyError: 'weights'"):
        load(path)


def test_a_timer_is_waited_for(package):
    path = package(
        script(
            "def __init__(self, a, b): threading.Timer(0.2, self.load).start()\n"
            "def load(self): self.model = 'loaded'\n"
            "def _inference(self, data): return self.model"
        )
    )
    assert load(path)({"a": 1}) == "loaded"


def test_a_thread_that_starts_while_the_script_is_imported_is_waited_for(package):
    path = package(
        script("def _inference(self, data): return MODEL")
        + "def load():\n    global MODEL\n    time.sleep(0.2)\n    MODEL = 'loaded'\n"
        "threading.Thread(target=load).start()\n"
    )
    assert load(path)({"a": 1}) == "loaded"


def test_a_script_finds_no_arguments_of_ours(package, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--epochs", "3"])
    path = package(
        "import argparse\nARGUMENTS = argparse.ArgumentParser().parse_args()\n"
        + script("def _inference(self, data): return sys.argv")
    )
    assert load(path)({"a": 1}) == [str(path / "model" / "customize_service.py")]
    assert sys.argv == ["train.py", "--epochs", "3"]


@pytest.mark.parametrize("place", ["import", "constructor", "step"])
def test_an_exception_that_is_no_exception_is_told_like_any_other(package, place):
    path = package(
        "class Panic(BaseException): pass\n"
        + ("raise Panic('at once')\n" if place == "import" else "")
        + script(
            "def __init__(self, a, b):\n"
            f"    if {place == 'constructor'}: raise Panic('at once')\n"
            "def _inference(self, data): raise Panic('at once')"
        )
    )
    with pytest.raises((ScriptError, StepError), match="Panic: at once"):
        load(path)({"a": 1})


def test_a_pool_of_a_library_is_not_waited_for(package):
    path = package(
        "from concurrent.futures import ThreadPoolExecutor\n"
        + script(
            "def __init__(self, a, b):\n"
            "    self.pool = ThreadPoolExecutor(1)\n"
            "    self.pool.submit(int)\n"
            "def _inference(self, data): return 'pool'"
        )
    )
    assert load(path)({"a": 1}) == "pool"
