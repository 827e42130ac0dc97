"""Which folders are packages, and which files in them are models."""

import os

import pytest

from engineroom.errors import PackageError
from engineroom.package import open_package


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


# --- layouts


def test_the_parent_of_model_is_a_package(tmp_path):
    write(tmp_path, model__customize_service_py="", model__config_json='{"model_type": "X"}')
    package = open_package(tmp_path)
    assert (package.root, package.folder) == (tmp_path, tmp_path / "model")
    assert package.script == tmp_path / "model" / "customize_service.py"
    assert package.config == {"model_type": "X"}


def test_model_itself_is_the_same_package(tmp_path):
    write(tmp_path, model__customize_service_py="")
    assert open_package(tmp_path / "model") == open_package(tmp_path)


def test_a_folder_with_the_files_directly_in_it_is_a_package(tmp_path):
    write(tmp_path, customize_service_py="")
    package = open_package(tmp_path)
    assert (package.root, package.folder) == (tmp_path, tmp_path)


def test_a_script_beside_model_makes_model_its_own_python_package(tmp_path):
    write(tmp_path, customize_service_py="", model__net_py="")
    assert open_package(tmp_path).folder == tmp_path


def test_a_bare_model_file_is_a_package_without_script_and_config(tmp_path):
    write(tmp_path, config_json="{}", customize_service_py="")
    file = tmp_path / "mnist.onnx"
    file.touch()
    package = open_package(file)
    assert (package.file, package.folder, package.script) == (file, tmp_path, None)
    assert (package.config, package.name) == ({}, "mnist")


def test_a_package_needs_neither_script_nor_config(tmp_path):
    (tmp_path / "model").mkdir()
    package = open_package(tmp_path)
    assert (package.script, package.config, package.document.findings) == (None, {}, ())


def test_the_name_is_that_of_the_folder_above_model(tmp_path):
    write(tmp_path, mnist__model__customize_service_py="")
    assert open_package(tmp_path / "mnist" / "model").name == "mnist"


def test_paths_are_absolute_whatever_was_typed(tmp_path, monkeypatch):
    write(tmp_path, mnist__model__customize_service_py="")
    monkeypatch.chdir(tmp_path)
    assert open_package("mnist/../mnist").folder == tmp_path / "mnist" / "model"


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    write(tmp_path, mnist__model__customize_service_py="")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_package("~/mnist").root == tmp_path / "mnist"


def test_a_path_that_is_not_there_is_a_package_error(tmp_path):
    with pytest.raises(PackageError, match="nosuch: no such file or folder"):
        open_package(tmp_path / "nosuch")


@pytest.mark.parametrize("name", ["customize_service.py", "config.json"])
def test_a_file_of_the_package_is_refused_with_the_folder_to_name(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(PackageError, match=f"not a file in it: {tmp_path}"):
        open_package(tmp_path / name)


@pytest.mark.parametrize("level", ["mnist/model", "mnist", "work/mnist/model"])
def test_a_package_below_a_folder_is_found_and_its_files_left_to_it(tmp_path, level):
    inside = tmp_path / level
    inside.mkdir(parents=True)
    (inside / "customize_service.py").touch()
    (inside / "a.onnx").touch()
    above = open_package(tmp_path)
    assert list(map(str, above.inside())) == [str(inside).removesuffix("/model")]
    assert above.files(("*.onnx",)) == []


def test_a_model_folder_inside_a_model_folder_is_the_one_to_name(tmp_path):
    (tmp_path / "model" / "model").mkdir(parents=True)
    (tmp_path / "model" / "model" / "customize_service.py").touch()
    (inside,) = open_package(tmp_path).inside()
    assert inside == tmp_path / "model" / "model"
    assert open_package(inside).script


@pytest.mark.parametrize("level", ["mnist/model/variables", "mnist/model/1/assets", "work/utils"])
def test_a_folder_of_a_package_is_told_with_the_package(tmp_path, level):
    below, root = tmp_path / level, tmp_path / level.partition("/")[0]
    below.mkdir(parents=True)
    script = root / "model" if "model" in level else root
    (script / "customize_service.py").touch()
    assert open_package(below).around() == [root]


def test_a_package_may_hold_another_script_deeper_down(tmp_path):
    write(tmp_path, config_json="{}", old__customize_service_py="")
    assert open_package(tmp_path).folder == tmp_path


# --- files


def test_model_files_are_those_of_the_nearest_level(tmp_path):
    write(tmp_path, model__1__deep="")
    (tmp_path / "model" / "1" / "b.onnx").touch()
    assert [p.name for p in open_package(tmp_path).files(("*.onnx",))] == ["b.onnx"]
    (tmp_path / "model" / "a.onnx").touch()
    assert [p.name for p in open_package(tmp_path).files(("*.onnx",))] == ["a.onnx"]


def test_model_files_of_several_patterns_are_sorted_and_named_once(tmp_path):
    for name in ("b.pt", "a.pth"):
        (tmp_path / name).touch()
    found = open_package(tmp_path).files(("*.pt", "*.pth", "b.*"))
    assert [p.name for p in found] == ["a.pth", "b.pt"]


def test_a_bare_file_is_a_model_file_only_of_its_own_pattern(tmp_path):
    file = tmp_path / "a.onnx"
    file.touch()
    (tmp_path / "b.onnx").touch()
    assert open_package(file).files(("*.onnx",)) == [file]
    assert open_package(file).files(("*.pt",)) == []


def test_a_package_owns_its_code_but_not_the_environment_in_it(tmp_path):
    package = open_package(tmp_path)
    assert package.owns(os.path.join(tmp_path, "model", "net.py"))
    assert not package.owns(os.path.join(tmp_path, ".venv", "lib", "site-packages", "numpy.py"))
    assert not package.owns(f"{tmp_path}-other/net.py")


@pytest.mark.parametrize(
    ("value", "kind"),
    [('"ONNX"', "ONNX"), ('" ONNX "', "ONNX"), ('""', None), ("5", None), ("null", None)],
)
def test_model_type_is_a_string_or_nothing(tmp_path, value, kind):
    (tmp_path / "config.json").write_text(f'{{"model_type": {value}}}')
    assert open_package(tmp_path).model_type == kind


def test_a_finding_prints_like_a_compiler_s(tmp_path):
    (tmp_path / "config.json").write_text('{"a": 1,}')
    shown = str(open_package(tmp_path).document.findings[0])
    assert shown == f"{tmp_path / 'config.json'}:1:8: warning: trailing comma in JSON; ignored"


def test_a_link_to_a_model_file_keeps_its_own_name(tmp_path):
    (tmp_path / "blob").touch()
    (tmp_path / "model.onnx").symlink_to(tmp_path / "blob")
    package = open_package(tmp_path / "model.onnx")
    assert (package.name, package.files(("*.onnx",))) == ("model", [tmp_path / "model.onnx"])
