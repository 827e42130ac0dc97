"""What `engineroom check` says about a config.json: where, what is wrong, what it is read as."""

import importlib.metadata
import json
import sys

import pytest

from engineroom.errors import EngineError
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.tools.config_lint import lint_config

HERE = f"Python {sys.version_info.major}.{sys.version_info.minor}"
GOOD = {"model_algorithm": "image_classification", "model_type": "Fake"}


@pytest.fixture
def lint(package, fake_engine):
    """The findings of a package with this config.json, as ``line:column: level: message``."""

    def lint(config, script=None, **files):
        raw = config if isinstance(config, str | bytes) else json.dumps({**GOOD, **config})
        files = files or {"model.fake": "2"}
        opened = open_package(package(script, **{"config.json": raw}, **files))
        found = lint_config(opened, Registry())
        assert all(finding.line and finding.column for finding in found)
        return [str(finding).partition("config.json:")[2] for finding in found]

    return lint


def test_a_correct_file_has_no_findings(lint):
    metrics = {"f1": 1, "recall": 0.5, "precision": 0, "accuracy": 1.0}
    package = {"package_name": "numpy", "package_version": "1.19", "restraint": "ATLEAST"}
    dependencies = [{"installer": "pip", "packages": [package, {"package_name": "pillow"}]}]
    schema = "../config.schema.json"
    assert lint({"$schema": schema, "metrics": metrics, "dependencies": dependencies}) == []


def test_a_package_without_config_json_has_no_findings(package, fake_engine):
    assert lint_config(open_package(package(**{"model.fake": "2"})), Registry()) == []


# --- fifteen files as careless people write them: what each is read as, and what is said of it

PHOTO = {"type": "object", "properties": {"photo": {"type": "file"}}}
CARELESS = {
    "comments": (
        '{\n  "model_algorithm": "x", // mine\n  /* the framework */ "model_type": "Fake"\n}',
        None,
        ["2:27: warning: comment in JSON; ignored", "3:3: warning: comment in JSON; ignored"],
    ),
    "commas": (
        '{\n  "model_algorithm": "x"\n  "model_type": "Fake",\n}',
        None,
        ["3:3: warning: missing comma; added", "3:23: warning: trailing comma in JSON; ignored"],
    ),
    "python": (
        "{'model_algorithm': 'x', 'model_type': 'Fake', 'runtime': None}",
        None,
        [
            "1:2: warning: ' as a quote; read as a plain one",
            "1:59: warning: None is not JSON; read as null",
        ],
    ),
    "chinese": (
        '{"model_algorithm": "图像分类"，"model_type": "Fake"}'.encode("gbk"),
        None,
        [
            "1:23: warning: not UTF-8; read as GBK",
            "1:27: warning: full-width '，'; read as a plain one",
        ],
    ),
    "powershell": (
        '{"model_algorithm": "x", "model_type": "Fake"}'.encode("utf-16"),
        None,
        ["1:1: warning: not UTF-8; read as UTF-16"],
    ),
    "list": (
        '[{"model_algorithm": "x", "model_type": "Fake"}]',
        None,
        ["1:1: warning: an object in a list; read as the object"],
    ),
    "cut off": (
        '{"model_algorithm": "x", "model_type": "Fake", "metrics": {"f1": 0.9',
        None,
        ["1:69: warning: missing }; added", "1:69: warning: missing }; added"],
    ),
    "procotol": (
        '{"model_algorithm": "x", "model_type": "Fake",\n "apis": [{"procotol": "http",\n'
        '  "request": {"data": {"type": "object", "properties": {"photo": {"type": "file"}}}}}]}',
        PHOTO,
        ['2:12: warning: "procotol" is "protocol" misspelt; read as it'],
    ),
    "data as text": (
        '{"model_algorithm": "x", "model_type": "Fake", "apis": [{"request": {\n'
        ' "data": "{\\"type\\": \\"object\\", \\"properties\\": {\\"photo\\": {\\"type\\": \\"File\\"}}}"}}]}',
        PHOTO,
        [
            "2:10: warning: JSON in a string; read as what the string holds",
            '2:10: warning: JSON Schema has no type "File"; read as "file"',
        ],
    ),
    "no data": (
        '{"model_algorithm": "x", "model_type": "Fake", "apis": [{\n "request": '
        '{"Content-type": "multipart/json", "type": "object", "properties": {"photo": {"type": "file"}}}}]}',
        PHOTO,
        [
            '2:2: warning: the schema is directly in "request"; read as its "data"',
            '2:30: warning: content type "multipart/json"; read as multipart/form-data',
        ],
    ),
    "tuples": (
        '{"model_algorithm": "x", "model_type": "Fake", "apis": [{"request": {"data":\n'
        '  {"type": "list",\n   "item": [{"type": "float"}]}}}]}',
        {"type": "array", "items": {"type": "number"}},
        [
            '2:12: warning: JSON Schema has no type "list"; read as "array"',
            '3:4: warning: "item" is "items" misspelt; read as it',
            '3:12: warning: "items" is a list of one schema; read as the schema of every element',
            '3:22: warning: JSON Schema has no type "float"; read as "number"',
        ],
    ),
    "misplaced": (
        '{"model_algorithm": "x", "model_type": "Fake", "apis": [{"request": {\n'
        '  "data": {"type": "object", "properties": {"photo": {"type": "file"}}},\n'
        '  "required": ["photo"],\n'
        '  "response": {"Content-type": "applicaton/json", "data": {"type": "json"}}}}]}',
        {**PHOTO, "required": ["photo"]},
        [
            '3:3: warning: "required" is beside "data"; read as a part of it',
            '4:3: warning: "response" is inside "request"; read as that of the api',
            '4:32: warning: content type "applicaton/json"; read as application/json',
            '4:68: warning: JSON Schema has no type "json"; read as any value',
        ],
    ),
    "url and method": (
        '{"model_algorithm": "x", "model_type": "Fake",\n "apis": [{"url": "predict", "method": "get"}]}',
        None,
        [
            '2:19: warning: a url is a path such as /predict, not "predict"; read as /predict',
            '2:40: warning: "get" is answered to POST only',
        ],
    ),
    "names": (
        '{"model_algoritm": "x", "model_type": "Fake", "model_type": "Fake",\n "author": "me"}',
        None,
        [
            '1:1: note: there is no "model_algorithm", which the platform wants',
            '1:2: warning: "model_algoritm" is no key of the contract; ignored; did you mean "model_algorithm"?',
            '1:47: warning: "model_type" is there twice; read as the last one',
            '2:2: note: "author" is no key of the contract; ignored',
        ],
    ),
    "numbers": (
        '{"model_algorithm": "x", "model_type": "Fake",\n "metrics": {"f1": "0.9", "recall": null, "accuracy": 97}}',
        None,
        [
            '2:20: warning: "f1" should be a number, not "0.9"; ignored',
            '2:37: warning: "recall" should be a number, not null; ignored',
            '2:55: note: "accuracy" is 97; the platform shows shares from 0 to 1',
        ],
    ),
}


@pytest.mark.parametrize("name", CARELESS)
def test_a_careless_file_is_read_and_each_oddity_is_told_with_its_place(lint, package, name):
    text, schema, findings = CARELESS[name]
    assert lint(text) == findings
    opened = open_package(package())
    assert opened.model_type == "Fake"
    assert (opened.apis[0].request.schema if schema else None) == schema


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"a": :}'])
def test_a_file_that_says_nothing_has_its_repairs_and_no_more(lint, text):
    assert len(lint(text)) == 1


# --- model_type


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("fake", None),
        ("Imaginary", None),
        ("Fakke", 'warning: "model_type" "Fakke" is none of the contract; did you mean "Fake"?; read as fake'),
        ("Caffe", 'note: "model_type" "Caffe" is that of no installed engine; read as fake'),
        ("Image", 'note: "model_type" "Image" names no framework; read as fake'),
        (5, 'warning: "model_type" should be text such as "PyTorch", not 5; ignored'),
        ("", 'warning: "model_type" should be text such as "PyTorch", not ""; ignored'),
    ],
)  # fmt: skip
def test_a_model_type_is_compared_with_what_is_installed(lint, kind, finding):
    assert lint({"model_type": kind}) == ([f"1:59: {finding}"] if finding else [])


OTHER = """
from engineroom import Engine, hookimpl

class Other(Engine):
    name = "other"
    parent = "model_service.other_model_service.OtherServingBaseService"
    model_types = ("Other",)
    model_files = ("*.other",)
    def load(self, path, device, threads): ...

@hookimpl
def register_engine(register):
    register(Other())
"""
IMPORT = "from model_service.fake_model_service import FakeServingBaseService\n"


def test_a_model_type_that_is_not_the_parent_class_s_is_told(lint, install_plugin):
    install_plugin("other", OTHER)
    assert lint({"model_type": "Other"}, IMPORT, **{"model.other": ""}) == [
        '1:59: warning: "model_type" is "Other", and the script\'s parent class is that of engine '
        "fake; read as fake"
    ]


def test_a_model_type_whose_files_are_not_there_is_told(lint, install_plugin):
    install_plugin("other", OTHER)
    told = '"model_type" is "Other", whose model files (*.other) are not here; there is model.fake (fake)'
    assert lint({"model_type": "Other"}) == [f"1:59: warning: {told}: choose with --engine fake"]
    files = {"model.fake": "2"}
    script = IMPORT.replace("fake", "other").replace("Fake", "Other")
    (found,) = lint({"model_type": "Other"}, script, **files)
    assert found == f"1:59: note: {told}, for the script to read"


def test_a_script_that_is_not_python_does_not_stop_the_linter(lint):
    assert lint({}, "def (") == []


@pytest.mark.parametrize("kind", ["Image", "Custom", "Template", "AutoModel", "image"])
def test_a_model_without_a_framework_cannot_be_served_alone(package, fake_engine, kind):
    text = json.dumps({"model_type": kind, "swr_location": "swr.example/team/image:1"})
    opened = open_package(package(**{"config.json": text}))
    with pytest.raises(
        EngineError, match=f"'{kind}': .*swr.example/team/image:1.*neither a script"
    ):
        Registry().engine_for(opened, None, None)


def test_a_model_file_that_an_engine_knows_is_served_whatever_the_model_type(package, fake_engine):
    opened = open_package(package(**{"config.json": '{"model_type": "Image"}', "a.fake": "2"}))
    assert Registry().engine_for(opened, None, None).name == "fake"


# --- runtime


@pytest.mark.parametrize(
    ("runtime", "gaps"),
    [
        ("python2.7", [f"Python 2.7 is asked for, and {HERE} runs"]),
        (HERE.replace(" ", "").lower(), []),
        (
            "tf1.13-python2.7-gpu",
            [
                f"Python 2.7 is asked for, and {HERE} runs",
                "tf 1.13 is asked for, and no engine for it is here",
                "a GPU is asked for, and --device chooses",
            ],
        ),
        (
            "mindspore_2.0.0-cann_6.3.0-py_2.7-euler_2.8.3-sparc",
            [
                f"Python 2.7 is asked for, and {HERE} runs",
                "mindspore 2.0.0 is asked for, and no engine for it is here",
                "cann 6.3.0 is asked for, and the framework's own runs",
            ],
        ),
        (
            "pytorch_1.8.0-cuda_10.2-py_2.7-ubuntu_18.04",
            [
                f"Python 2.7 is asked for, and {HERE} runs",
                "pytorch 1.8.0 is asked for, and no engine for it is here",
                "cuda 10.2 is asked for, and the framework's own runs",
            ],
        ),
    ],
)
def test_a_runtime_is_told_with_what_runs_instead(lint, runtime, gaps):
    told = f'1:78: note: "runtime" "{runtime}" is not what runs here: {"; ".join(gaps)}'
    assert lint({"runtime": runtime}) == ([told] if gaps else [])


def test_a_runtime_is_compared_with_the_framework_that_is_installed(lint, install_plugin):
    engine = OTHER.replace('"other"', '"pytorch"').replace(
        "def load", 'frameworks = ("click",)\n    def load'
    )
    install_plugin("pytorch", engine)
    version = importlib.metadata.version("click")
    (found,) = lint({"runtime": "pytorch1.4"})
    assert found.endswith(f"pytorch 1.4 is asked for, and click {version} runs")
    assert lint({"runtime": f"pytorch{version}"}) == []


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ("ubuntu", f'"runtime" "ubuntu" names no version that is known; {HERE} runs'),
        (3.6, '"runtime" should be text such as "python3.7", not 3.6; ignored'),
    ],
)
def test_a_runtime_that_cannot_be_read_is_told(lint, runtime, message):
    assert lint({"runtime": runtime}) == [f"1:78: warning: {message}"]


# --- the rest

NO_GROUPS = (
    '"dependencies" should be a list of objects with "installer" and "packages"; '
    "read as the packages of one"
)


@pytest.mark.parametrize(
    ("dependencies", "messages"),
    [
        ("numpy", [NO_GROUPS]),
        (["numpy", "pandas"], [NO_GROUPS]),
        ([{"installer": "conda", "packages": []}], ['the installer is pip, not "conda"; read as pip']),
        ([{"package": []}], ['"package" is "packages" misspelt; read as it']),
        ([{"packages": ["numpy", "pandas"]}],
         ['an object with "package_name" should be here, not "numpy"; read as the name']),
        ([{"packages": [{"package_name": 5}]}], ['"package_name" should be text, not 5; ignored']),
        ([{"packages": [{"package_name": "a", "package_version": 1.1, "restraint": "EXACT"}]}],
         ['"package_version" should be text, not 1.1: 1.10 would be 1.1']),
        ([{"packages": [{"package_name": "a", "package_version": "1", "restraint": "At_Least"}]}],
         ['a restraint is EXACT, ATLEAST or ATMOST, not "At_Least"; read as ATLEAST']),
        ([{"packages": [{"package_name": "a", "package_version": "1", "restraint": ">"}]}],
         ['a restraint is EXACT, ATLEAST or ATMOST, not ">"; read as >']),
        ([{"packages": [{"package_name": "a", "package_version": "1"}]}],
         ['"package_version" without "restraint"; read as EXACT']),
        ([{"packages": [{"name": "a", "note": "mine"}]}],
         ['"name" is "package_name" misspelt; read as it',
          '"note" is no key of the contract; ignored']),
        ([{"packages": [{"package_name": "a", "package_version": "", "restraint": ""}]}], []),
    ],
)  # fmt: skip
def test_dependencies_that_are_malformed_are_told(lint, dependencies, messages):
    assert [m.split(": ", 2)[2] for m in lint({"dependencies": dependencies})] == messages


@pytest.mark.parametrize("metrics", [[0.5], "good", 1])
def test_metrics_that_are_no_object_are_told(lint, metrics):
    assert '"metrics" should be an object' in lint({"metrics": metrics})[0]


def test_what_only_container_images_have_is_told(lint):
    found = lint({"health": {"url": "/health", "period": "5"}, "swr_location": "swr.example/x"})
    assert [m.split(": ", 2)[2] for m in found] == [
        '"health" is of container images only; ignored',
        '"period" is no key of the contract; ignored',
        '"swr_location" is of container images only; ignored',
    ]
