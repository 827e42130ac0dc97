"""What a script finds around itself when it is loaded and while it answers."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from engineroom import load
from engineroom.errors import ScriptError

TOP = """
import os
import sys
import threading
import time

from model_service.model_service import SingleNodeService
"""


def script(*steps: str, top: str = "") -> str:
    """A script of one service, whose methods are ``steps``."""
    body = "\n\n".join(
        "    " + line for step in steps for line in step.strip("\n").splitlines() if line.strip()
    )
    return f"{top}\n{TOP}\n\nclass Service(SingleNodeService):\n{body}\n"


def returning(expression: str, *methods: str, top: str = "") -> str:
    """A script whose step returns ``expression``."""
    return script(*methods, f"def _inference(self, data):\n    return {expression}", top=top)


# --- modules


def test_modules_in_the_model_folder_are_importable(package):
    path = package(
        returning("resize.SIZE + core.SIZE", top="from core.utils import resize\nimport core"),
        **{
            "core/__init__.py": "SIZE = 1",
            "core/utils/__init__.py": "",
            "core/utils/resize.py": "SIZE = 20",
        },
    )
    assert load(path)({"a": 1}) == 21


def test_import_model_means_the_file_of_that_name(package):
    path = package(returning("model.Net.__module__", top="import model"),
                   **{"model.py": "class Net: pass"})  # fmt: skip
    assert load(path)({"a": 1}) == "model"


def test_the_parent_folder_is_importable_too(package):
    path = package(
        returning("[f(), A]", top="from model.net import f\nfrom common import A"),
        **{"net.py": "def f(): return 'f'", "../common.py": "A = 1"},
    )
    assert load(path)({"a": 1}) == ["f", 1]


@pytest.mark.parametrize("late", [False, True])
def test_files_open_relative_to_the_parent_folder(package, late):
    read = "open('model/1/labels.txt').read() + open('model/names.txt').read()"
    get = f"def get(): return {read}" if late else f"TEXT = {read}\ndef get(): return TEXT"
    get = get.replace("open", "read").replace(".read()", "")
    top = f"def read(name):\n    with open(name) as file: return file.read()\n{get}"
    path = package(returning("get()", top=top), **{"1/labels.txt": "cat ", "names.txt": "dog"})
    assert load(path)({"a": 1}) == "cat dog"


def test_the_script_is_the_module_customize_service_in_its_own_file(package):
    path = package(returning("[__name__, __file__, sys.modules[__name__].Service is Service]"))
    file = str(path / "model" / "customize_service.py")
    assert load(path)({"a": 1}) == ["customize_service", file, True]


def test_what_main_guards_is_not_run(package):
    path = package(returning("1") + "\nif __name__ == '__main__':\n    raise SystemExit('ran')\n")
    assert load(path)({"a": 1}) == 1


def test_the_folder_of_the_script_is_found_through_its_file(package):
    top = "import os\nHERE = os.path.dirname(os.path.abspath(__file__))"
    path = package(returning("sorted(os.listdir(HERE))", top=top), **{"labels.json": "{}"})
    assert load(path)({"a": 1}) == ["customize_service.py", "labels.json"]


@pytest.mark.parametrize("place", ["script", "module"])
def test_the_source_of_a_class_can_be_read(package, place):
    net = "class Net:\n    def construct(self, x):\n        return x\n"
    if place == "script":
        path = package(returning("inspect.getsource(Net)", top=f"import inspect\n{net}"))
    else:
        path = package(
            returning("inspect.getsource(Net)", top="import inspect\nfrom net import Net"),
            **{"net.py": net},
        )
    assert load(path)({"a": 1}) == net


@pytest.mark.parametrize(
    "folder", ["/home/mind/model", "/home/mind/model/1", "/home/ma-user/infer/model/1"]
)
def test_a_folder_of_the_platform_in_the_code_means_the_package_where_that_is_asked_for(
    package, folder
):
    path = package(returning(f"open({folder + '/labels.txt'!r}).close()"), **{"labels.txt": "cat"})
    assert load(path, platform_paths=True)({"a": 1}) is None


def test_without_being_asked_for_it_is_a_warning_with_its_line(package, caplog):
    path = package(returning("'/home/mind/model/labels.txt'"))
    assert load(path)({"a": 1}) == "/home/mind/model/labels.txt"
    assert f"{path}/model/customize_service.py:" in caplog.text
    assert "--platform-paths" in caplog.text


# --- threads that load the model

BACKGROUND = script(
    "def __init__(self, model_name, model_path):",
    "    self.model_path = model_path",
    "    thread = threading.Thread(target=self.load_model)",
    "    thread.start()",
    "def load_model(self):",
    "    time.sleep(0.3)",
    "    self.model = 'loaded'",
    "def _inference(self, data):",
    "    return self.model",
)


def test_a_model_that_a_thread_loads_is_there_for_the_first_request(serve):
    assert serve(BACKGROUND).post("/", json={"a": 1}).json() == "loaded"


def test_a_loading_thread_that_fails_is_a_failed_load(package):
    failing = BACKGROUND.replace("self.model = 'loaded'", "raise OSError('no weights')")
    with pytest.raises(ScriptError, match="OSError: no weights"):
        load(package(failing))


@pytest.mark.parametrize("leave", ["sys.exit()", "sys.exit(0)", "raise SystemExit", "exit()"])
def test_a_loading_thread_may_end_itself(package, leave):
    path = package(BACKGROUND.replace("self.model = 'loaded'", f"self.model = 1; {leave}"))
    assert load(path)({"a": 1}) == 1


@pytest.mark.parametrize("leave", ["sys.exit(1)", "sys.exit('no weights')"])
def test_a_loading_thread_that_ends_itself_with_an_error_is_a_failed_load(package, leave):
    with pytest.raises(ScriptError, match="SystemExit: (1|no weights)"):
        load(package(BACKGROUND.replace("self.model = 'loaded'", leave)))


# --- surroundings


def test_what_is_printed_is_no_part_of_the_answer(serve, capsys):
    client = serve(
        script("def _inference(self, data):", "    print('seen', data)", "    return data")
    )
    assert client.post("/", json={"a": 1}).json() == {"a": 1}
    assert "seen {'a': 1}\n" in capsys.readouterr().out


def test_torch_cuda_may_be_asked_and_the_cpu_is_the_answer_where_there_is_no_card(package):
    torch = pytest.importorskip("torch")
    line = "str(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))"
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert load(package(returning(line, top="import torch")))({"a": 1}) == wanted


def test_variables_of_the_environment_are_visible(package, monkeypatch):
    monkeypatch.setenv("THRESHOLD", "0.5")
    path = package(returning("[os.environ['THRESHOLD'], os.getenv('THRESHOLD')]"))
    assert load(path)({"a": 1}) == ["0.5", "0.5"]


@pytest.mark.parametrize("place", ["realpath", "abspath"])
def test_files_beside_the_model_file_are_found_through_model_path(package, services, place):
    model = (services / "plain" / "model" / "model.onnx").read_bytes()
    top = "from model_service.onnx_model_service import OnnxServingBaseService as Parent"
    labels = f"os.path.join(os.path.dirname(os.path.{place}(self.model_path)), 'labels.txt')"
    code = returning(f"os.path.getsize({labels})", top=top).replace(
        "(SingleNodeService)", "(Parent)"
    )
    path = package(code, **{"model.onnx": model, "labels.txt": "cat"})
    assert load(path)({"a": 1}) == 3


def test_the_working_directory_is_writable_and_the_package_stays_as_it_is(package):
    path = package(
        script(
            "def _inference(self, data):",
            "    with open('tmp.txt', 'a') as file:",
            "        file.write('x')",
            "    with open('model/labels.txt', 'a') as file:",
            "        file.write('x')",
            "    return [os.path.getsize('tmp.txt'), os.path.getsize('model/labels.txt')]",
        ),
        **{"labels.txt": "cat"},
    )
    before = sorted(path.rglob("*"))
    model = load(path)
    assert [model({"a": 1}), model({"a": 1})] == [[1, 4], [2, 5]]
    assert (sorted(path.rglob("*")), (path / "model" / "labels.txt").read_text()) == (before, "cat")


def test_each_worker_has_a_working_directory_of_its_own(package):
    path = package(returning("os.getcwd()"))
    assert load(path)({"a": 1}) != load(path)({"a": 1})


STATE_ON_SELF = script(
    "def _preprocess(self, data):",
    "    self.size = data['size']",
    "    time.sleep(0.02)",
    "    return data",
    "def _inference(self, data):",
    "    return self.size",
)
STATE_IN_A_FILE = script(
    "def _preprocess(self, data):",
    "    with open('input.txt', 'w') as file:",
    "        file.write(str(data['size']))",
    "    time.sleep(0.02)",
    "def _inference(self, data):",
    "    with open('input.txt') as file:",
    "        return int(file.read())",
)


@pytest.mark.slow
@pytest.mark.parametrize("code", [STATE_ON_SELF, STATE_IN_A_FILE], ids=["self", "file"])
def test_requests_at_once_do_not_mix_in_a_script_that_keeps_them_between_its_steps(
    start_server, package, code
):
    server = start_server(package(code), "--threads", "4")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda size: server.post({"size": size})[1], range(8)))
    assert answers == list(range(8))


def test_all_steps_of_a_request_run_in_one_thread(serve):
    client = serve(
        script(
            "def _preprocess(self, data):",
            "    return [threading.get_ident()]",
            "def _inference(self, data):",
            "    return data + [threading.get_ident()]",
            "def _postprocess(self, data):",
            "    return len(set(data + [threading.get_ident()]))",
        )
    )
    assert client.post("/", json={"a": 1}).json() == 1


@pytest.mark.parametrize(
    ("parent", "framework"),
    [
        ("tfserving_model_service import TfServingBaseService", "tensorflow"),
        ("pytorch_model_service import PTServingBaseService", "torch"),
        ("model_service import SingleNodeService", "mindspore"),
    ],
)
def test_a_parent_class_imports_no_framework_and_any_other_runs_under_it(
    package, services, parent, framework
):
    code = f"""
        import os
        import sys
        import onnxruntime
        from model_service.{parent} as Parent

        class OtherService(Parent):
            def __init__(self, model_name, model_path):
                folder = os.path.dirname(os.path.abspath(__file__))
                self.session = onnxruntime.InferenceSession(os.path.join(folder, 'model.onnx'))

            def _inference(self, data):
                return [self.session.run(None, {{'x': data}})[0].tolist(), {framework!r} in sys.modules]

            def _preprocess(self, data):
                import numpy
                return numpy.array(data['x'], 'float32')
    """
    model = (services / "plain" / "model" / "model.onnx").read_bytes()
    path = package(code, **{"model.onnx": model})
    told = predict(path, '{"x": [[1, 0, 0]]}')
    assert json.loads(told.stdout) == [[[0.0, 1.0]], False], told.stderr


def predict(path, body: str) -> subprocess.CompletedProcess[str]:
    """``engineroom predict`` in a process of its own."""
    command = [sys.executable, "-m", "engineroom", "predict", str(path), "-d", body]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# --- habits that would take a server down


@pytest.mark.parametrize(
    "line",
    [
        "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')",
        "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())",
    ],
)
def test_a_script_may_detach_standard_output_when_it_is_imported(package, line):
    path = package(returning("data", top=f"import codecs, io, sys\n{line}"))
    told = predict(path, '{"a": 1}')
    assert json.loads(told.stdout) == {"a": 1}, told.stderr


def test_a_script_that_parses_arguments_when_it_is_imported_finds_none(package, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["engineroom", "serve", ".", "--port", "80"])
    top = (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--size', type=int, default=3)\nARGS = parser.parse_args()"
    )
    assert load(package(returning("ARGS.size", top=top)))({"a": 1}) == 3


@pytest.mark.parametrize(
    "leave", ["exit()", "exit(1)", "quit()", "sys.exit()", "sys.exit('bad')", "raise SystemExit"]
)
@pytest.mark.parametrize("step", ["_preprocess", "_inference", "_postprocess"])
def test_a_step_that_leaves_python_fails_its_request_and_not_the_server(serve, step, leave):
    own = "" if step == "_inference" else "def _inference(self, data): return data"
    code = script(
        own, f"def {step}(self, data):\n    if data == ['leave']: {leave}\n    return data"
    )
    client = serve(code)
    reply = client.post("/", json=["leave"])
    assert (reply.status_code, reply.json()["erno"]) == (500, "MR.0105")
    assert "SystemExit" in reply.json()["error"]["message"]
    assert client.post("/", json=["stay"]).json() == ["stay"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_a_step_may_leave_python(serve):
    client = serve(
        script(
            "def _inference(self, data):",
            "    thread = threading.Thread(target=sys.exit)",
            "    thread.start()",
            "    thread.join()",
            "    return 'still here'",
        )
    )
    assert client.post("/", json={"a": 1}).json() == "still here"


@pytest.mark.parametrize("leave", ["exit()", "quit(3)", "import sys; sys.exit('no')"])
def test_a_script_that_leaves_python_when_it_is_imported_is_a_failed_load(package, leave):
    with pytest.raises(ScriptError, match=r"customize_service\.py:\d+: .*SystemExit"):
        load(package(returning("1", top=leave)))


# --- health


HEALTH = script(
    "def __init__(self, model_name, model_path):",
    "    self.is_loaded = False",
    "    threading.Thread(target=self.load, daemon=True).start()",
    "def load(self):",
    "    time.sleep(0.3)",
    "    self.is_loaded = True",
    "def health(self):",
    "    if self.is_loaded:",
    "        return {'status': 'up'}, 200",
    "    return {'status': 'loading'}, 404",
    "def _inference(self, data):",
    "    return self.is_loaded",
)


def test_a_health_of_the_script_s_own_is_waited_for_and_answered(serve):
    client = serve(HEALTH)
    reply = client.get("/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "up"})
    assert client.post("/", json={"a": 1}).json() is True


def test_a_health_of_the_script_s_own_may_turn_bad(serve):
    client = serve(
        script(
            "bad = False",
            "def health(self): return ({'status': 'sick'}, 404) if self.bad else ({}, 200)",
            "def _inference(self, data):",
            "    self.bad = True",
        )
    )
    client.post("/", json={"a": 1})
    reply = client.get("/health")
    assert (reply.status_code, reply.json()) == (404, {"status": "sick"})


# --- an import surface that holds

GUARDED = """
try:
    from {module} import {name}
except:
    {name} = object

class Service({name}):
    def _inference(self, data):
        return {name} is not object
"""
PARENTS = [
    ("model_service.tfserving_model_service", "TfServingBaseService"),
    ("model_service.pytorch_model_service", "PTServingBaseService"),
    ("model_service.model_service", "SingleNodeService"),
]


@pytest.mark.parametrize(("module", "name"), PARENTS)
def test_a_guarded_import_gets_the_parent_class(package, module, name):
    assert load(package(GUARDED.format(module=module, name=name)))({"a": 1}) is True


# --- what a script cannot do


def test_a_signal_handler_is_refused_outside_the_main_thread(serve):
    client = serve(returning("signal.signal(signal.SIGTERM, print)", top="import signal"))
    reply = client.post("/", json={"a": 1})
    assert reply.status_code == 500
    assert "main thread" in reply.json()["error"]["message"]
