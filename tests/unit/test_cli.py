"""The command line: its options, its exit codes, and what it imports for a `--help`."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from engineroom import __version__
from engineroom.cli import main
from engineroom.settings import Settings

COMMANDS = sorted(main.commands)


def run(*arguments, **options):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


@pytest.fixture(autouse=True)
def _own_process(monkeypatch):
    """The commands set up the log of their process, and end it: that is the tests' here."""
    monkeypatch.setattr("engineroom.cli._exit", sys.exit)
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    root.handlers[:] = before


@pytest.fixture
def model(package, fake_engine):
    """A package of the fake engine: y = 3 * x."""
    return package(**{"model.fake": "3"})


# --- help


def test_the_commands_are_these():
    assert COMMANDS == ["check", "deps", "engines", "init", "predict", "serve"]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], *([c, "--help"] for c in COMMANDS)])
def test_help_explains_and_exits_with_0(arguments):
    done = run(*arguments)
    assert done.exit_code == 0
    assert done.output.startswith("Usage: ")


def test_help_imports_neither_numpy_nor_a_server_nor_the_plugins():
    code = (
        "import sys, contextlib, io\n"
        "from engineroom.cli import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([command, '--help'], standalone_mode=False)\n"
        "print(sorted({'numpy', 'starlette', 'uvicorn', 'pluggy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_version_is_the_package_s():
    assert run("--version").output == f"engineroom, version {__version__}\n"


def test_python_m_engineroom_is_the_same_command():
    command = [sys.executable, "-m", "engineroom", "--version"]
    assert subprocess.check_output(command, text=True) == run("--version").output


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_a_setting_is_an_option_of_its_commands_with_its_help_and_default(field):
    for command in ("serve", "predict", "check"):
        options = {option.name: option for option in main.commands[command].params}
        assert (field.name in options) is (command in field.metadata["commands"])
        if field.name not in options:
            continue
        option = options[field.name]
        assert option.opts == [f"--{field.name.replace('_', '-')}"]
        assert option.help.startswith(field.metadata["help"])
        if isinstance(field.default, bool):
            assert option.help.endswith("[default: on]" if field.default else "[default: off]")
        elif field.default is not None:
            assert option.help.endswith(f"[default: {field.default}]")


# --- usage errors are 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["serve"],
        ["serve", "x", "--nosuch"],
        ["serve", "x", "--port", "http"],
        ["serve", "x", "--port", "65536"],
        ["serve", "x", "--workers", "0"],
        ["serve", "x", "--log-format", "xml"],
        ["predict", "x"],
        ["predict", "x", "-d", "{}", "-F", "a=1"],
        ["predict", "x", "-F", "a"],
        ["predict", "x", "-F", "a=@/no/such/file"],
        ["predict", "x", "-d", "@/no/such/file"],
        ["init", "x"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_with_2_and_says_why(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Error: " in done.output


@pytest.mark.parametrize("command", ["serve", "predict", "check"])
def test_a_wrong_variable_exits_with_2_and_is_named(command, tmp_path):
    arguments = ["-d", "5"] if command == "predict" else []
    done = run(command, tmp_path, *arguments, env={"ENGINEROOM_DEBUG": "maybe"})
    assert done.exit_code == 2
    assert "ENGINEROOM_DEBUG" in done.output


# --- predict


def test_predict_prints_the_answer_and_what_each_step_took(model):
    done = run("predict", model, "-d", '{"x": [[1, 2]]}')
    assert (done.exit_code, done.stdout) == (0, '{"y":[[3.0,6.0]]}\n')
    steps = [line.split()[0] for line in done.stderr.splitlines() if line.endswith(" ms")]
    assert steps == ["load", "preprocess", "inference", "postprocess", "total"]


def test_predict_takes_a_form(model):
    assert run("predict", model, "-F", "x=[[1, 2]]").stdout == '{"y":[[3.0,6.0]]}\n'


def test_predict_reads_the_body_from_standard_input(model):
    done = run("predict", model, "-d", "@-", input='{"x": [[1, 2]]}')
    assert done.stdout == '{"y":[[3.0,6.0]]}\n'


def test_predict_exits_with_1_for_a_request_that_gets_an_error(model):
    done = run("predict", model, "-d", '{"x": [[1]]}')
    assert (done.exit_code, done.stdout) == (1, "")
    assert 'error: 400 MR.0101 The input parameter is invalid: input "x" of model' in done.stderr


@pytest.mark.parametrize("data", ["", "{", "null", "[]"])
def test_predict_exits_with_1_for_a_body_that_is_no_request(model, data):
    done = run("predict", model, "-d", data)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_predict_exits_with_3_for_a_package_that_cannot_be_loaded(tmp_path, fake_engine):
    done = run("predict", tmp_path / "nosuch", "-d", "5")
    assert done.exit_code == 3
    assert "nosuch: no such file or folder" in done.stderr


# --- check


def test_check_says_what_runs_and_that_it_can_be_served(model):
    (model / "model" / "examples").mkdir()
    (model / "model" / "examples" / "a.json").write_text('{"x": [[1, 2]]}')
    done = run("check", model)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"package  {model / 'model'}",
        "script   none: the default service answers",
        "runs on  engine fake on cpu",
        "input    x (N, 2) float32",
        "output   y (N, 2) float32",
        "warm-up  the model file was tried on zeros; 1 example answered",
        "verdict  runs as it is",
    ]


def test_predict_leaves_standard_output_to_the_answer(package):
    path = package(
        "from model_service.onnx_model_service import OnnxServingBaseService\n"
        "class Chatty(OnnxServingBaseService):\n"
        "    def _inference(self, data):\n"
        "        print('working')\n"
        "        return 1\n"
    )
    command = [sys.executable, "-m", "engineroom", "predict", path, "-d", '{"a": 1}']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "1\n"
    assert "working" in done.stderr


def test_check_lists_old_names_of_steps_that_have_not_run_and_names_nobody_has(package):
    path = package(
        "import os\nimport numpy as np\n"
        "from model_service.onnx_model_service import OnnxServingBaseService\n"
        "class Old(OnnxServingBaseService):\n"
        "    def _inference(self, data):\n"
        "        return np.int(np.nonsense), os.path.join('a'), np.random.rand(1)\n"
    )
    # Elsewhere, since a script stays on stage.
    command = [sys.executable, "-m", "engineroom", "check", path]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    assert "lent     np.int, today int" in shown
    assert (
        "verdict  runs with these names lent: np.int, except for what the warnings above name; not"
        in shown
    )
    assert "customize_service.py:6: warning: np.nonsense does not exist in the installed" in shown
    assert shown.count("warning: ") == 1


def test_check_looks_at_what_steps_import_and_at_names_of_python_2(package):
    path = package(
        "from model_service.onnx_model_service import OnnxServingBaseService\n"
        "try:\n    text = unicode\nexcept NameError:\n    text = str\n"
        "class Old(OnnxServingBaseService):\n"
        "    def _inference(self, data):\n"
        "        import utils, sklearn.externals.joblib\n"
        "        try: import no_such_one\n"
        "        except ImportError: pass\n"
        "        return xrange(3), xrange(4)\n"
    )
    command = [sys.executable, "-m", "engineroom", "check", path]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    assert "py:8: warning: the script needs the module 'utils', by its name" in shown
    assert "py:11: warning: 'xrange' is a name of Python 2; today: range" in shown
    assert "lent     sklearn.externals.joblib, today joblib" in shown
    assert "verdict  runs with these names lent: sklearn.externals.joblib, except for what" in shown
    assert shown.count("warning: ") == 2


@pytest.mark.parametrize(
    "line",
    [
        "sys.stdout.close(); sys.stderr.close(); sys.__stdout__.close(); sys.__stderr__.close()",
        "sys.stdout.detach(); sys.stderr.detach()",
        "import os; os.close(1); os.close(2)",
    ],
)
def test_predict_keeps_its_answer_when_a_script_closes_both_streams(package, line):
    path = package(
        f"import sys\nfrom model_service.onnx_model_service import OnnxServingBaseService\n{line}\n"
        "class Closes(OnnxServingBaseService):\n    def _inference(self, data): return data['a']\n"
    )
    command = [sys.executable, "-m", "engineroom", "predict", path, "-d"]
    done = subprocess.run([*command, '{"a": 1}'], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("1\n", 0)
    assert "total" in done.stderr
    failed = subprocess.run([*command, '{"b": 1}'], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "error: 400 MR.0105 Recognition failed: _inference raised KeyError: 'a'" in failed.stderr


def test_check_goes_on_where_a_library_cannot_give_a_name(package, tmp_path, monkeypatch):
    (tmp_path / "late.py").write_text("def __getattr__(name): raise ImportError('no driver')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    path = package(
        "import late\n"
        "from model_service.onnx_model_service import OnnxServingBaseService\n"
        "class S(OnnxServingBaseService):\n"
        "    def _inference(self, data): return late.model\n"
    )
    command = [sys.executable, "-m", "engineroom", "check", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert ":4: warning: late.model cannot be had: ImportError: no driver" in done.stdout
    assert done.returncode == 0


def test_check_says_which_declared_packages_are_missing(model):
    config = {"dependencies": [{"installer": "pip", "packages": [{"package_name": "no-such-one"}]}]}
    (model / "model" / "config.json").write_text(json.dumps(config))
    done = run("check", model)
    assert done.exit_code == 0
    assert f"no-such-one (not installed); run: engineroom deps {model} --install" in done.stdout


def test_predict_says_which_declared_packages_are_missing(model):
    config = {"dependencies": [{"installer": "pip", "packages": [{"package_name": "no-such-one"}]}]}
    (model / "model" / "config.json").write_text(json.dumps(config))
    assert "no-such-one (not installed)" in run("predict", model, "-d", '{"x": [[1, 2]]}').stderr


def test_check_prints_the_findings_of_config_json(model):
    (model / "model" / "config.json").write_text('{"model_type": "Fake",}')
    assert (
        "config.json:1:22: warning: trailing comma in JSON; ignored" in run("check", model).stdout
    )


def test_check_tells_an_odd_dependency_once_and_with_its_place(model):
    (model / "model" / "config.json").write_text('{"dependencies": ["json"]}')
    told = [line for line in run("check", model).stdout.splitlines() if '"dependencies"' in line]
    assert ["config.json:1:18: warning: " in line for line in told] == [True]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("model.fake", "not a number", "model.fake: not a fake model"),
        ("other.fake", "1", "expected one model file (*.fake), found model.fake, other.fake"),
        ("examples/a.json", '{"x": [[1]]}', "a.json: the example failed"),
        ("examples/a.json", "{", "a.json: the example is not JSON"),
    ],
)
def test_check_exits_with_3_and_says_what_stops_the_package(model, package, name, content, problem):
    done = run("check", package(**{name: content}))
    assert done.exit_code == 3
    last = done.stdout.splitlines()[-1]
    assert last.startswith("verdict  will not run: ")
    assert problem in last


def test_check_keeps_what_a_script_prints_and_the_log_out_of_its_report(package):
    path = package(
        "from model_service.onnx_model_service import OnnxServingBaseService\n"
        "print('loading')\n"
        "class Chatty(OnnxServingBaseService):\n"
        "    def _inference(self, data):\n"
        "        return 1\n",
        **{"a.onnx": "", "b.onnx": ""},
    )
    command = [sys.executable, "-m", "engineroom", "check", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[2:] == [
        "warning  several model files (a.onnx, b.onnx): model_path is the first",
        "runs on  engine onnx; the script runs its model itself",
        "warm-up  none",
        f"verdict  runs as it is; not tried on a request: put one into {path / 'model' / 'examples'}",
    ]
    assert done.stderr == "loading\n"


def test_check_tries_a_request(model):
    lines = run("check", model, "-d", '{"x": [[1, 2]]}').stdout.splitlines()
    assert lines[-2].startswith("request  answered in ")
    assert lines[-2].endswith("17 bytes of JSON")
    assert lines[-1] == "verdict  runs as it is"


def test_check_exits_with_1_for_a_package_that_loads_and_refuses_the_request(model):
    done = run("check", model, "-F", "x=[[1]]")
    lines = done.stdout.splitlines()
    assert done.exit_code == 1
    assert lines[-2].startswith("request  400 MR.0101 The input parameter is invalid: input")
    assert lines[-1].startswith("verdict  loads, and answers this request with 400")


def test_check_of_a_package_without_heavy_imports_takes_less_than_a_second(services):
    command = [sys.executable, "-m", "engineroom", "check", services / "echo"]
    best = 10.0
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        best = min(best, time.perf_counter() - began)
    assert best < 1


def test_check_with_debug_shows_the_traceback(package, fake_engine):
    done = run("check", package(**{"model.fake": "no"}), "--debug")
    assert "Traceback (most recent call last)" in done.stdout


# --- serve


def test_serve_exits_with_3_for_a_package_that_is_not_there(tmp_path):
    command = [sys.executable, "-m", "engineroom", "serve", tmp_path / "nosuch"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.endswith("nosuch: no such file or folder\n")
    assert "Traceback" not in done.stderr


# --- engines and init


def test_engines_prints_a_table(fake_engine):
    header, row = run("engines").stdout.splitlines()
    assert header.split("  ")[0] == "name"
    assert row.split() == ["fake", "1.2", "-", "*.fake", "-", "usable"]


def test_engines_as_json(fake_engine):
    assert json.loads(run("engines", "--json", "--devices").stdout) == [
        {
            "name": "fake",
            "version": "1.2",
            "framework": None,
            "model_files": ["*.fake"],
            "devices": ["cpu"],
            "state": "usable",
        }
    ]


def test_init_writes_a_package_that_works_at_once(tmp_path, fake_engine):
    folder = tmp_path / "mine"
    done = run("init", folder, "--engine", "fake")
    assert done.exit_code == 0
    assert str(folder / "model" / "model.fake") in done.stdout
    assert run("check", folder).exit_code == 0


def test_init_exits_with_3_for_a_folder_that_is_not_empty(tmp_path, fake_engine):
    done = run("init", tmp_path, "--engine", "fake")
    assert done.exit_code == 3
    assert "exists already and is not empty" in done.stderr


def test_init_exits_with_3_for_an_engine_that_is_not_there(tmp_path, fake_engine):
    done = run("init", tmp_path / "mine", "--engine", "nosuch")
    assert done.exit_code == 3
    assert "installed engines: fake" in done.stderr
    assert not (tmp_path / "mine").exists()
