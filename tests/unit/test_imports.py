"""What a person reads when an import of a script fails."""

import json
import re
import sys

import pytest

from engineroom import load
from engineroom.errors import ScriptError

HEAD = "from model_service.onnx_model_service import OnnxServingBaseService\n"
TAIL = "class S(OnnxServingBaseService):\n    def _inference(self, data): return data\n"


@pytest.fixture
def failure(package):
    """The message for a script that imports so: ``failure("import cv2", ["opencv-python"])``."""

    def run(line, names=(), **files):
        groups = [{"installer": "pip", "packages": [{"package_name": name} for name in names]}]
        config = json.dumps({"dependencies": groups})
        used = f"used = {re.findall(r'[a-zA-Z_]+', line)}\n"
        path = package(f"{HEAD}{line}\n{used}{TAIL}", **{"config.json": config, **files})
        with pytest.raises(ScriptError) as caught:
            load(path)
        place, _, words = str(caught.value).partition("customize_service.py:2: ")
        assert words, f"no place in {place}"
        return words.replace(str(path), "PATH")

    return run


@pytest.fixture(autouse=True)
def _nothing_of_it_is_installed(monkeypatch):
    """Whatever this machine has: these modules cannot be imported here."""
    for name in ("cv2", "skimage", "yaml", "Crypto", "mmcv", "moxing", "acl"):
        monkeypatch.setitem(sys.modules, name, None)


# --- a module that is not there


@pytest.mark.parametrize(
    ("line", "distribution"),
    [
        ("import cv2", "opencv-python-headless"),
        ("import skimage.io", "scikit-image"),
        ("import yaml", "pyyaml"),
        ("from Crypto.Cipher import AES", "pycryptodome"),
        ("import mmcv", "mmcv"),
        ("import no_such_module", "no_such_module"),
    ],
)
def test_a_module_is_installed_under_the_name_of_its_distribution(failure, line, distribution):
    words = failure(line)
    assert "which is not installed and which config.json does not declare" in words
    assert f"run: pip install {distribution}, or put it into PATH/model" in words


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import cv2", "opencv-python"),
        ("import cv2", "opencv-contrib-python"),
        ("import cv2", "cv2"),
    ]
    + [("import yaml", "PyYAML"), ("import no_such_module", "no-such-module")],
)
def test_a_declared_one_is_named_with_the_command_that_installs_all(failure, line, name):
    words = failure(line, [name])
    assert f"config.json declares it as {name}; run: engineroom deps PATH --install" in words


@pytest.mark.parametrize("line", ["import moxing", "import acl"])
def test_a_module_of_the_platform_is_not_to_be_installed(failure, line):
    words = failure(line)
    assert "there is no such package to install" in words
    assert "pip" not in words


def test_a_file_of_the_author_s_that_is_missing_is_not_to_be_installed(failure):
    words = failure("from utils import letterbox")
    assert "by its name a file of the author's" in words
    assert words.endswith("put utils.py, or the folder utils, into PATH/model")
    assert "pip" not in words


@pytest.mark.parametrize("name", ["lib", "config", "models", "nets", "yolo", "data_utils"])
def test_a_name_that_authors_give_to_their_files_is_never_to_be_installed(failure, name):
    words = failure(f"import {name}")
    assert f"the package has none: put {name}.py, or the folder {name}, into PATH/model" in words


@pytest.mark.parametrize(("name", "way"), [("caffe", "cv2.dnn.readNet"), ("mxnet", "to ONNX")])
def test_a_framework_without_an_engine_is_told_with_what_to_do_instead(failure, name, way):
    words = failure(f"import {name}")
    assert "for which there is no engine" in words
    assert way in words
    assert "pip" not in words


def test_a_file_whose_name_has_other_capitals_is_named(failure):
    words = failure("import Letterbox", **{"letterbox.py": ""})
    assert "the package has PATH/model/letterbox.py: upper and lower case count" in words


def test_a_file_that_is_missing_in_a_folder_of_the_package_is_named(failure):
    words = failure("from nets.resnet import ResNet", **{"nets/other.py": ""})
    assert words == (
        "the script needs 'nets.resnet', and there is no PATH/model/nets/resnet.py in the package"
    )


def test_a_file_that_lies_too_deep_is_found(failure):
    words = failure("import letterbox", **{"src/letterbox.py": ""})
    assert "which is PATH/model/src/letterbox.py, a folder too deep" in words


def test_a_module_of_python_2_is_named_as_it_is_today(failure):
    assert failure("import cPickle") == (
        "the script needs the module 'cPickle' of Python 2; import 'pickle' instead"
    )


def test_a_module_that_left_the_standard_library_is_told_so(failure, monkeypatch):
    monkeypatch.setitem(sys.modules, "imghdr", None)
    words = failure("import imghdr")
    assert "which Python no longer has since 3.13" in words
    assert "pip install standard-imghdr" in words


def test_an_import_in_the_constructor_is_told_alike(package):
    path = package(f"{HEAD}{TAIL}    def __init__(self, *a):\n        import cv2\n")
    with pytest.raises(ScriptError, match=r"py:5: .*pip install opencv-python-headless"):
        load(path)


# --- a module that is there, without the name


def test_a_name_that_a_library_lacks_is_told_with_both_versions(failure, install):
    install("small-lib", "2.0", "small_lib")
    words = failure("from small_lib import gone", ["small-lib==1.0"])
    # Python 3.10 does not tell from its files which distribution a module comes from.
    assert words.startswith("'small_lib' of the installed small")
    assert words.endswith(
        " has no 'gone'; config.json declares small-lib==1.0; see: engineroom deps PATH"
    )


def test_a_part_that_a_library_lacks_is_told_with_both_versions(failure):
    words = failure("import numpy.contrib", ["numpy==1.15"])
    assert "'numpy.contrib' does not exist in the installed numpy" in words
    assert "config.json declares numpy==1.15" in words


def test_without_a_declaration_nobody_knows_the_version(failure):
    words = failure("from numpy import gone")
    assert "config.json does not say for which version the script was written" in words


def test_a_name_that_a_file_of_the_package_lacks_is_the_package_s_matter(failure):
    words = failure("from helpers import gone", **{"helpers.py": ""})
    assert words == "PATH/model/helpers.py has no 'gone'"


def test_a_name_that_python_itself_lacks_is_told_with_python_s_version(failure):
    assert failure("from json import gone").startswith("'json' of Python 3.")


def test_files_that_import_each_other_are_told_in_python_s_words(failure):
    files = {"a.py": "from b import x", "b.py": "from a import y"}
    with pytest.raises(AssertionError, match=r"b\.py:1: .*partially initialized module"):
        failure("import a", **files)


# --- a library of the system


@pytest.mark.parametrize(
    ("library", "advice"),
    [
        ("libGL.so.1", "then pip install opencv-python-headless"),
        ("libcudart.so.10.2", "install CUDA, or a build for the CPU"),
        ("libodd.so.3", "cannot open shared object file"),
    ],
)
def test_a_library_that_the_system_lacks_is_named(failure, install, library, advice):
    text = f"{library}: cannot open shared object file: No such file or directory"
    install("needs-it", "1.0", "needs_it", f"raise ImportError({text!r})")
    words = failure("import needs_it")
    assert f"the system lacks a library that a module needs: {library}" in words
    assert advice in words


def test_whatever_else_fails_is_told_as_it_is(failure):
    assert failure("1 / 0") == (
        "importing the script failed: ZeroDivisionError: division by zero; line: 1 / 0"
    )


# --- what a file imports and does not use


def test_a_name_that_a_library_has_lost_stops_nobody_who_does_not_use_it(package, caplog):
    lines = "import numpy.contrib\nfrom json import (loads,\n    gone)\nx = loads('1')\n"
    path = package(HEAD + lines + TAIL)
    load(path)
    assert f"{path}/model/customize_service.py:2: 'numpy.contrib' does not exist" in caplog.text
    assert f"customize_service.py:4: 'json' of Python {sys.version.split()[0]} has no 'gone'; " in (
        caplog.text
    )
    assert "passed over, since the file does not use it" in caplog.text


@pytest.mark.parametrize("line", ["import no_such_module", "from helpers import gone"])
def test_a_module_that_is_not_there_at_all_does(package, line):
    with pytest.raises(ScriptError, match=r"customize_service\.py:2: "):
        load(package(f"{HEAD}{line}\n{TAIL}", **{"helpers.py": ""}))


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("from numpy import gone\nx = gone", "gone"),
        ("from numpy import gone as one\nx = [one()]", "gone"),
        ("import numpy.contrib.slim\nx = numpy.contrib.slim", "numpy.contrib"),
        ("from numpy import gone\n__all__ = ['gone']", "gone"),
    ],
)
def test_nor_does_one_that_is_used(package, lines, name):
    with pytest.raises(ScriptError, match=name):
        load(package(f"{HEAD}{lines}\n{TAIL}"))


def test_a_script_that_tries_an_import_itself_goes_its_own_way(package):
    tried = "try:\n    from numpy import gone\nexcept ImportError:\n    old = False\n"
    tail = "class S(OnnxServingBaseService):\n    def _inference(self, data): return old\n"
    assert load(package(HEAD + tried + tail))({"a": 1}) is False


def test_an_init_file_imports_for_others(package):
    files = {"nets/__init__.py": "from numpy import gone"}
    with pytest.raises(ScriptError, match="gone"):
        load(package(f"{HEAD}import nets\n{TAIL}", **files))


def test_without_lent_names_every_import_counts(package):
    with pytest.raises(ScriptError, match="gone"):
        load(package(f"{HEAD}from numpy import gone\n{TAIL}"), lent_names=False)
