"""The MindSpore example and the template behind a real server."""

import shutil

import pytest

from engineroom.plugins import Registry

pytest.importorskip("mindspore")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lenet(services):
    return services.parent.parent / "examples" / "lenet-mindspore"


def test_the_log_of_the_example_says_only_what_it_must(start_server, lenet):
    server = start_server(lenet)
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
