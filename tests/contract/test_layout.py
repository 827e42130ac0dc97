"""What lies in a package, and what ``self.model_path`` is."""

import json

import pytest
from starlette.testclient import TestClient

from engineroom import create_app, load
from engineroom.errors import EngineError

SCRIPT = """
from model_service.onnx_model_service import OnnxServingBaseService

class LabelService(OnnxServingBaseService):
    def _postprocess(self, data):
        return {key: value.tolist() for key, value in data.items()}
"""
OWN = """
from model_service.{module} import {parent}

class PathService({parent}):
    def _inference(self, data):
        return self.model_path
"""


@pytest.fixture
def onnx(services):
    return (services / "plain" / "model" / "model.onnx").read_bytes()


@pytest.mark.parametrize("level", ["", "model"])
def test_the_parent_folder_and_model_itself_are_the_same_package(package, onnx, level):
    path = package(SCRIPT, **{"model.onnx": onnx, "config.json": '{"model_type": "ONNX"}'})
    assert load(path / level)({"x": [[1, 0, 0]]}) == {"y": [[0.0, 1.0]]}
    assert load(path / level).name == "sample"


def test_a_folder_with_the_files_directly_in_it_is_a_package_too(package, onnx):
    path = package(SCRIPT, **{"model.onnx": onnx})
    flat = (path / "model").rename(path / "flat")
    assert load(flat)({"x": [[1, 0, 0]]}) == {"y": [[0.0, 1.0]]}


def test_other_modules_and_packages_may_lie_beside_the_script(package):
    path = package(
        OWN.format(module="model_service", parent="SingleNodeService").replace(
            "return self.model_path", "return NAMES + resize()"
        )
        + "from labels import NAMES\nfrom utils.image import resize\n",
        **{
            "labels.py": "NAMES = ['cat']",
            "utils/__init__.py": "",
            "utils/image.py": "def resize(): return ['small']",
        },
    )
    assert load(path)({"a": 1}) == ["cat", "small"]


def test_a_package_without_config_json_is_served(package, onnx):
    assert load(package(SCRIPT, **{"model.onnx": onnx}))({"x": [[1, 0, 0]]}) == {"y": [[0.0, 1.0]]}


def test_a_model_that_says_what_it_takes_needs_no_script(serve, onnx):
    client = serve(None, {"model.onnx": onnx, "config.json": '{"model_type": "ONNX"}'})
    assert client.post("/", json={"x": [[1, 0, 0]]}).json() == {"y": [[0.0, 1.0]]}
    assert client.post("/", data={"x": "[[1, 0, 0]]"}).json() == {"y": [[0.0, 1.0]]}


@pytest.mark.parametrize("library", ["sklearn", "xgboost"])
def test_a_scikit_learn_or_xgboost_model_needs_no_script(package, library):
    pytest.importorskip("engineroom_sklearn")
    path = package(None, **{"config.json": '{"model_type": "XGBoost"}'})
    rows, values = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [1.0, 2.0, 3.0]
    if library == "sklearn":
        joblib, linear = pytest.importorskip("joblib"), pytest.importorskip("sklearn.linear_model")
        joblib.dump(linear.LinearRegression().fit(rows, values), path / "model" / "sum.m")
    else:
        xgboost, numpy = pytest.importorskip("xgboost"), pytest.importorskip("numpy")
        model = xgboost.train({}, xgboost.DMatrix(numpy.array(rows), values), 1)
        (path / "model" / "sum.m").write_bytes(model.save_raw("ubj"))
    with TestClient(create_app(path, allow_pickle=True)) as client:
        reply = client.post("/", json={"data": {"req_data": [{"a": 1, "b": 1}, {"a": 0, "b": 1}]}})
    high, low = (row["predictresult"] for row in reply.json()["data"]["resp_data"])
    assert high > low


ROWS = [
    ("tfserving_model_service", "TfServingBaseService", ["saved_model.pb", "variables/v.index"], ""),
    ("tfserving_model_service", "TfServingBaseService", ["1/saved_model.pb"], "1"),
    ("pytorch_model_service", "PTServingBaseService", ["resnet.pth"], "resnet.pth"),
    ("pytorch_model_service", "PTServingBaseService", ["resnet.pt"], "resnet.pt"),
    ("model_service", "SingleNodeService", ["net.ckpt", "tmp.om"], ""),
    ("caffe_model_service", "CaffeBaseService", ["deploy.prototxt", "net.caffemodel"], ""),
    ("spark_model_service", "SparkServingBaseService", ["spark_model/metadata/_SUCCESS"], "spark_model"),
    ("python_model_service", "XgSklServingBaseService", ["iris.m"], "iris.m"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "parent", "files", "wanted"), ROWS)
def test_model_path_is_the_file_or_the_folder_of_its_model_type(
    package, module, parent, files, wanted
):
    path = package(OWN.format(module=module, parent=parent), **dict.fromkeys(files, "x"))
    assert load(path).service.model_path == str(path / "model" / wanted).rstrip("/")


def test_model_path_of_an_mxnet_model_is_its_folder(package):
    code = OWN.format(module="mxnet_model_service", parent="MXNetBaseService")
    path = package(
        code.replace("from model_service", "from mms.model_service"),
        **{"net-symbol.json": "{}", "net-0000.params": "x"},
    )
    assert load(path)([1]) == str(path / "model")


@pytest.mark.parametrize("kind", ["Image", "Custom"])
def test_a_container_image_has_no_model_here(package, kind):
    config = {"model_type": kind, "swr_location": "swr.example.com/group/image:1"}
    with pytest.raises(EngineError, match=f"model_type.*{kind}"):
        load(package(None, **{"config.json": json.dumps(config)}))


def test_a_script_is_served_even_where_config_json_says_that_it_was_an_image(package):
    code = OWN.format(module="model_service", parent="SingleNodeService")
    assert load(package(code, **{"config.json": '{"model_type": "Image"}'}))([1])
