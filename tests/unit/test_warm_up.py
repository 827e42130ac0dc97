"""The examples of a package: which files are requests, and what each one asks."""

import pytest

from engineroom.errors import WarmUpError
from engineroom.package import open_package
from engineroom.values import TensorSpec
from engineroom.warm_up import examples

IMAGES = TensorSpec("images", ("N", 784), "float32")
MASK = TensorSpec("mask", ("N", 784), "float32")
FILE = '{"apis": [{"request": {"data": {"properties": {"photo": {"type": "file"}}}}}]}'


@pytest.fixture
def requests(package):
    """The requests of a package with these files, files as ``{name: content}``."""

    def collect(*inputs, **files):
        found = examples(open_package(package(**files)), inputs)
        return {path.name: _content(data) for path, data in found}

    return collect


def _content(data):
    if not isinstance(data, dict):
        return data
    return {
        key: {name: file.getvalue() for name, file in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in data.items()
    }


def test_a_package_without_examples_has_none(requests):
    assert requests(IMAGES) == {}


def test_a_json_file_is_a_json_body(requests):
    assert requests(**{"examples/a.json": '{"x": [[1, "中"]]}'}) == {"a.json": {"x": [[1, "中"]]}}


def test_a_json_file_may_begin_with_a_byte_order_mark_like_a_request(requests):
    assert requests(**{"examples/a.json": b'\xef\xbb\xbf{"x": 1}'}) == {"a.json": {"x": 1}}


def test_a_form_file_describes_a_form(requests):
    described = '{"images": ["@7.png", "@3.png"], "threshold": "0.5", "top": 3}'
    files = {"examples/a.form.json": described, "examples/7.png": b"7", "examples/3.png": b"3"}
    assert requests(IMAGES, **files)["a.form.json"] == {
        "images": {"7.png": b"7", "3.png": b"3"},
        "threshold": "0.5",
        "top": "3",
    }


def test_a_file_beats_a_text_in_a_form_file_and_the_last_text_wins(requests):
    files = {"examples/a.form.json": '{"x": ["t", "@7.png"], "y": ["1", "2"]}', "7.png": b"7"}
    files["examples/7.png"] = b"7"
    assert requests(IMAGES, **files)["a.form.json"] == {"x": {"7.png": b"7"}, "y": "2"}


def test_a_file_that_a_form_file_uses_is_no_example_of_its_own(requests):
    files = {"examples/7.form.json": '{"images": "@7.png", "mask": "@7.png"}'}
    found = requests(IMAGES, MASK, **files, **{"examples/7.png": b"7"})
    assert found == {"7.form.json": {"images": {"7.png": b"7"}, "mask": {"7.png": b"7"}}}


def test_any_other_file_is_an_upload_under_the_only_file_key_of_config_json(requests):
    files = {"config.json": FILE, "examples/7.png": b"7"}
    assert requests(IMAGES, **files) == {"7.png": {"photo": {"7.png": b"7"}}}


def test_without_such_a_key_an_upload_goes_to_the_model_s_only_input(requests):
    assert requests(IMAGES, **{"examples/7.png": b"7"}) == {"7.png": {"images": {"7.png": b"7"}}}


@pytest.mark.parametrize(
    "config",
    [
        '{"apis": [{"procotol": "http", "request": {"properties": {"photo": {"type": "file"}}}}]}',
        '{"apis": [{"input_params": [{"photo": {"type": "file"}}]}]}',
        '{"apis": [{"request": {"data": "{\\"photo\\": {\\"type\\": \\"file\\"}}"}}]}',
        '{"apis": {"request": {"photo": {"type": "file", "description": "a picture"}}}}',
        '{"apis": [{"data": {"a": {"photo": {"type": "file"}}, "b": {"photo": {"type": "file"}}}}]}',
    ],
)
def test_a_file_property_is_found_wherever_its_author_put_it(requests, config):
    found = requests(IMAGES, **{"config.json": config, "examples/7.png": b"7"})
    assert found == {"7.png": {"photo": {"7.png": b"7"}}}


@pytest.mark.parametrize("inputs", [(), (IMAGES, MASK)])
def test_an_upload_whose_key_is_open_is_an_error_that_says_how_to_close_it(requests, inputs):
    with pytest.raises(WarmUpError, match=r'7\.png: the form key .* 7\.form\.json: .*"@7\.png"'):
        requests(*inputs, **{"examples/7.png": b"7"})


def test_examples_come_in_the_order_of_their_names_and_hidden_files_not_at_all(requests):
    names = ["b.json", "a.json", "10.json", ".DS_Store", "sub/c.json"]
    found = requests(**{f"examples/{name}": "1" for name in names})
    assert list(found) == ["10.json", "a.json", "b.json"]


def test_examples_may_stand_beside_the_model_folder(requests):
    found = requests(**{"examples/a.json": "1", "../examples/b.json": "2"})
    assert found == {"a.json": 1, "b.json": 2}


def test_a_flat_package_has_each_example_once(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "a.json").write_text("1")
    assert len(list(examples(open_package(tmp_path), ()))) == 1


def test_a_bare_model_file_has_no_examples(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "a.json").write_text("1")
    (tmp_path / "model.onnx").touch()
    assert list(examples(open_package(tmp_path / "model.onnx"), ())) == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", b"{", "the example is not JSON"),
        ("a.json", b"\xff", "the example is not JSON"),
        ("a.json", b"[" * 100_000, "the example is not JSON"),
        ("a.form.json", b"[1]", "expected an object such as"),
        ("a.form.json", b'{"x": "@7.png"}', "no such file: .*7.png"),
        ("a.form.json", b'{"x": "@"}', "no such file"),
        ("a.form.json", b'{"x": []}', "x"),
    ],
    ids=["broken", "not UTF-8", "deep", "list", "no file", "no name", "no value"],
)
def test_a_file_that_is_no_example_is_an_error_that_names_it(requests, name, content, problem):
    with pytest.raises(WarmUpError, match=rf"{name}: .*{problem}"):
        requests(IMAGES, **{f"examples/{name}": content})
