"""The Python files of a package, however and for whatever machine they were written."""

import traceback

import pytest

from engineroom import load
from engineroom.errors import RequestError, ScriptError

PARENT = "from model_service.onnx_model_service import OnnxServingBaseService\n"
SERVICE = PARENT + "class S(OnnxServingBaseService):\n    def _inference(self, data):\n        "


# --- encodings


@pytest.mark.parametrize(
    ("encoding", "first_line"),
    [
        ("gbk", ""),
        ("gbk", "# -*- coding: gbk -*-"),
        ("gbk", "# coding: utf-8"),
        ("utf-8-sig", ""),
        ("utf-8", "# -*- coding: UTF8-BOM -*-"),
        ("utf-8", "# coding: ascii"),
    ],
)
def test_a_script_is_read_in_the_encoding_it_has(package, encoding, first_line):
    source = f"{first_line}\n{SERVICE}return '中文'  # 注释\n"
    path = package(None, **{"customize_service.py": source.encode(encoding)})
    assert load(path)({"a": 1}) == "中文"


def test_a_module_beside_the_script_too(package):
    path = package(
        f"from words import WORD\n{SERVICE}return WORD\n",
        **{"words.py": "WORD = '中文'".encode("gbk")},
    )
    assert load(path)({"a": 1}) == "中文"


def test_the_lines_of_such_a_file_are_shown_in_tracebacks(package):
    path = package(
        None, **{"customize_service.py": f"{SERVICE}raise OSError('错')  # 这里\n".encode("gbk")}
    )
    with pytest.raises(RequestError) as caught:
        load(path)({"a": 1})
    assert "# 这里" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "line",
    [
        "print 'loaded'",
        "try: pass\nexcept OSError, e: pass",
        "exec 'a = 1'",
        "raise OSError, 'no'",
        "if 1 <> 2: pass",
        "a = 10L",
    ],
)
def test_python_2_is_called_by_its_name(package, line):
    with pytest.raises(
        ScriptError, match=r"customize_service.py:\d: it is written for Python 2.*2to3; line: "
    ):
        load(package(SERVICE + "return 1\n" + line))


@pytest.mark.parametrize("line", ["x.cuda(async=True)", "def f(a, async=False): pass"])
def test_async_as_a_name_is_told_with_what_came_in_its_place(package, line):
    with pytest.raises(
        ScriptError, match=r"'async' is a word of Python since 3.7.*; line: .*async"
    ):
        load(package(SERVICE + "return 1\n" + line))


@pytest.mark.parametrize("line", ["print('a'", "try: pass\nexcept (OSError, ValueError) e: pass"])
def test_broken_python_of_today_is_not_called_python_2(package, line):
    with pytest.raises(ScriptError, match="not Python: "):
        load(package(SERVICE + "return 1\n" + line))


@pytest.mark.parametrize(
    ("name", "match"), [("customize_service.py", "py:1"), ("words.py", "words.py:1")]
)
def test_what_is_not_python_is_named_with_its_line(package, name, match):
    files = {
        "customize_service.py": f"import words\n{SERVICE}return 1\n",
        "words.py": "A = 1",
        name: "def (",
    }
    with pytest.raises(ScriptError, match=f"{match}: not Python: "):
        load(package(None, **files), engine="onnx")


# --- modules of the package


def test_a_package_s_module_beats_an_installed_one_of_its_name(package):
    path = package(f"import pip\n{SERVICE}return pip.A\n", **{"pip/__init__.py": "A = 1"})
    assert load(path)({"a": 1}) == 1


def test_a_folder_of_files_does_not_hide_an_installed_module_of_its_name(package):
    path = package(
        f"import onnxruntime\n{SERVICE}return onnxruntime.__name__\n",
        **{"onnxruntime/model.bin": b"0"},
    )
    assert load(path)({"a": 1}) == "onnxruntime"


def test_a_file_does_not_hide_what_python_has_built_in(package):
    path = package(
        f"import zlib, sys\n{SERVICE}return hasattr(sys, 'path')\n",
        **{"sys.py": "", "builtins.py": ""},
    )
    assert load(path)({"a": 1}) is True


def test_folders_without_an_init_file_are_packages(package):
    path = package(f"from core.words import A\nfrom model.core.words import A as B\n{SERVICE}return [A, B]\n",
                   **{"core/words.py": "A = 1"})  # fmt: skip
    assert load(path)({"a": 1}) == [1, 1]


def test_a_folder_of_any_name_can_be_imported_as_model(tmp_path):
    (tmp_path / "customize_service.py").write_text(
        f"from model.words import A\n{SERVICE}return A\n"
    )
    (tmp_path / "words.py").write_text("A = 1")
    assert load(tmp_path)({"a": 1}) == 1


def test_import_model_means_the_file_of_that_name(package):
    path = package(f"import model\n{SERVICE}return model.A\n", **{"model.py": "A = 1"})
    assert load(path)({"a": 1}) == 1


# --- paths of the platform


@pytest.mark.parametrize(
    "path",
    [
        "/home/mind/model/labels.txt",
        "/home/mind/model/1/labels.txt",
        "/home/ma-user/infer/model/1/labels.txt",
    ],
)
@pytest.mark.parametrize("form", ["{0!r}", "f'{0}'", "os.path.join({0!r})"])
def test_paths_of_the_platform_mean_the_package_where_that_is_asked_for(package, path, form):
    script = f"import os\nfrom pathlib import Path\n{SERVICE}return Path({form.format(path)}).read_text()\n"
    folder = package(script, **{"labels.txt": "cat"})
    assert load(folder, platform_paths=True)({"a": 1}) == "cat"


def test_a_folder_1_in_the_package_is_the_platform_s_folder_1(package):
    path = package(f"{SERVICE}return '/home/mind/model/1/a.txt'\n", **{"1/a.txt": "x"})
    assert load(path, platform_paths=True)({"a": 1}) == str(path / "model/1/a.txt")


@pytest.mark.parametrize(
    "when", ["def __init__(self, *_):\n        ", "def _inference(self, data):\n        "]
)
def test_an_error_about_such_a_path_names_the_option(package, when):
    service = SERVICE.rpartition("def ")[0]
    path = package(f"{service}{when}open('/home/mind/model/a.txt')\n")
    with pytest.raises(Exception, match="No such file .*; with --platform-paths"):
        load(path)({"a": 1})


def test_so_they_do_in_modules_beside_the_script(package):
    path = package(
        f"from words import HOME\n{SERVICE}return HOME\n",
        **{"words.py": "HOME = '/home/mind/model'"},
    )
    assert load(path, platform_paths=True)({"a": 1}) == str(path / "model")


def test_otherwise_a_warning_names_the_line_and_the_option(package, caplog):
    path = package(f"HOME = '/home/mind/model/1'\n{SERVICE}return HOME\n")
    assert load(path)({"a": 1}) == "/home/mind/model/1"
    assert "customize_service.py:1: '/home/mind/model/1' is a path on the platform" in caplog.text
    assert "--platform-paths" in caplog.text


def test_other_paths_stay_as_they_are(package, caplog):
    path = package(
        f"{SERVICE}return ['/home/mind/models', '/home/minds/model', 'see /home/mind/model']\n"
    )
    assert load(path, platform_paths=True)({"a": 1})[0] == "/home/mind/models"
    assert "platform" not in caplog.text
