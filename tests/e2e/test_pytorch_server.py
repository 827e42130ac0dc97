"""PyTorch packages behind real servers: the example, a device that is not there, a pickle."""

import importlib.util
import io
import re
import sys

import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(services):
    return services.parent.parent / "examples" / "digits-pytorch"


@pytest.fixture(scope="module")
def server(start_server, digits):
    return start_server(digits, "--no-access-log")


@pytest.fixture(scope="module")
def held_out(digits):
    """Pictures and their digits, as train.py keeps them from the training."""
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("pytorch_digits_train", digits / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    sys.path.remove(str(digits / "model"))
    del sys.modules["network"]
    _, pictures, _, wanted = train.split()
    return pictures, wanted


def test_digits_reach_the_stated_accuracy_over_http(server, digits, held_out, form):
    pictures, wanted = held_out
    got = []
    for start in range(0, len(pictures), 40):
        parts = []
        for i, picture in enumerate(pictures[start : start + 40]):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "PNG")
            parts.append(("images", f"{i}.png", buffer.getvalue()))
        got += server.post(*form(*parts))[1]["mnist_result"]
    accuracy = sum(a == b for a, b in zip(got, wanted, strict=True)) / len(wanted)
    stated = float(re.search(r"(\d\.\d{4})", (digits / "README.md").read_text())[1])
    assert len(got) == 360
    assert accuracy >= 0.985
    assert accuracy == pytest.approx(stated, abs=0.006)


def test_each_sample_picture_is_recognised(server, digits, form):
    for digit in range(10):
        sample = (digits / "samples" / f"{digit}.png").read_bytes()
        status, answer, _ = server.post(*form(("images", f"{digit}.png", sample)))
        assert (status, answer["mnist_result"]) == (200, digit)


def test_the_answer_in_the_readme_is_the_server_s(server, digits, form):
    sample = (digits / "samples" / "7.png").read_bytes()
    stated = re.search(
        r'^    (\{"mnist_result": 7,.*\})$', (digits / "README.md").read_text(), re.M
    )
    answer = server.post(*form(("images", "7.png", sample)))[1]
    shown = re.findall(r"[\d.]+", stated[1])
    assert answer["mnist_result"] == int(shown[0])
    assert answer["confidence"] == pytest.approx(float(shown[1]), abs=0.001)


def test_a_program_without_a_script_answers_json_and_numpy_files(start_server, tmp_path, form):
    module = torch.nn.Linear(3, 2).eval()
    sizes = {"input": {0: torch.export.Dim("batch")}}
    program = torch.export.export(module, (torch.zeros(2, 3),), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "linear.pt2")
    server = start_server(tmp_path / "linear.pt2")
    rows = torch.rand(4, 3)
    with torch.no_grad():
        wanted = module(rows).tolist()
    assert server.post({"input": rows.tolist()})[1] == {"output": wanted}
    import numpy as np

    file = io.BytesIO()
    np.save(file, rows.numpy())
    assert server.post(*form(("input", "rows.npy", file.getvalue())))[1] == {"output": wanted}
    status, body, _ = server.post({"input": [[1, 2]]})
    assert (status, body["error"]["code"]) == (400, "invalid_tensor")


PICKLED = """
import torch
from model_service.pytorch_model_service import PTServingBaseService


class Service(PTServingBaseService):
    def __init__(self, model_name, model_path):
        self.model = torch.load(model_path)

    def _preprocess(self, data):
        return {"y": torch.tensor(data["x"])}
"""


def test_the_variable_that_allows_pickles_lets_a_pickled_module_be_served(start_server, package):
    buffer = io.BytesIO()
    torch.save(torch.nn.Identity().eval(), buffer)
    folder = package(PICKLED, **{"model.pth": buffer.getvalue()})
    server = start_server(folder, ENGINEROOM_ALLOW_PICKLE="1")
    assert server.post({"x": [1.0, 2.0]})[1] == {"y": [1.0, 2.0]}
