"""Where a setting's value comes from, and what it may be."""

import dataclasses

import pytest

from engineroom.errors import SettingError
from engineroom.settings import Settings, env_name, field_names


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch):
    for name in field_names():
        monkeypatch.delenv(env_name(name), raising=False)


def test_the_defaults_are_the_limits_of_the_contract():
    settings = Settings.read()
    assert (settings.port, settings.timeout_s, settings.max_body_bytes) == (8080, 40.0, 12_000_000)


def test_the_caller_wins_over_the_environment_and_that_over_the_default(monkeypatch):
    monkeypatch.setenv("ENGINEROOM_PORT", "1000")
    monkeypatch.setenv("ENGINEROOM_THREADS", "3")
    settings = Settings.read({"port": 2000})
    assert (settings.port, settings.threads, settings.workers) == (2000, 3, 1)


def test_none_counts_as_not_given(monkeypatch):
    monkeypatch.setenv("ENGINEROOM_NAME", "mnist")
    assert Settings.read({"name": None}).name == "mnist"


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("ENGINEROOM_PORT", "")
    assert Settings.read().port == 8080


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("true", True), ("YES", True), ("on", True)]
    + [("0", False), ("False", False), ("no", False), ("off", False)],
)
def test_a_flag_takes_the_usual_words(monkeypatch, text, value):
    monkeypatch.setenv("ENGINEROOM_ACCESS_LOG", text)
    assert Settings.read().access_log is value


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("port", "http"),
        ("port", 65536),
        ("port", -1),
        ("workers", 0),
        ("threads", "1.5"),
        ("timeout_s", 0),
        ("timeout_s", -1),
        ("timeout_s", "40s"),
        ("timeout_s", "nan"),
        ("max_body_bytes", "12MB"),
        ("max_queue_size", 0),
        ("access_log", "maybe"),
        ("log_format", "xml"),
        ("engine_threads", 0),
    ],
)
def test_a_value_out_of_range_is_a_setting_error_that_names_the_setting(name, bad):
    with pytest.raises(SettingError, match=name):
        Settings.read({name: bad})


def test_a_bad_variable_is_named_as_a_variable(monkeypatch):
    monkeypatch.setenv("ENGINEROOM_TIMEOUT_S", "abc")
    with pytest.raises(SettingError, match="ENGINEROOM_TIMEOUT_S: 'abc'"):
        Settings.read()


def test_a_misspelled_name_gets_a_suggestion():
    with pytest.raises(SettingError, match="did you mean 'timeout_s'"):
        Settings.read({"timeouts": 3})


def test_a_name_like_no_other_gets_the_whole_list():
    with pytest.raises(SettingError, match="known: host, port, .*trace_hooks"):
        Settings.read({"zzz": 3})


def test_a_process_started_with_the_environment_reads_the_same_settings(monkeypatch):
    settings = Settings.read(
        {"port": 9, "name": "m", "access_log": False, "debug": True, "timeout_s": 0.25}
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.read() == settings


def test_the_defaults_survive_the_environment_too(monkeypatch):
    for name, value in Settings.read().environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.read() == Settings()


def test_settings_cannot_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1


def test_numbers_with_a_unit_have_it_in_their_name():
    floats = [field.name for field in dataclasses.fields(Settings) if field.type == "float"]
    assert floats
    assert all(name.endswith(("_s", "_ms")) for name in floats)
