"""scikit-learn behind a real server: the example, and the template as a user would start it."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    # The example was trained with one version of scikit-learn, and is tested with several.
    pytest.mark.filterwarnings("ignore:Trying to unpickle estimator"),
]
skops_io = pytest.importorskip("skops.io")


@pytest.fixture(scope="module")
def tumours(services):
    return services.parent.parent / "examples" / "tumours-sklearn"


@pytest.fixture(scope="module")
def server(start_server, tumours):
    return start_server(tumours, "--no-access-log")


@pytest.fixture(scope="module")
def train(tumours):
    spec = importlib.util.spec_from_file_location("tumours_train", tumours / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tumours_reach_the_stated_accuracy_and_are_the_model_s_own_answers(server, tumours, train):
    _, rows, _, wanted = train.split()
    status, answer, _ = server.post(train.as_request(rows))
    got = [item["predictresult"] for item in answer["data"]["resp_data"]]
    stated = float(re.search(r"\*\*(\d\.\d{4})\*\*", (tumours / "README.md").read_text())[1])
    assert (status, len(got)) == (200, 228)
    assert (wanted == got).mean() == pytest.approx(stated, abs=0.001)
    model = skops_io.load(tumours / "model" / "tumours.skops")
    assert got == model.predict(train.as_frame(rows)).tolist()


def test_the_answer_in_the_readme_is_the_server_s(server, tumours):
    request = (tumours / "model" / "examples" / "two_tumours.json").read_bytes()
    answer = server.post(request, "application/x-www-form-urlencoded")[1]  # as curl -d sends it
    stated = re.search(r"^    (\{\"data\".*\})$", (tumours / "README.md").read_text(), re.M)[1]
    assert answer == json.loads(stated)


def test_a_row_that_lacks_a_column_is_the_client_s_error_in_the_contract_s_words(server):
    status, answer, _ = server.post({"data": {"req_data": [{"radius": 9.6}]}})
    assert (status, answer["erno"]) == (400, "PY.0101")
    assert "lacks 'texture'" in answer["error_info"]


def test_init_writes_a_package_that_answers(tmp_path):
    command = [sys.executable, "-m", "engineroom"]
    folder = tmp_path / "mine"
    subprocess.run([*command, "init", "--engine", "sklearn", folder], check=True)
    done = subprocess.run(
        [*command, "predict", folder, "-d", f"@{folder}/flowers.json"],
        check=True,
        capture_output=True,
        text=True,
    )
    readme = (folder / "README.md").read_text()
    stated = re.search(r"^    (\{\"data\".*\})$", readme, re.M)[1]
    assert json.loads(done.stdout) == json.loads(stated)
