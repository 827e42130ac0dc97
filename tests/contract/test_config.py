"""What config.json means, and that nothing in it keeps a package from being served."""

import json

import pytest

from engineroom import dependencies, load
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings
from engineroom.tools.config_lint import lint_config

ECHO = """
from model_service.model_service import SingleNodeService

class EchoService(SingleNodeService):
    def _inference(self, data):
        return sorted(data)
"""
PHOTO = {"type": "object", "properties": {"photo": {"type": "file"}}}
API = {
    "protocol": "http",
    "url": "/predict",
    "method": "post",
    "request": {"Content-type": "multipart/form-data", "data": PHOTO},
    "response": {
        "Content-type": "application/json",
        "data": {"type": "object", "properties": {"label": {"type": "string"}}},
    },
}
CONFIG = {
    "model_algorithm": "image_classification",
    "model_type": "MindSpore",
    "metrics": {"f1": 0.345294, "accuracy": 0.462963, "precision": 0.338977, "recall": 0.351852},
    "apis": [API],
}


def answers(client, url="/predict"):
    """What comes back for a request at ``url`` that is nothing like the declared one."""
    reply = client.post(url, json={"b": 1, "a": 2})
    assert reply.status_code == 200, reply.text
    return reply.json()


def findings(path):
    """What ``engineroom check`` says of config.json."""
    return list(map(str, lint_config(open_package(path), Registry(Settings()))))


# --- fields


def test_a_complete_file_is_served_without_a_finding(serve):
    client = serve(ECHO, {"config.json": json.dumps(CONFIG)})
    assert answers(client) == ["a", "b"]
    found = findings(client.app.hosts[0].model.package.root)
    assert [finding for finding in found if "no installed engine" not in finding] == []


@pytest.mark.parametrize(
    "field",
    [
        {"model_algorithm": "anything at all"},
        {"swr_location": "swr.example.com/group/image:1"},
        {"metrics": {"f1": 1, "recall": 0, "precision": 0.5, "accuracy": 0.25}},
        {"metrics": {}},
        {"metrics": "0.9"},
        {"health": {"url": "/health", "protocol": "http", "initial_delay_seconds": "12",
                    "timeout_seconds": "60", "check_method": "HTTP", "period_seconds": "5",
                    "failure_threshold": "12"}},
        {"dependencies": []},
        {"author": "somebody", "inputs": [1]},
    ],
)  # fmt: skip
def test_a_field_that_only_the_platform_uses_changes_nothing(serve, field):
    assert answers(serve(ECHO, {"config.json": json.dumps({**CONFIG, **field})})) == ["a", "b"]


@pytest.mark.parametrize(
    "kind",
    ["TensorFlow", "PyTorch", "MindSpore", "Caffe", "MXNet", "Spark_MLlib", "Scikit_Learn",
     "XGBoost", "Image", "Custom", "Template", "AutoModel", "something", "", 5],
)  # fmt: skip
def test_the_parent_class_counts_and_not_model_type(package, kind):
    path = package(ECHO, **{"config.json": json.dumps({"model_type": kind})})
    assert load(path)({"a": 1}) == ["a"]


@pytest.mark.parametrize(
    "runtime",
    [
        "python3.6",
        "python2.7",
        "tf1.13-python3.6-gpu",
        "tf2.1-python3.7",
        "pytorch1.4-python3.7",
        "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
        "mindspore_1.7.0-cpu-py_3.7-ubuntu_18.04-x86_64",
        "mindspore_2.0.0-cann_6.3.0-py_3.7-euler_2.8.3-aarch64",
        "tensorflow_1.15.0-cann_6.3.0-py_3.7-euler_2.8.3-aarch64",
    ],
)
def test_a_runtime_that_cannot_be_honoured_is_told_and_fails_nothing(package, runtime):
    path = package(ECHO, **{"config.json": json.dumps({**CONFIG, "runtime": runtime})})
    assert f'"runtime" "{runtime}" is not what runs here' in "".join(findings(path))
    assert load(path)({"a": 1}) == ["a"]


@pytest.mark.parametrize("protocol", ["http", "https"])
@pytest.mark.parametrize("method", ["POST", "post", "Post", None])
def test_post_is_answered_at_the_url_of_an_api_and_at_the_root(serve, protocol, method):
    api = {"protocol": protocol, "url": "/v1/predict", "method": method}
    client = serve(ECHO, {"config.json": json.dumps({"apis": [api]})})
    assert answers(client, "/v1/predict") == answers(client, "/") == ["a", "b"]


@pytest.mark.parametrize("apis", [[{}], [{"method": "POST"}], [], None])
def test_the_url_of_an_api_is_the_root_where_none_is_said(serve, apis):
    assert answers(serve(ECHO, {"config.json": json.dumps({"apis": apis})}), "/") == ["a", "b"]


def test_of_several_apis_each_has_its_url(serve):
    config = json.dumps({"apis": [{"url": "/a"}, {"url": "/b/c"}]})
    client = serve(ECHO, {"config.json": config})
    assert [answers(client, url) for url in ("/a", "/b/c", "/")] == [["a", "b"]] * 3


# --- files as people write them


def written(**changes) -> str:
    """config.json with its only api changed."""
    return json.dumps({**CONFIG, "apis": [{**API, **changes}]}, indent=4)


ODD = {
    "procotol": written().replace("protocol", "procotol"),
    "a comment": written().replace("{", "{  // a comment", 1),
    "a trailing comma": written()[:-2] + ",\n}",
    "a missing comma": written().replace('"image_classification",', '"image_classification"'),
    "data in a string": written(request={"Content-type": "x", "data": json.dumps(PHOTO)}),
    "the schema under request": written(request=PHOTO),
    "a tuple of items": written(request={"data": {"type": "array", "items": [PHOTO]}}),
    "item": written(request={"data": {"type": "array", "item": PHOTO}}),
    "types of its own": written(
        request={
            "data": {
                "type": "object",
                "properties": {
                    name: {"type": name} for name in ("file", "list", "float", "json", "dict")
                },
            }
        }
    ),
    "required beside data": written(request={"data": PHOTO, "required": ["photo"]}),
    "the response inside the request": written(
        request={"data": PHOTO, "response": API["response"]}, response=None
    ),
    "applicaton/json": written().replace("application/json", "applicaton/json"),
    "multipart/json": written().replace("multipart/form-data", "multipart/json"),
    "unknown keys": written(name="predict", input_params=[1]),
    "a file with limits": written(
        request={
            "data": {
                "type": "object",
                "properties": {
                    "photo": {"type": "file"},
                    "top": {"type": "number", "default": 5, "minimum": 1, "maximum": 9,
                            "description": "how many"},
                },
                "required": ["photo"],
            }
        }
    ),
}  # fmt: skip


# Unknown keys are worth a note, and limits are as they should be.
NOT_ODD = {"unknown keys", "a file with limits"}


@pytest.mark.parametrize("what", ODD)
def test_a_file_as_people_write_it_is_served_at_its_url(serve, what):
    assert answers(serve(ECHO, {"config.json": ODD[what]})) == ["a", "b"]


@pytest.mark.parametrize("what", ODD)
def test_check_says_what_an_odd_file_was_read_as(package, what):
    told = findings(package(ECHO, **{"config.json": ODD[what]}))
    assert all("/config.json:" in line for line in told)
    assert any("warning: " in line for line in told) == (what not in NOT_ODD)


@pytest.mark.parametrize("text", ["", "{", "model_type: PyTorch", "[]", "\x00", '"text"'])
def test_a_file_that_nobody_can_read_is_ignored(serve, text):
    assert answers(serve(ECHO, {"config.json": text}), "/") == ["a", "b"]


@pytest.mark.parametrize(
    "request_", [{"json": {"nothing": "declared"}}, {"data": {"photo": "no file"}}, {"json": [1]}]
)
def test_a_request_is_not_refused_over_what_the_file_declares(serve, request_):
    script = ECHO.replace("sorted(data)", "type(data).__name__")
    client = serve(script, {"config.json": ODD["a file with limits"]})
    assert client.post("/predict", **request_).status_code == 200


def test_it_is_refused_where_that_is_asked_for(serve):
    config = {"config.json": ODD["a file with limits"]}
    client = serve(ECHO, config, validate_requests="reject")
    assert client.post("/predict", data={"top": "3"}).status_code == 400
    files = {"photo": ("a.png", b"1")}
    assert client.post("/predict", files=files, data={"top": "3"}).json() == ["photo", "top"]


def test_a_default_of_a_field_is_not_filled_in(serve):
    client = serve(ECHO, {"config.json": ODD["a file with limits"]})
    assert client.post("/predict", files={"photo": ("a.png", b"1")}).json() == ["photo"]


# --- dependencies


def group(*packages, installer="pip"):
    return {"installer": installer, "packages": list(packages)}


def test_dependencies_are_planned_in_their_order_within_a_group_and_across_groups(package):
    config = {
        "dependencies": [
            group(
                {"package_name": "zzz-first", "package_version": "1.5.0", "restraint": "EXACT"},
                {"package_name": "aaa-second", "package_version": "1.10", "restraint": "ATLEAST"},
            ),
            group(
                {"package_name": "mmm-third", "package_version": "2", "restraint": "ATMOST"},
                {"package_name": "bbb-fourth", "package_version": "", "restraint": ""},
            ),
        ]
    }
    path = package(ECHO, **{"config.json": json.dumps(config)})
    wanted = ["zzz-first==1.5.0", "aaa-second>=1.10", "mmm-third<=2", "bbb-fourth"]
    assert [one.requirement() for one in dependencies.declared(open_package(path))[0]] == wanted
