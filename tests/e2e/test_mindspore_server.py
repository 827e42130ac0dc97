"""The MindSpore example and the template behind a real server."""

import importlib.util
import io
import re
import shutil

import pytest
from PIL import Image

from engineroom.plugins import Registry

pytest.importorskip("mindspore")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lenet(services):
    return services.parent.parent / "examples" / "lenet-mindspore"


def png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def test_digits_reach_the_stated_accuracy_over_http(start_server, lenet, form):
    spec = importlib.util.spec_from_file_location("lenet_train", lenet / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    _, pictures, _, wanted = train.split()
    server = start_server(lenet, "--no-access-log")
    got = []
    for start in range(0, len(pictures), 40):
        batch = pictures[start : start + 40]
        parts = [("images", f"{i}.png", png(picture)) for i, picture in enumerate(batch)]
        got += server.post(*form(*parts))[1]["mnist_result"]
    accuracy = sum(a == b for a, b in zip(got, wanted, strict=True)) / len(wanted)
    stated = float(re.search(r"(\d\.\d{4})", (lenet / "README.md").read_text())[1])
    assert len(got) == 360
    assert accuracy == pytest.approx(stated, abs=0.006)


def test_each_sample_is_recognised_and_the_log_says_only_what_it_must(start_server, lenet, form):
    server = start_server(lenet)
    for digit in range(10):
        sample = (lenet / "samples" / f"{digit}.png").read_bytes()
        status, answer, _ = server.post(*form(("images", f"{digit}.png", sample)))
        assert (status, answer["mnist_result"]) == (200, digit)
    log = server.log()
    assert log.count('asks for device_target="Ascend", which is not there; it gets CPU') == 1
    assert "[WARNING]" not in log  # MindSpore's own lines
    assert "[ERROR]" not in log


def test_the_template_recognises_its_picture(start_server, form, tmp_path):
    template = Registry().engine("mindspore").template()
    shutil.copytree(template, tmp_path / "mine")
    server = start_server(tmp_path / "mine")
    picture = (tmp_path / "mine" / "7.png").read_bytes()
    assert server.post(*form(("images", "7.png", picture)))[1] == {"mnist_result": 7}
    two = [("images", "a.png", picture), ("images", "b.png", picture)]
    assert server.post(*form(*two))[1] == {"mnist_result": [7, 7]}
    made = {path.name for path in (tmp_path / "mine").rglob("*")} - {"__pycache__"}
    made = {name for name in made if not name.endswith(".pyc")}
    assert made == {path.name for path in template.rglob("*") if "__pycache__" not in str(path)}


PYNATIVE = """
import mindspore
from mindspore import Tensor, context
from model_service.model_service import SingleNodeService

context.set_context(mode=context.PYNATIVE_MODE, device_target="Ascend", device_id=0)


class AddOne(SingleNodeService):
    def _inference(self, data):
        return (Tensor(data["x"], mindspore.float32) + 1).asnumpy()
"""


def test_the_first_request_of_a_script_in_pynative_mode_is_answered(start_server, tmp_path):
    (tmp_path / "customize_service.py").write_text(PYNATIVE)
    assert start_server(tmp_path).post({"x": [1, 2]})[1] == [2.0, 3.0]
