"""`serve --reload`: what a person sees who edits a package while it is served."""

import os
import time

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """\
from model_service.onnx_model_service import OnnxServingBaseService


class Service(OnnxServingBaseService):
    def __init__(self, model_name, model_path):
        self.word = "cat"

    def _inference(self, data):
        return self.word
"""


@pytest.fixture
def edited(start_server, tmp_path):
    """A server that reloads, and the function that edits its script: old text, new text."""
    script = tmp_path / "customize_service.py"
    script.write_text(SCRIPT)
    server = start_server(tmp_path, "--reload", ready=False)

    def edit(old, new):
        script.write_text(SCRIPT.replace(old, new))
        return settled(server)

    server.edit, server.folder = edit, tmp_path
    assert settled(server)[:2] == (200, "cat")
    return server


def settled(server):
    """The first answer of the version that has just been saved."""
    limit = time.monotonic() + 15
    while time.monotonic() < limit:
        try:
            status, answer, headers = server.post({"a": 1})
        except OSError:  # a connection to the version that ends
            continue
        if status == 200 or "is being loaded" not in answer["error"]["message"]:
            return status, answer, headers
        time.sleep(0.02)
    raise AssertionError(server.log())


def test_the_first_request_after_a_change_gets_the_new_answer(edited):
    assert edited.edit("cat", "dog")[:2] == (200, "dog")
    assert "customize_service.py changed; loading it again" in edited.log()


def test_a_script_that_is_not_python_answers_503_with_its_line_until_it_is_mended(edited):
    status, answer, headers = edited.edit("return", "retrun")
    assert (status, headers["retry-after"]) == (503, "1")
    assert "customize_service.py:9: not Python: invalid syntax" in answer["error"]["message"]
    assert "customize_service.py:9: not Python" in edited.log()
    assert edited.get("/health")[0] == 503
    assert edited.edit("cat", "cow")[:2] == (200, "cow")


def test_a_constructor_that_fails_answers_503_with_its_line_until_it_is_mended(edited):
    status, answer, _ = edited.edit('"cat"', "open('nowhere.txt')")
    assert status == 503
    message = answer["error"]["message"]
    assert "customize_service.py:6: class Service could not be made: FileNotFoundError" in message
    assert edited.get("/health")[1]["state"] == "failed"
    assert edited.edit("cat", "cow")[:2] == (200, "cow")


def test_a_script_that_ends_its_process_answers_503_until_it_is_mended(edited):
    (edited.folder / "customize_service.py").write_text("import os\nos._exit(7)\n" + SCRIPT)
    edited.wait_for_line("ended with exit code 7")
    status, answer, _ = settled(edited)
    assert (status, answer["error"]["message"]) == (
        503,
        "the process of the server ended with exit code 7",
    )
    assert edited.edit("cat", "cow")[:2] == (200, "cow")


def test_files_that_a_script_writes_do_not_reload_it(edited):
    before = edited.log().count("loading it again")
    (edited.folder / "upload.png").write_bytes(b"x")
    (edited.folder / "__pycache__").mkdir()
    (edited.folder / "__pycache__" / "a.py").write_text("x")
    time.sleep(0.5)
    assert edited.log().count("loading it again") == before


@pytest.mark.parametrize("name", ["config.json", "helper.py"])
def test_config_json_and_other_python_files_reload_it(edited, name):
    (edited.folder / name).write_text("{}")
    edited.wait_for_line(f"{name} changed; loading it again")
    assert settled(edited)[:2] == (200, "cat")


def test_a_file_that_is_touched_reloads_it(edited):
    os.utime(edited.folder / "customize_service.py")
    edited.wait_for_line("customize_service.py changed; loading it again")


def test_a_package_that_is_broken_from_the_start_is_served_once_it_is_mended(
    start_server, tmp_path
):
    script = tmp_path / "customize_service.py"
    script.write_text("class (")
    server = start_server(tmp_path, "--reload", ready=False)
    assert "customize_service.py:1: not Python" in settled(server)[1]["error"]["message"]
    script.write_text(SCRIPT)
    assert settled(server)[1] == "cat"


def test_a_request_that_never_ends_does_not_hold_up_the_reload(start_server, tmp_path, services):
    script = tmp_path / "customize_service.py"
    script.write_text(SCRIPT.replace("return", "import time; time.sleep(60); return"))
    server = start_server(tmp_path, "--reload")
    with pytest.raises(OSError, match="timed out"):
        server.request("/", timeout_s=0.3, data=b'{"a": 1}')
    script.write_text(SCRIPT)
    server.wait_for_line("loading it again")
    assert settled(server)[:2] == (200, "cat")
