"""All engines in one environment: one server for a model of each, and none in another's way."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ENGINES = Path(__file__).parents[1] / "engines"
SUITES = {
    "onnx": "TestOnnxConformance",
    "tensorflow": "TestTensorFlowConformance",
    "pytorch": "TestTorchScriptConformance",
    "mindspore": "TestMindSporeConformance",
    "sklearn": "TestSklearnConformance",
}
# Writes the model of an engine's conformance suite, and prints its request and its direct answer.
WRITE = """
import importlib.util, json, sys
from pathlib import Path
import numpy as np
spec = importlib.util.spec_from_file_location("suite", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["suite"] = module
spec.loader.exec_module(module)
suite, folder = getattr(module, sys.argv[2])(), Path(sys.argv[3])
suite.write_model(folder)
answer = {key: np.asarray(value).tolist() for key, value in suite.direct(folder).items()}
print(json.dumps([suite.request, answer]))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """For each engine its model's folder, a request, and the answer of the framework itself."""
    found = {}
    for engine, suite in SUITES.items():
        folder = tmp_path_factory.mktemp(engine)
        command = [sys.executable, "-c", WRITE, ENGINES / f"test_{engine}.py", suite, folder]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[engine] = (folder, *json.loads(done.stdout.splitlines()[-1]))
    return found


@pytest.fixture(scope="module")
def server(start_server, models):
    paths = [f"{engine}={folder}" for engine, (folder, *_) in models.items()]
    server = start_server(*paths, ready=False)
    server.wait_until_ready(120)
    return server


def test_one_process_answers_for_five_frameworks_at_once_as_they_do_themselves(server, models):
    def ask(engine):
        return engine, server.post(models[engine][1], path=f"/v1/infers/{engine}")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, [*models] * 50))
    for engine, (status, body, _) in answers:
        wanted = models[engine][2]
        if engine == "sklearn":  # the one whose answers have an envelope
            rows = body["data"]["resp_data"]
            body = {"predictresult": [row["predictresult"] for row in rows]}
        assert (status, list(body)) == (200, list(wanted))
        for name, value in wanted.items():
            np.testing.assert_array_equal(np.asarray(body[name]), np.asarray(value))


def test_the_list_of_models_names_the_engine_and_the_device_of_each(server):
    found = server.get("/v1/models")[1]["models"]
    assert [(m["engine"], m["device"], m["state"]) for m in found] == [
        (engine, "cpu", "ready") for engine in SUITES
    ]


def test_bad_input_for_each_is_the_client_s_error(server, models):
    for engine, (_, request, _) in models.items():
        bad = dict.fromkeys(request, "text")
        status, body, _ = server.post(bad, path=f"/v1/infers/{engine}")
        assert (status, body["error"]["code"]) == (400, "invalid_tensor"), engine


def test_serving_one_engine_s_model_maps_no_other_framework(start_server, models):
    server = start_server(models["onnx"][0])
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert [name for name in ("tensorflow", "torch", "mindspore") if f"/{name}/" in maps] == []


def test_each_engine_says_which_devices_it_sees():
    command = [sys.executable, "-m", "engineroom", "engines", "--devices", "--json"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert {row["name"]: row["devices"][-1] for row in rows} == dict.fromkeys(SUITES, "cpu")
    assert {row["state"] for row in rows} == {"usable"}


TELLS_THREADS = """
import os
from model_service.pytorch_model_service import PTServingBaseService

class Mine(PTServingBaseService):
    def _inference(self, data):
        return [os.environ.get(name) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")]
"""


def test_each_of_two_workers_gives_its_script_half_of_the_cores(start_server, package):
    server = start_server(package(TELLS_THREADS), "--workers", "2")
    half = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert server.post({"a": 1})[1] == [half, half]


def test_one_worker_leaves_its_script_all_of_them(start_server, package):
    assert start_server(package(TELLS_THREADS)).post({"a": 1})[1] == [None, None]


LEAVES_IT = """
from model_service.tfserving_model_service import TfServingBaseService

class Mine(TfServingBaseService):
    def _postprocess(self, data):
        return data
"""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("model.onnx", "onnx reads model.onnx: from model_service.onnx_model_service import"),
        ("lgb.txt", "override _inference to run the model yourself"),
        ("model.h5", "is HDF5, the format of Keras 2: load it in a script"),
    ],
)
def test_a_script_that_leaves_the_inference_to_an_engine_that_cannot_read_its_files(
    package, name, hint
):
    path = package(LEAVES_IT, **{name: b"x"})
    command = [sys.executable, "-m", "engineroom", "serve", path, "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "the script leaves _inference to TfServingBaseService" in done.stderr
    assert hint in done.stderr
