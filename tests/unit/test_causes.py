"""What a message says is behind a failure, and what to do about it."""

import pytest

from engineroom import load
from engineroom.errors import LoadError, RequestError, ScriptError

HEAD = "from model_service.onnx_model_service import OnnxServingBaseService\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n"


@pytest.fixture
def failure(package):
    """The message for a service whose constructor does ``line``, without the package's path."""

    def run(line, parent="onnx_model_service import OnnxServingBaseService", **files):
        script = f"from model_service.{parent} as P\nclass S(P):\n"
        script += f"    def __init__(self, name, path):\n        {line}\n"
        path = package(script, **files)
        with pytest.raises(ScriptError) as caught:
            load(path)
        return str(caught.value).replace(str(path), "PATH")

    return run


# --- files


def test_a_class_that_could_not_be_made_is_named_with_its_line(failure):
    words = failure("raise ValueError('no good')")
    assert words.startswith(
        "PATH/model/customize_service.py:4: class S could not be made: ValueError: no good; "
        "line: raise ValueError('no good')"
    )


def test_a_git_lfs_pointer_that_a_script_reads_is_called_one(failure):
    words = failure("raise RuntimeError(path)", **{"net.onnx": POINTER})
    assert "PATH/model/net.onnx is a git-lfs pointer of 74 bytes and not the file itself" in words
    assert "run there: git lfs pull" in words


@pytest.mark.parametrize("place", ["net.onnx", "weights/net.onnx"])
def test_a_git_lfs_pointer_for_a_model_without_a_script_is_called_one(package, place):
    path = package(**{place: POINTER})
    with pytest.raises(LoadError, match=f"{place} is a git-lfs pointer of 74 bytes"):
        load(path)


def test_a_git_lfs_pointer_among_other_files_is_named_when_a_step_fails(package):
    step = "class S(OnnxServingBaseService):\n    def _inference(self, data):\n"
    step += "        raise ValueError('no labels in model/labels.json')\n"
    service = load(package(HEAD + step, **{"labels.json": POINTER}))
    with pytest.raises(RequestError, match="labels.json is a git-lfs pointer"):
        service({"a": 1})


def test_a_missing_model_file_is_told_with_what_was_looked_for_and_what_is_there(failure):
    parent, config = "pytorch_model_service import PTServingBaseService", '{"model_type":"PyTorch"}'
    words = failure("open(path)", parent, **{"config.json": config, "labels.txt": "cat"})
    assert "there is no *.pth or *.pt, so model_path is the folder" in words
    assert "PATH/model holds config.json, customize_service.py, labels.txt" in words


def test_a_missing_file_is_told_with_the_one_of_nearly_its_name(failure):
    words = failure("open('model/lables.json')", **{"data/labels.json": "[]"})
    assert "looked for in the working directory, PATH; the package has PATH/model/data/" in words


def test_a_missing_file_is_told_with_what_its_folder_holds(failure):
    words = failure("open(path + '/ckpt/best.bin')", **{"ckpt/last.params": "x"})
    assert "the package has no such file: PATH/model/ckpt holds last.params" in words


def test_a_file_that_is_only_named_in_a_library_s_message_is_looked_for_too(failure):
    words = failure("raise ValueError('File not found: filepath=' + path + '/best.hdf5.')")
    assert "the package has no such file: PATH/model holds customize_service.py" in words


# --- Python 2


def test_a_name_of_python_2_is_told_with_today_s(failure):
    words = failure("self.ids = xrange(3)")
    assert "name 'xrange' is not defined; 'xrange' is a name of Python 2; today: range" in words


def test_a_method_of_python_2_is_told_with_today_s(failure):
    assert "a method of Python 2; today: key in data" in failure("{}.has_key('a')")


def test_a_module_that_was_never_imported_is_told_with_the_line_that_is_missing(failure):
    assert "the script lacks the line: import shutil" in failure("shutil.copy('a', 'b')")


def test_a_download_that_fails_is_told_with_how_to_do_without(failure):
    words = failure("raise OSError('<urlopen error [Errno -2] Name or service not known>')")
    assert "this machine could not: weights that the model file replaces need none" in words


def test_a_relative_import_of_the_script_is_told_with_what_to_write(failure):
    assert "write the import without the dot" in failure("from . import labels")


# --- in a step


def test_a_module_that_a_step_imports_in_vain_is_told_as_at_the_start(package):
    step = "class S(OnnxServingBaseService):\n    def _inference(self, data):\n"
    service = load(package(f"{HEAD}{step}        from utils import letterbox\n"))
    with pytest.raises(RequestError, match=r"py:4\); the script needs the module 'utils', by its"):
        service({"a": 1})


def test_a_client_s_own_fault_has_no_cause_in_the_package(package):
    step = "class S(OnnxServingBaseService):\n    def _inference(self, data): return data['b']\n"
    service = load(package(HEAD + step, **{"labels.json": POINTER}))
    with pytest.raises(RequestError) as caught:
        service({"a": 1})
    assert str(caught.value) == "_inference raised KeyError: 'b' (customize_service.py:3)"


def test_the_longest_message_is_cut(failure):
    assert len(failure("raise ValueError('key ' * 9999)")) < 1500
