"""What stands behind `predict`, `init` and `engines`; the commands themselves are in test_cli."""

import io
import sys

import click
import pytest

from engineroom.errors import EngineError, PackageError
from engineroom.settings import Settings
from engineroom.tools.inventory import inventory, table
from engineroom.tools.predict import body_bytes, form_data
from engineroom.tools.scaffold import write_package

BARE_ENGINE = """
from engineroom import Engine, hookimpl

class Bare(Engine):
    name = "bare"
    parent = "model_service.bare_model_service.BareService"
    frameworks = {frameworks}

    def load(self, path, device, threads): ...

    def devices(self):
        {devices}

@hookimpl
def register_engine(register):
    register(Bare())
"""


@pytest.fixture
def install_bare_engine(install_plugin):
    """Installs an engine that has no template, with the framework and devices that a test needs."""

    def install(frameworks=(), devices="return ()"):
        install_plugin("bare", BARE_ENGINE.format(frameworks=tuple(frameworks), devices=devices))

    return install


# --- -F, as in curl


@pytest.fixture
def pictures(tmp_path):
    for name in ("7.png", "3.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def content(data):
    return {
        key: {name: file.getvalue() for name, file in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in data.items()
    }


def test_a_field_is_a_text_and_a_field_with_an_at_sign_a_file(pictures):
    data = form_data(["a=1", f"images=@{pictures}/7.png"])
    assert content(data) == {"a": "1", "images": {"7.png": b"7.png"}}
    assert type(data["images"]["7.png"]) is io.BytesIO


def test_several_files_of_one_key_share_it_in_their_order(pictures):
    data = form_data([f"images=@{pictures}/7.png", f"images=@{pictures}/3.png"])
    assert list(data["images"]) == ["7.png", "3.png"]


def test_a_file_beats_a_text_field_of_the_same_key(pictures):
    file, text = f"images=@{pictures}/7.png", "images=none"
    assert content(form_data([file, text])) == content(form_data([text, file]))
    assert content(form_data([file, text])) == {"images": {"7.png": b"7.png"}}


def test_a_text_field_given_twice_has_its_last_value():
    assert form_data(["a=1", "a=2"]) == {"a": "2"}


@pytest.mark.parametrize(("field", "value"), [("a=", ""), ("a=x=y", "x=y"), ("a= @x", " @x")])
def test_everything_after_the_first_equals_sign_is_the_text(field, value):
    assert form_data([field]) == {"a": value}


@pytest.mark.parametrize("field", ["a", "@7.png", ""])
def test_a_field_without_an_equals_sign_is_a_usage_error(field):
    with pytest.raises(click.UsageError, match="expected KEY=@FILE or KEY=TEXT"):
        form_data([field])


@pytest.mark.parametrize("name", ["nosuch.png", ""])
def test_a_file_that_cannot_be_read_is_a_usage_error_that_names_it(pictures, name):
    with pytest.raises(click.UsageError, match=str(pictures)):
        form_data([f"images=@{pictures}/{name}"])


# --- -d, as in curl


def test_a_body_is_sent_as_it_is_written():
    assert body_bytes('{"x": [1, "中"]}') == '{"x": [1, "中"]}'.encode()


def test_a_body_with_an_at_sign_is_a_file_that_holds_it(tmp_path):
    (tmp_path / "body.json").write_text('{"x": 1}')
    assert body_bytes(f"@{tmp_path}/body.json") == b'{"x": 1}'


def test_a_body_with_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"x": 1}')))
    assert body_bytes("@-") == b'{"x": 1}'


def test_a_body_in_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(click.UsageError, match="body.json: No such file"):
        body_bytes(f"@{tmp_path}/body.json")


# --- init


def test_a_template_is_copied_without_what_python_left_in_it(tmp_path, fake_engine):
    cache = tmp_path / "site" / "fake_template" / "model" / "__pycache__"
    cache.mkdir()
    (cache / "customize_service.cpython-311.pyc").touch()
    names = write_package(tmp_path / "mine", "fake", Settings())
    assert [str(name) for name in names] == ["README.md", "model/model.fake"]
    assert not (tmp_path / "mine" / "model" / "__pycache__").exists()


def test_an_empty_folder_may_be_there_already(tmp_path, fake_engine):
    (tmp_path / "mine").mkdir()
    assert write_package(tmp_path / "mine", "fake", Settings())


def test_parent_folders_are_made(tmp_path, fake_engine):
    assert write_package(tmp_path / "a" / "b", "fake", Settings())


def test_a_folder_that_holds_something_stays_as_it_is(tmp_path, fake_engine):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(PackageError, match="not empty; choose another folder"):
        write_package(folder, "fake", Settings())
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_file_in_the_way_stays_as_it_is(tmp_path, fake_engine):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(PackageError, match="exists already"):
        write_package(tmp_path / "mine", "fake", Settings())


def test_an_engine_without_a_template_says_so(tmp_path, install_bare_engine):
    install_bare_engine()
    with pytest.raises(EngineError, match="engine 'bare' brings no template"):
        write_package(tmp_path / "mine", "bare", Settings())


# --- engines


def row(devices=False, **settings):
    (only,) = inventory(Settings.read(settings), devices)
    return only


def test_an_engine_has_a_row_with_its_distribution_s_version(fake_engine):
    assert row() == {
        "name": "fake",
        "version": "1.2",
        "framework": None,
        "model_files": ["*.fake"],
        "devices": None,
        "state": "usable",
    }


@pytest.mark.parametrize(
    ("devices", "state"),
    [
        ("import os; print('cuda:0'); os._exit(11)", "its framework is broken: exit code 11"),
        (
            "import subprocess; subprocess.run(['sleep', '60'])",
            "did not list its devices within 2 s",
        ),
        (
            "import os; os.write(2, b'\\xc7\\xfd\\xb6\\xaf'); os._exit(1)",
            "its framework is broken: \ufffd",
        ),
    ],
)
def test_a_framework_that_crashes_or_hangs_is_a_state_too(
    install_bare_engine, monkeypatch, devices, state
):
    monkeypatch.setattr("engineroom.tools.probe.TIMEOUT_S", 2)
    install_bare_engine(devices=devices)
    assert state in row(devices=True)["state"]


def test_devices_are_asked_for_only_on_demand(install_bare_engine):
    install_bare_engine(devices="raise RuntimeError('driver too old')")
    assert row()["state"] == "usable"
    assert row(devices=True)["state"] == "its framework is broken: RuntimeError: driver too old"


def test_a_missing_framework_is_a_state(install_bare_engine):
    install_bare_engine(frameworks=["no-such-distribution>=1"])
    assert "needs no-such-distribution>=1, found none" in row()["state"]


def test_a_blocked_engine_is_listed_as_such(fake_engine):
    assert "blocked by ENGINEROOM_BLOCK_PLUGINS" in row(block_plugins="fake")["state"]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("import no_such_module", "broken: ModuleNotFoundError"),
        ("from engineroom import hookimpl\n@hookimpl\ndef after_laod(): ...", "after_laod"),
    ],
)
def test_a_broken_engine_is_a_state_of_its_own_row_only(
    install_plugin, install_bare_engine, code, state
):
    install_plugin("a_broken_one", code)
    install_bare_engine()
    broken, good = inventory(Settings(), devices=False)
    assert state in broken["state"]
    assert good["state"] == "usable"


def test_a_table_has_aligned_columns_and_dashes_for_what_is_not_known():
    rows = [
        {"name": name, "version": "1", "framework": None, "model_files": ["*.a", "*.b"]}
        | {"devices": None, "state": "usable"}
        for name in ("a", "longer")
    ]
    assert table(rows).splitlines() == [
        "name    version  framework  model files  devices  state",
        "a       1        -          *.a, *.b     -        usable",
        "longer  1        -          *.a, *.b     -        usable",
    ]


def test_a_table_without_rows_says_what_to_install():
    assert "pip install 'engineroom[onnx]'" in table([])
