"""Which device a process gets. Cards are faked by the files of their drivers: nobody here has one."""

import os

import pytest

from engineroom.devices import (
    Place,
    listed_devices,
    machine_devices,
    narrowed,
    settle,
    visible_devices,
)
from engineroom.errors import DeviceError, SettingError
from engineroom.settings import Settings
from engineroom.values import CPU, Device


@pytest.fixture
def cards(tmp_path):
    """A /dev with two NVIDIA cards and one Ascend."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "davinci0", "davinci_manager"):
        (tmp_path / name).touch()
    return tmp_path


# --- what the machine has


def test_cards_are_counted_by_the_files_of_their_driver(cards):
    assert (machine_devices("cuda", cards), machine_devices("npu", cards)) == (2, 1)


def test_a_machine_without_cards_has_none(tmp_path):
    assert machine_devices("cuda", tmp_path) == 0


def test_where_a_card_may_have_no_file_nobody_knows(tmp_path):
    (tmp_path / "dxg").touch()
    assert machine_devices("cuda", tmp_path) is None


# --- one device for a process


def test_auto_leaves_everything_visible():
    assert narrowed("auto", {}, 2) == (Place("auto"), {})


def test_cpu_hides_the_cards_from_scripts_too():
    place, variables = narrowed("cpu", {}, None)
    assert place == Place("cpu")
    assert variables == {"CUDA_VISIBLE_DEVICES": "", "ASCEND_RT_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("device", "place", "variable"),
    [
        ("cuda", Place("cuda:0", "cuda:0"), {"CUDA_VISIBLE_DEVICES": "0"}),
        ("cuda:1", Place("cuda:0", "cuda:1"), {"CUDA_VISIBLE_DEVICES": "1"}),
        ("npu:1", Place("npu:0", "npu:1"), {"ASCEND_RT_VISIBLE_DEVICES": "1"}),
    ],
)
def test_a_process_sees_only_its_card_as_number_0(device, place, variable):
    assert narrowed(device, {}, 2) == (place, variable)


def test_a_list_of_visible_cards_is_respected():
    _, variables = narrowed("cuda:1", {"CUDA_VISIBLE_DEVICES": "2,GPU-4f"}, 8)
    assert variables == {"CUDA_VISIBLE_DEVICES": "GPU-4f"}


def test_a_card_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(DeviceError, match="'cuda:7' is not there; here are: cuda:0, cpu"):
        narrowed("cuda:7", {}, 1)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_card_that_a_variable_hides_is_refused_with_the_variable(hidden):
    with pytest.raises(DeviceError, match=f"CUDA_VISIBLE_DEVICES={hidden} leaves: cpu"):
        narrowed("cuda", {"CUDA_VISIBLE_DEVICES": hidden}, 2)


def test_a_variable_that_names_cards_makes_none():
    with pytest.raises(DeviceError, match="'cuda' is not there; here are: cpu"):
        narrowed("cuda", {"CUDA_VISIBLE_DEVICES": "0"}, 0)


def test_a_card_nobody_can_count_is_left_to_the_engine():
    assert narrowed("cuda:3", {}, None)[0] == Place("cuda:0", "cuda:3", is_sure=False)


def test_the_driver_reads_its_list_up_to_the_first_entry_it_cannot_use():
    assert visible_devices("cuda", {"CUDA_VISIBLE_DEVICES": "2, 0,-1,1"}, 4) == ["2", "0"]


def test_a_device_is_reported_as_the_user_calls_it():
    (device,) = Place("cuda:0", "cuda:1").choose([Device("cuda", 0), CPU])
    assert (device, str(device)) == (Device("cuda", 0), "cuda:1")


def test_the_name_of_a_device_may_be_in_capitals():
    assert settle(Settings(device="AUTO")) == Place("auto")


def test_settling_hides_the_cards_in_the_environment(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "5")
    assert settle(Settings(device="cpu")) == Place("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


# --- a device for each worker


def test_a_list_of_devices_needs_as_many_workers():
    assert listed_devices(Settings(device="cuda:0, cuda:1", workers=2)) == ["cuda:0", "cuda:1"]
    with pytest.raises(SettingError, match="2 devices and there is 1 worker .* --workers 2"):
        listed_devices(Settings(device="cuda:0,cuda:1"))


def test_what_is_no_device_name_is_a_setting_error():
    with pytest.raises(SettingError, match="'gpu 0': expected auto"):
        listed_devices(Settings(device="cpu,gpu 0", workers=2))
