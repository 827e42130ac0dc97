"""Names: of modules, of the distributions that bring them, of what they are called today."""

import pytest

from engineroom.distributions import (
    ALIKE,
    MODULES,
    MOVED,
    alike,
    distribution_of,
    in_standard_library,
    on_platform,
    published,
)


@pytest.mark.parametrize(
    ("written", "today"),
    [
        ("sklearn", "scikit-learn"),
        ("cv2", "opencv-python"),
        ("opencv", "opencv-python"),
        ("PIL", "pillow"),
        ("Pillow", "pillow"),
        ("pytorch", "torch"),
        ("yaml", "pyyaml"),
        ("skimage", "scikit-image"),
        ("Crypto", "pycryptodome"),
        ("mindspore-gpu", "mindspore"),
        ("tensorflow_gpu", "tensorflow"),
        ("numpy", "numpy"),
    ],
)
def test_a_name_that_moved_is_read_as_that_of_today(written, today):
    assert published(written, "1.0")[0] == today


@pytest.mark.parametrize(
    ("written", "version", "holds"),
    [("sklearn", "0.0", False), ("sklearn", "0.20.3", True), ("PIL", "1.1.7", False)],
)
def test_a_version_of_another_numbering_does_not_hold(written, version, holds):
    assert published(written, version)[1] is holds


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("cv2", "opencv-python-headless"),
        ("sklearn.cluster", "scikit-learn"),
        ("PIL.Image", "pillow"),
        ("Crypto.Cipher", "pycryptodome"),
        ("google.protobuf.text_format", "protobuf"),
        ("mmcv", "mmcv"),
        ("pkg_resources", "setuptools<81"),
    ],
)
def test_a_module_has_its_distribution(module, distribution):
    assert distribution_of(module) == distribution


def test_one_of_those_that_bring_the_same_module_is_enough():
    assert alike("tensorflow")[:2] == ("tensorflow", "tensorflow-cpu")
    assert "opencv-python-headless" in alike("opencv-python")
    assert "opencv-contrib-python" in alike("opencv-python")
    assert "opencv-python" not in alike("opencv-contrib-python")
    assert alike("numpy") == ("numpy",)


def test_what_python_itself_has_needs_no_distribution():
    assert in_standard_library("json") == "json"
    assert in_standard_library("enum34") == "enum"
    assert in_standard_library("numpy") is None


@pytest.mark.parametrize("name", ["moxing", "moxing.file", "npu_bridge.estimator", "acl"])
def test_what_only_the_platform_has_is_known(name):
    assert on_platform(name)


def test_the_tables_name_canonical_distributions_that_did_not_move_themselves():
    assert not set(MOVED) & set(MOVED.values())
    names = {*MOVED, *MOVED.values(), *(name for family in ALIKE for name in family)}
    assert {name for name in names if name != name.lower() or "_" in name} == set()
    assert not set(MODULES.values()) & set(MOVED)
