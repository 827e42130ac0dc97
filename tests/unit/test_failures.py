"""From an exception in a script to the answer: which step, which line, whose fault."""

import io

import pytest

from engineroom.errors import (
    InvalidTensorError,
    InvalidUploadError,
    RequestError,
    StepError,
    StepInputError,
)
from engineroom.failures import aside, place_of, request_error
from engineroom.package import open_package
from engineroom.service import Service

HEAD = "from engineroom.service import Service\nimport io, json, zipfile\nimport numpy as np\n"


@pytest.fixture
def fail(package):
    """The request error of a service whose ``_preprocess`` is ``body``."""

    def run(body, data=None, rest=""):
        script = f"{HEAD}class Mine(Service):\n  def _preprocess(self, data):\n    {body}\n{rest}"
        opened = open_package(package(script))
        names = {}
        exec(compile(script, str(opened.script), "exec"), names)
        service = names["Mine"]()
        try:
            service.inference(data)
        except (Exception, SystemExit) as error:
            return request_error(error, service, opened)
        raise AssertionError("the script did not fail")

    return run


def test_a_failure_names_its_step_its_line_and_the_source(fail):
    error = fail('raise ValueError("no good")')
    assert str(error) == "_preprocess raised ValueError: no good (customize_service.py:6)"
    assert error.detail == {
        "step": "_preprocess",
        "where": "customize_service.py:6",
        "line": 'raise ValueError("no good")',
        "given": "None",
        "exception": "ValueError: no good",
    }


def test_the_line_is_the_innermost_one_of_the_script(fail):
    error = fail("helper()", rest="def helper():\n  return json.dumps(object())\n")
    assert error.detail["where"] == "customize_service.py:8"
    assert error.detail["step"] == "_preprocess"


def test_a_module_beside_the_script_is_the_script_s_too(fail, package):
    package(**{"net/layers.py": "def run():\n    return {}['weights']\n"})
    body = "from importlib import util; import os\n"
    body += "    spec = util.spec_from_file_location('l', os.path.join(data, 'net/layers.py'))\n"
    body += "    l = util.module_from_spec(spec); spec.loader.exec_module(l); l.run()"
    error = fail(body, data=str(package() / "model"))
    assert error.detail["where"] == "net/layers.py:2"
    assert error.detail["line"] == "return {}['weights']"


def test_the_step_is_the_innermost_that_belongs_to_this_service(fail):
    rest = "  def _inference(self, data):\n    return self._postprocess(data)\n"
    rest += "  def _postprocess(self, data):\n    return data['missing']\n"
    error = fail("return {}", rest=rest)
    assert error.detail["step"] == "_postprocess"


def test_a_failure_in_an_own_inference_has_no_step(fail):
    rest = "  def inference(self, data):\n    raise ValueError('no')\n"
    error = fail("pass", rest=rest)
    assert "step" not in error.detail
    assert str(error).startswith("inference raised ValueError")


@pytest.mark.parametrize(
    "body", ["data['images']", "raise KeyError('x')", "None + 1", "len(5)", "int(None)"]
)
def test_keyerror_and_typeerror_are_400_with_mr_0105(fail, body):
    error = fail(body, data={})
    assert type(error) is StepInputError
    assert (error.status, error.erno) == (400, "MR.0105")


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError",
        "1 / 0",
        "self.model.run()",
        "[][0]",
        "raise RuntimeError('no')",
        "open('/no/such/labels.txt')",
        "raise MemoryError",
        "self._preprocess(data)",
        "exit()",
        "assert False",
        "raise StopIteration",
        "import no_such_module",
    ],
)
def test_any_other_exception_is_500_with_mr_0105(fail, body):
    error = fail(body)
    assert type(error) is StepError
    assert (error.status, error.erno) == (500, "MR.0105")


@pytest.mark.parametrize(
    "body",
    [
        "from PIL import Image; Image.open(io.BytesIO(b'text'))",
        "from PIL import Image; Image.open(io.BytesIO(data)).load()",
        "json.loads('{')",
        "json.load(io.BytesIO(b'\\xff'))",
        "b'\\xff'.decode()",
        "zipfile.ZipFile(io.BytesIO(b'text'))",
        "np.load(io.BytesIO(b'text'))",
        "np.loadtxt(io.StringIO('a b'))",
        "import gzip; gzip.decompress(b'text')",
        "import base64; base64.b64decode('a', validate=True)",
        "import csv; list(csv.reader(['\"'], strict=True))",
        "import wave; wave.open(io.BytesIO(b'text'))",
        "from xml.etree import ElementTree; ElementTree.fromstring('<')",
    ],
)
def test_what_a_reader_of_files_refuses_is_the_client_s_upload(fail, body):
    truncated = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\2\x08\2\0\0\0\xfd\xd4\x9as"
    error = fail(body, data=truncated)
    assert type(error) is InvalidUploadError
    assert (error.status, error.erno) == (400, "MR.0101")
    assert str(error).startswith(
        "the upload cannot be read in _preprocess (customize_service.py:6)"
    )


def test_a_reader_that_finds_no_file_is_not_about_the_upload(fail):
    assert type(fail("np.load('/no/such/file.npy')")) is StepError
    assert type(fail("from PIL import Image; Image.open('/no/such.png')")) is StepError


def test_opencv_s_error_for_an_unreadable_picture_is_about_the_upload(fail):
    make = "E = type('error', (Exception,), {'__module__': 'cv2'}); raise E"
    assert type(fail(f"{make}('(-215) !buf.empty() in imdecode_')")) is InvalidUploadError
    assert type(fail(f"{make}('(-215) sizes differ')")) is StepError


def test_an_error_of_ours_stays_what_it_is_and_learns_where_it_happened(fail):
    body = "from engineroom.errors import InvalidTensorError; "
    body += "raise InvalidTensorError('bad', input='x', where='elsewhere')"
    error = fail(body)
    assert type(error) is InvalidTensorError
    assert str(error) == "bad"
    assert (error.detail["step"], error.detail["input"]) == ("_preprocess", "x")
    assert error.detail["where"] == "elsewhere"


def test_a_script_may_raise_any_request_error_itself(fail):
    error = fail("from engineroom.errors import RequestError; raise RequestError('mine', a=1)")
    assert type(error) is RequestError
    assert error.detail["a"] == 1


def test_a_failure_outside_the_script_has_a_step_and_no_line(package):
    service, opened = Service(), open_package(package(""))
    with pytest.raises(StepError) as caught:
        service.inference({})
    error = request_error(caught.value, service, opened)
    assert error.detail == {"step": "_inference", "given": "an empty dict"}


# --- what a step was given


def test_what_a_step_was_given_is_told_by_kind_and_size_and_never_by_value(fail):
    data = {"images": {"7.png": io.BytesIO(b"x" * 331)}, "k": "hunter2"}
    error = fail("1 / 0", data)
    assert error.detail["given"] == {
        "images": "1 file '7.png' (331 bytes)",
        "k": "str of 7 characters",
    }
    assert "hunter2" not in str(error.body("1"))


def test_a_step_that_has_bound_its_parameter_anew_is_told_by_what_came_in(fail):
    assert fail("data = len(data); 1 / 0", data=[1, 2]).detail["given"] == "list of 2 int"


def test_the_next_step_is_told_by_what_the_one_before_returned(fail):
    rest = "  def _postprocess(self, data):\n    return data['missing']\n"
    rest += "  def _inference(self, data):\n    return {'y': data['x'] * 2}\n"
    error = fail("return {'x': np.zeros((1, 28), 'float32')}", rest=rest)
    assert (error.detail["step"], error.detail["given"]) == (
        "_postprocess",
        {"y": "float32 (1, 28)"},
    )


def test_a_step_with_a_signature_of_its_own_is_told_by_its_arguments(fail):
    rest = "  def inference(self, data):\n    return self._inference(data, width=3)\n"
    rest += "  def _inference(self, rows, width):\n    return rows[width]\n"
    error = fail("pass", data=[1, 2], rest=rest)
    assert error.detail["given"] == {"rows": "list of 2 int", "width": "int"}


def test_a_failure_in_an_own_inference_is_told_by_the_request(fail):
    rest = "  def inference(self, request):\n    return request['a'].read()\n"
    assert fail("pass", data={"a": "1"}, rest=rest).detail["given"] == {"a": "str of 1 character"}


def test_the_log_gets_the_line_and_what_was_given_behind_the_message(fail):
    told = fail("1 / 0", data={"k": 1})
    assert aside(told.detail) == "; line: 1 / 0; given: k: int"
    assert aside(told.detail, ["given"]) == "; given: k: int"
    assert aside({}) == ""


# --- where


def test_the_place_of_a_syntax_error_is_the_file_that_has_it(package, tmp_path):
    opened = open_package(package(""))
    with pytest.raises(SyntaxError) as caught:
        compile("a = 1\nb = (\n", str(tmp_path / "net.py"), "exec")
    assert place_of(caught.value, opened) == f"{tmp_path / 'net.py'}:2"


def test_an_error_from_elsewhere_has_no_place(package):
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert place_of(caught.value, open_package(package(""))) is None
