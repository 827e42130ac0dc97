"""`predict --explain` and `predict --pdb`: what an author sees of a request and of a failure."""

import io
import os
import pty
import select
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from engineroom.errors import StepError
from engineroom.package import open_package
from engineroom.service import Service
from engineroom.tools.advice import advice
from engineroom.tools.fault import Fault
from engineroom.tools.portrait import portrait, text_of
from engineroom.tools.trace import Trace

HEAD = """\
import io, json, os
import numpy as np
from model_service.onnx_model_service import OnnxServingBaseService


class Mine(OnnxServingBaseService):
"""
ANSWER = "    def _inference(self, data):\n        return {'best': np.int64(7)}\n"


def png(width=28, height=14):
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def predict(package, tmp_path):
    """Runs `predict` in a process of its own on a script whose class has ``body``."""

    def run(body, *options, typed=None, request=()):
        (tmp_path / "7.png").write_bytes(png())
        path = package(HEAD + body, **{"labels.json": "[]"})
        request = request or ("-F", f"images=@{tmp_path / '7.png'}")
        command = [sys.executable, "-m", "engineroom", "predict", path, *request, *options]
        return subprocess.run(command, capture_output=True, text=True, input=typed or "")

    return run


# --- a value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.array([[1.0, 3.0]], np.float32), "float32 (1, 2), min 1, max 3, mean 2"),
        (np.array([1.0, np.nan, np.inf]), "float64 (3,), min 1, max 1, mean 1, 1 NaN, 1 inf"),
        (np.zeros((2, 2)), "float64 (2, 2), all 0"),
        (np.array([True, False]), "bool (2,), 1 of 2 true"),
        ([[1, 2], [3, 6]], "list of 2: each list of 2 int, min 1, max 6, mean 3"),
        ("y" * 100, f"str of 100 characters: '{'y' * 40}…'"),
        (7, "int 7"),
        (io.BytesIO(b""), "0 bytes: empty"),
        ({"7.png": io.BytesIO(png())}, f"1 file '7.png', {len(png())} bytes, PNG 28x14 L"),
        ({"a.json": io.BytesIO(b'{"a": 1}')}, "1 file 'a.json', 8 bytes, JSON text: '{\"a\": 1}'"),
        ({"a.npy": io.BytesIO(b"\x93NUMPY\x01")}, "1 file 'a.npy', 7 bytes, NPY array"),
    ],
)
def test_a_value_is_shown_with_its_range_its_head_or_the_kind_of_its_file(value, words):
    assert list(text_of(portrait(value), "")) == [words]


def test_a_file_that_has_been_read_says_how_far():
    file = io.BytesIO(b"text")
    file.read()
    assert next(text_of(portrait(file), "")).endswith("read up to byte 4")


def test_the_parts_of_a_dict_are_lines_of_their_own():
    lines = list(text_of(portrait({"k": "3", "boxes": [{"x": 1}]}), ""))
    assert lines == [
        "k      str of 1 character: '3'",
        "boxes  list of 1",
        "  [0]  dict of 1",
        "    x  int 1",
    ]


# --- the steps


class Doubling(Service):
    def _inference(self, data):
        return [2 * x for x in data]

    def inference(self, data):
        return self._postprocess(self._inference(data))


def test_the_calls_of_an_own_inference_are_traced_and_the_service_is_left_as_it_was():
    service, trace = Doubling(), Trace()
    before = dict(vars(service))
    with trace.of(service):
        assert service.inference([1, 2]) == [2, 4]
    assert vars(service) == before
    assert [(begins, call.name, call.depth) for begins, call in trace.events] == [
        (True, "inference", 0), (True, "_inference", 1), (False, "_inference", 1),
        (True, "_postprocess", 1), (False, "_postprocess", 1), (False, "inference", 0),
    ]  # fmt: skip
    assert trace.result == [2, 4]


def test_what_went_in_is_told_as_it_was_before_the_step_changed_it():
    class Emptying(Service):
        def _inference(self, data):
            data.clear()
            return data

    trace, service = Trace(), Emptying()
    with trace.of(service):
        service.inference({"k": "3"})
    (given,) = (c.given for begins, c in trace.events if begins and c.name == "_inference")
    assert given[0].words == "str of 1 character: '3'"


def test_the_report_shows_each_step_and_what_became_of_the_result(predict):
    done = predict(ANSWER, "--explain")
    assert (done.returncode, done.stdout) == (0, '{"best":7}\n')
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    assert lines[:2] == ["request", f"images 1 file '7.png', {len(png())} bytes, PNG 28x14 L"]
    assert any(line.endswith("customize_service.py:7") for line in lines)
    assert "out best int64 7" in lines
    assert "result['best']: int64 became a number" in lines


def test_a_package_without_a_script_is_explained_too(services):
    example = services.parent.parent / "examples" / "digits-onnx" / "model" / "model.onnx"
    zeros = str(np.zeros((1, 1, 8, 8)).tolist())
    command = [sys.executable, "-m", "engineroom", "predict", example, "--explain"]
    done = subprocess.run(
        [*command, "-d", f'{{"images": {zeros}}}'], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "no script: uploads and lists become the model's inputs" in done.stderr
    assert "float32 (1, 10)" in done.stderr


# --- a failure


def test_a_failure_is_shown_with_its_source_its_variables_and_its_causes(predict):
    done = predict(
        "    def _preprocess(self, data):\n"
        "        width = np.zeros((2, 3))\n"
        "        try:\n"
        "            return int('x')\n"
        "        except ValueError:\n"
        "            raise RuntimeError('cannot')\n" + ANSWER,
        "--explain",
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "failed        in _preprocess: RuntimeError: cannot" in done.stderr
    assert ">   12 |             raise RuntimeError('cannot')" in done.stderr
    assert "width  float64 (2, 3)" in done.stderr
    assert "before that ValueError: invalid literal" in done.stderr
    assert "(customize_service.py:10)" in done.stderr
    assert "engineroom/service.py" not in done.stderr


def test_a_key_that_did_not_come_is_told_with_those_that_did_and_those_that_are_asked_for(predict):
    body = "    def _preprocess(self, data):\n        return data['image'], data.get('k')\n"
    done = predict(body + ANSWER, "--explain")
    assert (
        "'data' has no key 'image'; its keys are: 'images'; the script asks it for 'k', too; "
        "did you mean 'images'?" in done.stderr
    )


def test_an_error_of_ours_that_the_script_raises_is_explained_as_any_other(predict):
    step = (
        "    def _preprocess(self, data):\n"
        "        from engineroom.errors import InvalidInputError\n"
        "        raise InvalidInputError('no pictures')\n"
    )
    done = predict(step + ANSWER, "--explain")
    assert done.returncode == 1
    assert "failed        in _preprocess: InvalidInputError: no pictures" in done.stderr
    assert "before that" not in done.stderr


def test_a_constructor_that_fails_is_explained_with_exit_code_3(predict):
    body = "    def __init__(self, name, path):\n        self.l = open('lables.json')\n"
    done = predict(body + ANSWER, "--explain")
    assert done.returncode == 3
    assert ">    8 |         self.l = open('lables.json')" in done.stderr
    assert "looked for in the working directory" in done.stderr
    assert "model/labels.json; os.path.dirname(__file__) is" in done.stderr


def test_a_result_that_json_cannot_hold_is_told_with_its_place(predict):
    body = "    def _inference(self, data):\n        return {'a': [1, object()]}\n"
    assert "result['a'][1] is a object" in predict(body, "--explain").stderr


# --- advice


@pytest.fixture
def advise(package):
    """The advice on a failure of ``body`` as a step's."""

    def run(body, data=None, parent=""):
        script = "import io, json\nimport numpy as np\n"
        script += "def step(data):\n    " + body.replace("\n", "\n    ") + "\n"
        opened = open_package(package(script))
        names = {}
        exec(compile(script, str(opened.script), "exec"), names)
        try:
            names["step"](data)
        except Exception as caught:
            error = StepError("failed")
            error.__cause__ = caught
            return "\n".join(advice(Fault(error, opened, data, parent=parent)))
        raise AssertionError("the step did not fail")

    return run


CV2 = "class cv2:\n    imread = imdecode = staticmethod(lambda *_: None)\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (CV2 + "picture = cv2.imread('a')\npicture.shape", "cv2.imread takes a path on disk"),
        (CV2 + "picture = cv2.imdecode(b'')\nlen(picture)", "cv2.imdecode could not read"),
        ("{'a.png': 1}.read()", "a file field is a dict {name: file}"),
        ("io.BytesIO().shape", "an upload is a BytesIO"),
        ("open(io.BytesIO())", "an upload is no file on disk"),
        ("a = np.zeros((3, 4))\na @ a", "shapes there: a float64 (3, 4)"),
        ("raise AssertionError('Torch not compiled with CUDA enabled')", "torch.cuda.is_available"),
        ("json.dumps(np.zeros(2))", "return the value itself"),
        ("[[1]].argmax()", "TfServingBaseService gives nested lists"),
        ("np.zeros(2).index(1)", "TfServingBaseService gives arrays"),
        ("np.zeros(2).cpu()", "TfServingBaseService gives numpy arrays"),
    ],
)
def test_a_usual_failure_comes_with_advice(advise, body, words):
    assert words in advise(body, parent="TfServingBaseService")


def test_a_file_that_was_read_to_its_end_is_noticed(advise):
    assert "file.seek(0)" in advise("file = io.BytesIO(b'x')\nfile.read()\njson.load(file)")


def test_a_failure_that_speaks_for_itself_gets_no_advice(advise):
    assert advise("raise ValueError('the picture must be square')") == ""


# --- the debugger

FAILS = "    def _preprocess(self, data):\n        width = [1, 2]\n        return [x['a'] for x in width]\n"


def test_pdb_opens_where_the_script_has_variables_and_the_exit_code_stays(predict):
    done = predict(FAILS + ANSWER, "--pdb", typed="p len(width)\np sorted(data)\nq\n")
    assert done.returncode == 1
    assert "customize_service.py(9)_preprocess()" in done.stdout
    assert "(Pdb) 2\n(Pdb) ['images']" in done.stdout


def test_pdb_opens_in_a_constructor_that_fails(predict):
    body = "    def __init__(self, name, path):\n        self.l = {}[name]\n"
    done = predict(body + ANSWER, "--pdb", typed="p name\nq\n")
    assert done.returncode == 3
    assert "(Pdb) 'sample'" in done.stdout


def test_pdb_stays_away_from_a_request_that_is_answered(predict):
    done = predict(ANSWER, "--pdb", typed="q\n")
    assert (done.returncode, done.stdout) == (0, '{"best":7}\n')


def test_pdb_says_so_where_no_line_of_the_script_was_running(predict):
    done = predict("    def broken(:\n", "--pdb")
    assert done.returncode == 3
    assert "nothing to debug" in done.stderr


def test_pdb_does_not_share_standard_input_with_the_body(predict):
    done = predict(ANSWER, "--pdb", request=("-d", "@-"))
    assert done.returncode == 2
    assert "put the body into a file" in done.stderr


def test_pdb_works_at_a_terminal(package):
    path = package(HEAD + FAILS + ANSWER)
    command = [sys.executable, "-m", "engineroom", "predict", str(path), "-d", '{"a": 1}', "--pdb"]
    terminal, end = pty.openpty()
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end)
    os.close(end)
    try:
        read_until(terminal, b"(Pdb) ")
        os.write(terminal, b"sum(width) * 1000\n")
        assert b"3000" in read_until(terminal, b"(Pdb) ")
        os.write(terminal, b"q\n")
        assert process.wait(20) == 1
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def read_until(terminal, mark):
    seen, limit = b"", time.monotonic() + 20
    while mark not in seen and time.monotonic() < limit:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 4096)
    return seen
