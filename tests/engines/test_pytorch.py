"""The PyTorch engine: the conformance suite, and what only PyTorch has."""

import functools
import io
import logging
import re
import sys
import threading
import types
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from engineroom import load
from engineroom.devices import Place
from engineroom.errors import (
    DeviceError,
    InvalidTensorError,
    ModelFileError,
    RequestError,
    ScriptError,
    StepInputError,
)
from engineroom.plugins import Registry
from engineroom.testing import EngineConformance
from engineroom.values import CPU, Device
from engineroom_pytorch import device as device_module
from engineroom_pytorch.device import devices, prepare_thread
from engineroom_pytorch.loader import load as load_file
from engineroom_pytorch.running import RunningModule
from engineroom_pytorch.service import PTServingBaseService

pytestmark = [
    # PyTorch 2.13 says so of every TorchScript file that is made or loaded.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]


class Net(nn.Module):
    """Small, with dropout: whether it is in eval mode can be seen."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.dropout = nn.Linear(width, 2), nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(torch.relu(self.layer(x)) + 1)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.layer = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, ids, scale):
        return {"scores": self.layer(self.table(ids).mean(1)) * scale, "scale": scale}


class Boxes(NamedTuple):
    boxes: torch.Tensor
    labels: torch.Tensor


ROWS = torch.tensor([[0.1, 0.2, 0.3]])


@functools.cache
def traced() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(Net().eval(), torch.zeros(1, 3)), buffer)
    return buffer.getvalue()


@functools.cache
def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Net()), buffer)  # in training mode, as people save them
    return buffer.getvalue()


@functools.cache
def exported() -> bytes:
    return export(Net(), torch.zeros(2, 3), sizes={"x": {0: Dim("batch", max=64)}})


def export(module, *inputs, sizes=None) -> bytes:
    buffer = io.BytesIO()
    program = torch.export.export(module.eval(), inputs, dynamic_shapes=sizes)
    torch.export.save(program, buffer)
    return buffer.getvalue()


def saved(value, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def rewritten(archive: bytes, change) -> bytes:
    """A copy of a zip file with ``change(name, content)`` for each entry."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return result.getvalue()


def as_from_cuda(archive: bytes, device: str = "cuda:0") -> bytes:
    """``archive`` as it would have been saved where its tensors lie on a graphics card.

    The place of a tensor is a string in the pickle, and in exported programs a JSON object.
    """

    def change(name: str, content: bytes) -> bytes:
        if name.endswith(".json"):
            place = rb'{"type": "cuda", "index": 0}'
            return content.replace(b'{"type": "cpu", "index": null}', place)
        if name.endswith(".pt"):
            return as_from_cuda(content, device) if content else content
        text = device.encode()
        return content.replace(b"X\x03\0\0\0cpu", b"X" + bytes([len(text)]) + b"\0\0\0" + text)

    return rewritten(archive, change)


class TestTorchScriptConformance(EngineConformance):
    engine = "pytorch"
    request = {"x": ROWS.tolist()}  # noqa: RUF012

    def write_model(self, folder: Path) -> None:
        (folder / "model.pt").write_bytes(traced())

    def direct(self, folder: Path):
        with torch.inference_mode():
            return {"output": torch.jit.load(folder / "model.pt").eval()(ROWS)}


class TestExportedProgramConformance(EngineConformance):
    engine = "pytorch"
    request = {"x": ROWS.tolist()}  # noqa: RUF012

    def write_model(self, folder: Path) -> None:
        (folder / "model.pt2").write_bytes(exported())

    def direct(self, folder: Path):
        with torch.inference_mode():
            return {"output": torch.export.load(folder / "model.pt2").module()(ROWS)}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def described(model) -> list[str]:
    return [f"{spec.name} {spec}" for spec in (*model.inputs, *model.outputs)]


# --- what files declare


def test_an_exported_program_declares_its_inputs_and_outputs(tmp_path):
    sizes = {"ids": {0: Dim("batch"), 1: Dim("length")}, "scale": {0: Dim("batch")}}
    content = export(Words(), torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 2), sizes=sizes)
    model = load(written(tmp_path / "words.pt2", content))
    assert described(model) == [
        "ids (N, N1) int64", "scale (N, 2) float32", "scores (N, 2) float32", "scale (N, 2) float32"
    ]  # fmt: skip
    answer = model({"ids": [[4, 0]], "scale": [[1, 2]]})
    with torch.no_grad():
        wanted = Words()(torch.tensor([[4, 0]]), torch.tensor([[1.0, 2.0]]))
    assert answer["scores"].tolist() == wanted["scores"].tolist()
    with pytest.raises(InvalidTensorError, match='dimension N is 1 in input "ids" and 2'):
        model({"ids": [[4, 0]], "scale": [[1, 2], [1, 2]]})


def test_traced_torchscript_declares_names_ranks_and_dtypes(tmp_path):
    inputs = (torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 2))
    module = torch.jit.trace(Words().eval(), inputs, strict=False)
    torch.jit.save(module, tmp_path / "words.pt")
    model = load(tmp_path)
    assert described(model) == [
        "ids (?, ?) int64", "scale (?, ?) float32", "scores (?, ?) float32", "scale (?, ?) float32"
    ]  # fmt: skip
    assert model({"ids": [[4, 0], [1, 1]], "scale": [[1, 2]]})["scores"].shape == (2, 2)


def test_scripted_torchscript_declares_names_and_tells_indices_from_floats(tmp_path):
    torch.jit.save(torch.jit.script(Words()), tmp_path / "words.pth")
    model = load(tmp_path)
    assert described(model) == ["ids (any shape) int64", "scale (any shape) float32"]
    assert set(model({"ids": [[4]], "scale": [[1, 1]]})) == {"scores", "scale"}


def test_torchscript_saved_in_training_mode_answers_in_eval_mode(tmp_path):
    model = load(written(tmp_path / "model.pt", scripted()))
    wanted = Net().eval()(ROWS).tolist()
    assert [model({"x": ROWS.tolist()})["output"].tolist() for _ in range(3)] == [wanted] * 3


def test_the_file_s_format_counts_and_not_its_suffix(tmp_path):
    assert load(written(tmp_path / "a.pth", exported())).inputs[0].shape == ("N", 3)
    assert load(written(tmp_path / "b.pt2", traced())).inputs[0].shape == (None, None)


def test_tuples_and_named_tuples_are_outputs_by_position_and_by_name(tmp_path):
    class Pair(nn.Module):
        def forward(self, x):
            return x, (x + 1, {"sum": x.sum()})

    class Detector(nn.Module):
        def forward(self, x) -> Boxes:
            return Boxes(x, x > 0)

    pair = load(written(tmp_path / "pair.pt2", export(Pair(), torch.ones(1, 2))))
    names = ["output_0", "output_1_0", "output_1_1_sum"]
    assert [spec.name for spec in pair.outputs] == list(pair({"x": [[1, 2]]})) == names
    torch.jit.save(torch.jit.script(Detector()), tmp_path / "detector.pt")
    assert load(tmp_path / "detector.pt")({"x": [[0, 2]]})["labels"].tolist() == [[False, True]]


def test_numbers_that_an_export_has_fixed_are_no_inputs(tmp_path):
    class Scaled(nn.Module):
        def forward(self, pair, *, factor: int):
            return pair[0] * factor + pair[1]

    inputs = ((torch.ones(2), torch.zeros(2)),)
    program = torch.export.export(Scaled(), inputs, {"factor": 3})
    torch.export.save(program, tmp_path / "scaled.pt2")
    model = load(tmp_path)
    assert [spec.name for spec in model.inputs] == ["pair_0", "pair_1"]
    assert model({"pair_0": [1, 2], "pair_1": [0, 1]})["output"].tolist() == [3, 7]


def test_an_argument_with_a_default_is_left_at_it(tmp_path):
    class Scaled(nn.Module):
        def forward(self, x, factor: float = 2.0):
            return x * factor

    torch.jit.save(torch.jit.script(Scaled()), tmp_path / "scaled.pt")
    assert load(tmp_path)({"x": [1, 2]})["output"].tolist() == [2, 4]


def test_torchscript_that_takes_more_than_tensors_is_refused_with_the_way_out(tmp_path):
    class Scaled(nn.Module):
        def forward(self, x, factor: float):
            return x * factor

    torch.jit.save(torch.jit.script(Scaled()), tmp_path / "scaled.pt")
    with pytest.raises(ModelFileError, match="'factor', a float.* in the _inference of a script"):
        load(tmp_path)


def test_bfloat16_goes_in_and_comes_out_as_float32(tmp_path):
    content = export(Net().to(torch.bfloat16), torch.zeros(1, 3, dtype=torch.bfloat16))
    model = load(written(tmp_path / "half.pt2", content))
    assert [spec.dtype for spec in (*model.inputs, *model.outputs)] == ["float32", "float32"]
    wanted = Net().to(torch.bfloat16).eval()(ROWS.to(torch.bfloat16)).tolist()
    assert model({"x": ROWS.tolist()})["output"].tolist() == wanted


DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_of_numpy_go_in_and_come_out(tmp_path, dtype):
    class Same(nn.Module):
        def forward(self, x):
            return x.clone()

    content = export(Same(), torch.zeros(2, dtype=getattr(torch, dtype)))
    output = load(written(tmp_path / "same.pt2", content))({"x": [1, 0]})["output"]
    assert (str(output.dtype), output.tolist()) == (dtype, [1, 0])


# --- files that are refused


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Net().state_dict(), r"the weights alone, a state dict \(layer.weight, layer.bias\)"),
        (Net(), r"pickled Python objects \(.*Net\)"),
        (
            {"epoch": 3, "state_dict": Net().state_dict(), "pytorch-lightning_version": "2.5"},
            r"a checkpoint \(epoch, state_dict, pytorch-lightning_version\)",
        ),
        (torch.ones(2), "a Tensor"),
    ],
    ids=["state-dict", "module", "lightning", "tensor"],
)
@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
def test_a_file_without_the_network_is_refused_with_the_way_out(tmp_path, value, words, as_zip):
    content = saved(value, _use_new_zipfile_serialization=as_zip)
    path = written(tmp_path / "model.pth", content)
    way_out = r"set.*self\.model.*engineroom init --engine pytorch"
    with pytest.raises(ModelFileError, match=f"(?s){re.escape(str(path))}.*{words}.*{way_out}"):
        load(path)


def test_a_pickle_is_not_run_to_find_out_what_it_is(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = written(tmp_path / "model.pt", saved({"state_dict": Bomb()}))
    with pytest.raises(ModelFileError, match="pickled Python objects"):
        load(path)
    assert not (tmp_path / "ran").exists()


def without(archive: bytes, part: str) -> bytes:
    """``archive`` with rubbish in the entries whose name contains ``part``."""
    return rewritten(archive, lambda name, data: b"rubbish" if part in name else data)


BROKEN = {
    "empty.pt": (lambda: b"", "empty"),
    "text.pth": (lambda: b"The quick brown fox\n" * 9, "no file that PyTorch has saved"),
    "cut.pt": (lambda: traced()[:900], "cut off"),
    "cut.pt2": (lambda: exported()[:-30], "cut off"),
    "legacy.pth": (lambda: saved(Net(), _use_new_zipfile_serialization=False)[:99], "damaged"),
    "code.pt": (lambda: without(traced(), "/code/"), "not TorchScript that PyTorch can load"),
    "weights.pth": (lambda: without(saved(Net().state_dict()), "data.pkl"), "pickled|damaged"),
    "program.pt2": (lambda: without(exported(), "model.json"), "not a program"),
    "zip.pt": (lambda: without(b"PK\5\6" + b"\0" * 18, "x"), "without a PyTorch model"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_load_error_with_its_name_and_a_reason(tmp_path, name):
    make, reason = BROKEN[name]
    with pytest.raises(ModelFileError, match=f"(?s){name}.*({reason})"):
        load(written(tmp_path / name, make()))


# --- errors of requests


def test_a_shape_that_the_layers_cannot_take_is_the_client_s_error(tmp_path):
    model = load(written(tmp_path / "model.pt", scripted()))
    with pytest.raises(InvalidTensorError, match=r"any shape.*\(1, 2\) float32.*1x2 and 3x2") as e:
        model({"x": [[1, 2]]})
    assert e.value.detail["got"] == '"x" (1, 2) float32'


def test_a_size_beyond_the_range_of_an_export_is_the_client_s_error(tmp_path):
    model = load(written(tmp_path / "model.pt2", exported()))
    assert len(model({"x": [[1, 2, 3]] * 64})["output"]) == 64
    with pytest.raises(InvalidTensorError, match=r"\(65, 3\).* <= 64"):
        model({"x": [[1, 2, 3]] * 65})


@pytest.mark.parametrize("fixed", [True, False])
def test_an_index_beyond_an_embedding_is_the_client_s_error(tmp_path, fixed):
    inputs = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 2)
    if fixed:
        written(tmp_path / "words.pt2", export(Words(), *inputs))
    else:
        torch.jit.save(torch.jit.script(Words()), tmp_path / "words.pt")
    with pytest.raises(InvalidTensorError, match="index out of range"):
        load(tmp_path)({"ids": [[5]], "scale": [[1, 1]]})


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("x"), RuntimeError("CUDA error: 7")])
def test_errors_of_the_machine_are_not_the_client_s(tmp_path, error):
    predictor = load_file(written(tmp_path / "model.pt", traced()), CPU, 1)

    def fail(*_):
        raise error

    predictor.call = fail  # stands for a graphics card that nobody has here
    with pytest.raises(type(error)):
        predictor.run({"x": ROWS.numpy()})


# --- files without a script, served


def test_arrays_and_pictures_go_in_as_files(tmp_path):
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    torch.jit.save(torch.jit.trace(Mean(), torch.zeros(1, 3, 8, 8)), tmp_path / "mean.pt")
    model = load(tmp_path)
    assert model.inputs[0].shape == (None, 3, None, None)
    from PIL import Image

    picture, array = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (6, 4), (255, 0, 51)).save(picture, "PNG")
    np.save(array, np.full((1, 3, 2, 2), 2, np.float32))
    array.seek(0)
    assert model({"x": {"a.png": picture}})["output"].tolist() == [[255, 0, 51]]
    assert model({"x": {"a.npy": array}})["output"].tolist() == [[2, 2, 2]]


def test_an_untraced_file_is_not_warmed_up_with_a_guess(tmp_path, caplog):
    class Picky(nn.Module):
        def forward(self, x):
            return x.reshape(2, 2)

    torch.jit.save(torch.jit.script(Picky()), tmp_path / "picky.pt")
    assert load(tmp_path)({"x": [1, 2, 3, 4]})["output"].tolist() == [[1, 2], [3, 4]]
    assert not caplog.records


def test_a_script_with_two_steps_runs_the_model_file(package):
    script = """
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def _preprocess(self, data):
                return {"x": data["rows"]}

            def _postprocess(self, data):
                return data["output"].argmax(1).tolist()
    """
    model = load(package(script, **{"model.pt2": exported()}))
    assert model({"rows": ROWS.tolist()}) == [Net().eval()(ROWS).argmax().item()]
    assert model.inputs  # loaded with the script, not by the first request


# --- scripts with a model of their own

SCRIPT = """
import torch
from torch import nn
from model_service.pytorch_model_service import PTServingBaseService


class Service(PTServingBaseService):
    def __init__(self, model_name, model_path):
        self.model = nn.Linear(3, 2)
        self.model.load_state_dict(torch.load(model_path{options}))
        self.model.eval()

    def _postprocess(self, data):
        self.seen = data
        return {{key: value.tolist() for key, value in data.items()}}
"""


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return nn.Linear(3, 2).state_dict()


def linear(rows):
    layer = nn.Linear(3, 2)
    layer.load_state_dict(weights())
    with torch.no_grad():
        return layer(torch.as_tensor(rows, dtype=torch.float32)).tolist()


@pytest.fixture
def scripted_package(package):
    """A package whose script loads ``content`` with torch.load and these options."""

    def make(content: bytes, options: str = "", script: str = SCRIPT) -> Path:
        return package(script.format(options=options), **{"model.pth": content})

    return make


def test_the_script_s_model_is_called_for_each_entry_without_gradients(scripted_package):
    model = load(scripted_package(saved(weights())))
    first, second = torch.ones(1, 3), torch.zeros(2, 3)
    assert model({"a": first, "b": second}) == {"a": linear(first), "b": linear(second)}
    assert not model.service.seen["a"].requires_grad
    assert model.inputs == ()  # and the file was not loaded a second time


def test_whole_numbers_become_those_of_the_weights(scripted_package):
    model = load(scripted_package(saved(weights())))
    assert model({"a": np.array([[1, 2, 3]])})["a"] == linear(torch.tensor([[1.0, 2.0, 3.0]]))


def test_a_value_that_the_layers_cannot_take_is_the_client_s_error(scripted_package):
    model = load(scripted_package(saved(weights())))
    with pytest.raises(InvalidTensorError, match=r'cannot run on "a", \(1, 2\) float64: mat1'):
        model({"a": np.ones((1, 2))})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("line", ["nn.Linear(2, 2).cuda()", "torch.zeros(1, device='cuda')"])
def test_a_script_that_insists_on_a_gpu_is_told_that_there_is_the_cpu_only(package, line):
    head = SCRIPT.format(options="").partition("    def ")[0]
    script = f"{head}    def __init__(self, *given):\n        {line}\n"
    with pytest.raises(ScriptError, match=r"py:\d+: .*the script asks for CUDA.*line: .*cuda"):
        load(package(script))


def test_weights_of_data_parallel_are_told_with_the_way_to_load_them(scripted_package):
    content = saved({f"module.{key}": value for key, value in weights().items()})
    with pytest.raises(ScriptError, match=r"saved from nn.DataParallel.*removeprefix\('module.'"):
        load(scripted_package(content))


@pytest.mark.parametrize("name", ["model.pth", "weights/model.pth"])
def test_a_git_lfs_pointer_that_torch_load_reads_is_called_one(package, name):
    path = package(
        SCRIPT.format(options=""), **{name: b"version https://git-lfs.github.com/spec/v1\n"}
    )
    with pytest.raises(ScriptError, match=f"{name} is a git-lfs pointer of 43 bytes"):
        load(path)


def test_two_weight_files_are_told(scripted_package, caplog):
    path = scripted_package(saved(weights()))
    (path / "model" / "other.pth").write_bytes((path / "model" / "model.pth").read_bytes())
    load(path)
    assert "several model files (model.pth, other.pth): model_path is the first" in caplog.text


def test_a_script_may_change_the_result_in_place(scripted_package):
    in_place = '    def _postprocess(self, data):\n        return data["a"].mul_(0).tolist()\n'
    model = load(scripted_package(saved(weights()), script=SCRIPT + in_place))
    assert model({"a": torch.ones(1, 3)}) == [[0, 0]]


@pytest.mark.parametrize(
    "array",
    [np.ones((1, 3)), np.ones((1, 3), np.uint8)[:, ::-1].astype(np.float32)[:, ::-1]],
    ids=["float64", "reversed"],
)
def test_arrays_become_tensors_of_the_model_s_dtype(scripted_package, array):
    array.flags.writeable = False
    assert load(scripted_package(saved(weights())))({"a": array}) == {"a": linear(np.ones((1, 3)))}


def test_a_callable_that_is_no_module_gets_the_entries_as_they_are(package):
    script = """
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def __init__(self, model_name, model_path):
                self.model = sum
    """
    assert load(package(script), engine="pytorch")({"a": [1, 2]}) == {"a": 3}


def test_what_is_not_a_dict_is_named_with_what_to_do(scripted_package):
    with pytest.raises(StepInputError, match="a dict of tensors by name, got list"):
        load(scripted_package(saved(weights())))([1])


def test_a_model_left_in_training_mode_is_named_in_the_log_once(package, caplog):
    script = """
        from torch import nn
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def __init__(self, model_name, model_path):
                self.model = nn.Dropout(1.0)
    """
    model = load(package(script), engine="pytorch")
    for _ in range(2):
        assert model({"a": torch.ones(2)})["a"].tolist() == [0, 0]
    assert [r.message for r in caplog.records if "training mode" in r.message] == [
        caplog.records[-1].message
    ]


def test_every_way_of_calling_the_parent_s_constructor():
    both, path = PTServingBaseService("name", "file"), PTServingBaseService("file")
    assert (both.model_name, both.model_path) == ("name", "file")
    assert (path.model_name, path.model_path) == ("serve", "file")
    bare = PTServingBaseService()
    assert (bare.model_name, bare.model_path, bare.model) == ("serve", "", None)

    class Above(PTServingBaseService):
        def __init__(self, model_name, model_path):
            super(PTServingBaseService, self).__init__(model_name, model_path)

    assert Above("name", "file").model_path == "file"


def test_a_service_made_outside_runs_its_model():
    service = PTServingBaseService("name", "file")
    service.model = nn.Identity()
    assert service.inference({"a": np.ones(2, np.float32)})["a"].tolist() == [1, 1]


# --- torch.load for scripts


def test_a_script_s_load_of_a_pickled_module_names_the_setting_that_allows_it(scripted_package):
    package = scripted_package(saved(types.SimpleNamespace(a=1)))
    setting = r"model\.pth .*SimpleNamespace.*--allow-pickle or ENGINEROOM_ALLOW_PICKLE=1"
    with pytest.raises(ScriptError, match=f"customize_service.py:10.*{setting}"):
        load(package)


def test_a_pickled_module_loads_where_that_is_allowed(package):
    script = """
        import torch
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def __init__(self, model_name, model_path):
                self.model = torch.load(model_path)
    """
    path = package(script, **{"model.pth": saved(nn.Linear(3, 2).eval())})
    with pytest.raises(ScriptError, match="allow-pickle"):
        load(path)
    assert len(load(path, allow_pickle=True)({"a": torch.ones(1, 3)})["a"][0]) == 2


def test_a_pickled_network_gets_the_attributes_that_its_layers_have_got_since(package, caplog):
    caplog.set_level(logging.INFO, "engineroom")
    script = """
        import torch
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def __init__(self, model_name, model_path):
                self.model = torch.load(model_path)["model"]
    """
    network = nn.Sequential(nn.Upsample(None, 2), nn.GELU()).eval()
    del network[0].recompute_scale_factor, network[1].approximate
    path = package(script, **{"model.pth": saved({"model": network, "epoch": 1})})
    result = load(path, allow_pickle=True)({"a": torch.ones(1, 3, 2)})["a"]
    assert np.shape(result) == (1, 3, 4)
    assert "an old nn.GELU (approximate='none')" in caplog.text
    with pytest.raises(Exception, match="no attribute 'approximate'"):
        load(path, allow_pickle=True, lent_names=False)({"a": torch.ones(1, 3, 2)})


def test_what_pytorch_and_torchvision_no_longer_have_is_lent(package):
    script = """
        from torch._six import container_abcs, int_classes, string_classes
        from torchvision.models.utils import load_state_dict_from_url
        from torchvision import transforms
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def _inference(self, data):
                is_list = isinstance(data["a"], container_abcs.Sequence)
                return is_list, load_state_dict_from_url.__module__, transforms.Scale
    """
    files = {
        "torchvision/models/__init__.py": "",
        "torchvision/transforms.py": "Resize, RandomResizedCrop = 'bigger', 'cut'",
    }
    model = load(package(script, **files))
    assert model({"a": [1]}) == (True, "torch.hub", "bigger")
    assert "torch._six" not in sys.modules
    assert model.stage.lent["torch._six"] == "engineroom_pytorch.six"


def test_the_log_says_once_that_a_file_runs_code(scripted_package, caplog):
    package = scripted_package(saved(types.SimpleNamespace(a=1)))
    with pytest.raises(ScriptError):  # it is no network
        load(package, allow_pickle=True)
    said = [r.getMessage() for r in caplog.records if "runs code" in r.getMessage()]
    assert len(said) == 1
    assert "model.pth holds more than weights" in said[0]


def test_a_file_of_weights_runs_no_code_even_where_that_is_allowed(scripted_package, caplog):
    load(scripted_package(saved(weights())), allow_pickle=True)
    assert "runs code" not in caplog.text


def test_what_the_script_says_itself_wins(scripted_package):
    package = scripted_package(saved(weights()), ", map_location='meta', weights_only=True")
    with pytest.raises(ScriptError, match="copying from.* meta|no-op|meta"):
        load(package, allow_pickle=True)._service.model.weight.tolist()


def test_code_outside_the_package_gets_torch_load_as_it_is(scripted_package, tmp_path):
    load(scripted_package(saved(weights())), allow_pickle=True)
    with pytest.raises(Exception, match="(?s)Weights only load failed"):
        torch.load(io.BytesIO(saved(types.SimpleNamespace())))


def test_each_of_several_packages_in_a_process_has_its_own_setting(package, tmp_path):
    body = """
        import io, torch
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def _inference(self, data):
                return str(type(torch.load(io.BytesIO(data["file"]))))
    """
    first = package(body)
    second = tmp_path / "second"
    (second / "model").mkdir(parents=True)
    script = "model/customize_service.py"
    (second / script).write_bytes((first / script).read_bytes())
    content = {"file": saved(types.SimpleNamespace())}
    strict, lax = load(first, engine="pytorch"), load(second, engine="pytorch", allow_pickle=True)
    for _ in range(2):
        assert "SimpleNamespace" in lax(content)
        with pytest.raises(RequestError, match="--allow-pickle"):
            strict(content)


def test_torchscript_loads_with_torch_load_as_it_did(package):
    script = """
        import torch
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def __init__(self, model_name, model_path):
                self.model = torch.load(model_path, map_location="cpu").eval()
    """
    model = load(package(script, **{"model.pt": traced()}))
    assert model({"a": ROWS})["a"].tolist() == Net().eval()(ROWS).tolist()


needs_no_card = pytest.mark.skipif(
    torch.cuda.is_available(), reason="about machines without a graphics card"
)


@needs_no_card
@pytest.mark.parametrize(
    "options",
    ["", ", map_location=None", ", map_location='cuda'", ", map_location=torch.device('cuda:0')"],
)
@pytest.mark.parametrize("saved_on", ["cuda:0", "cuda:3"])
def test_a_checkpoint_from_a_card_loads_without_one(scripted_package, options, saved_on):
    content = as_from_cuda(saved(weights()), saved_on)
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(io.BytesIO(content))
    model = load(scripted_package(content, options))
    assert model({"a": torch.ones(1, 3)}) == {"a": linear([[1, 1, 1]])}


@needs_no_card
@pytest.mark.parametrize("location", ["{'cuda:0': 'cpu'}", "lambda storage, place: storage"])
def test_dicts_and_functions_for_a_place_are_left_alone(scripted_package, location):
    content = as_from_cuda(saved(weights()))
    model = load(scripted_package(content, f", map_location={location}"))
    assert model({"a": torch.ones(1, 3)}) == {"a": linear([[1, 1, 1]])}


@needs_no_card
@pytest.mark.parametrize("options", ["", ", map_location='cuda'"])
def test_torchscript_from_a_card_loads_without_one_in_a_script(package, options):
    script = f"""
        import torch
        from model_service.pytorch_model_service import PTServingBaseService

        class Service(PTServingBaseService):
            def __init__(self, model_name, model_path):
                self.model = torch.jit.load(model_path{options}).eval()
    """
    model = load(package(script, **{"model.pt": as_from_cuda(traced())}))
    assert model({"a": ROWS})["a"].tolist() == Net().eval()(ROWS).tolist()


@needs_no_card
@pytest.mark.parametrize("make", [traced, scripted, exported])
def test_a_model_file_from_a_card_runs_without_one(tmp_path, make):
    model = load(written(tmp_path / "model.pt", as_from_cuda(make())))
    assert model({"x": ROWS.tolist()})["output"].tolist() == Net().eval()(ROWS).tolist()


# --- devices and threads


def fake_torch(cuda: int = 0, npu: int | None = None, mps: bool = False):
    """As much of torch as the probe asks, with hardware that nobody has here."""
    fake = types.SimpleNamespace(
        cuda=types.SimpleNamespace(device_count=lambda: cuda),
        backends=types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: mps)),
    )
    if npu is not None:
        fake.npu = types.SimpleNamespace(device_count=lambda: npu)
    return fake


def test_devices_are_those_that_pytorch_counts_best_first():
    assert devices(fake_torch()) == (CPU,)
    assert devices(fake_torch(cuda=2)) == (Device("cuda", 0), Device("cuda", 1), CPU)
    assert devices(fake_torch(npu=2)) == (Device("npu", 0), Device("npu", 1), CPU)
    assert devices(fake_torch(npu=0, mps=True)) == (Device("mps"), CPU)


@needs_no_card
@pytest.mark.parametrize("make", [traced, exported])
def test_a_device_that_fails_after_all_is_a_device_error(tmp_path, make):
    path = written(tmp_path / "model.pt", make())
    with pytest.raises(DeviceError, match=r"model\.pt: the device cuda:1 cannot.*--device cpu"):
        load_file(path, Device("cuda", 1), 1)


@needs_no_card
def test_auto_takes_the_next_device_when_one_fails(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(device_module, "devices", lambda _: devices(fake_torch(cuda=1)))
    model = load(written(tmp_path / "model.pt", traced()))
    assert model.predictor.predictor.device == CPU
    assert "cuda:0 cannot be used" in caplog.text


@pytest.mark.parametrize("make", [traced, exported])
def test_the_network_is_moved_to_the_device(tmp_path, make):
    # PyTorch's "meta" stands for a card: it holds shapes, and gives no values back.
    predictor = load_file(written(tmp_path / "model.pt", make()), Device("meta"), 1)
    assert {weight.device.type for weight in predictor.call.parameters()} == {"meta"}


class Seen(nn.Module):
    """Notes where its input is, and answers on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        self.seen = [value.device.type for value in x]
        return torch.ones(1)


def behind(kind: str, wanted: str = "auto"):
    """The core's side of a service whose device is ``kind``."""
    return types.SimpleNamespace(
        threads=torch.get_num_threads(), place=Place(wanted), chosen_device=lambda: Device(kind)
    )


def test_a_script_s_module_and_its_inputs_move_to_the_chosen_device():
    module = Seen()
    running = RunningModule(module, behind("meta"))
    answer = running({"a": [torch.zeros(1), np.zeros(1)]})
    assert module.weight.device.type == "meta"
    assert module.seen == ["meta", "meta"]
    assert answer["a"].device.type == "cpu"  # where the script had put the module


def test_a_module_that_the_script_has_placed_stays_unless_a_device_was_asked_for():
    module = Seen().to("meta")
    RunningModule(module, behind("cpu"))
    assert module.weight.device.type == "meta"
    with pytest.raises(DeviceError, match="meta"):  # tried: its values cannot be moved
        RunningModule(module, behind("cpu", wanted="cpu"))


@needs_no_card
def test_a_script_s_module_stays_where_auto_fails(caplog):
    module = Seen()
    assert RunningModule(module, behind("cuda"))({"a": [torch.zeros(1)]})["a"].item() == 1
    assert "it stays on cpu" in caplog.text
    with pytest.raises(DeviceError, match="self.model: the device cuda:0"):
        RunningModule(module, behind("cuda", wanted="cuda"))


def test_the_thread_that_predicts_has_the_thread_count(tmp_path):
    predictor = load_file(written(tmp_path / "model.pt", traced()), CPU, 3)
    seen = []

    def predict():
        torch.set_num_threads(1)
        predictor.run({"x": ROWS.numpy()})
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=predict)
    thread.start()
    thread.join()
    assert seen == [3]
    torch.set_num_threads(max(1, torch.get_num_threads()))


def test_the_npu_is_set_once_in_every_thread(monkeypatch):
    # torch_npu, of which only this call is needed, and which nobody has here.
    calls = []
    npu = types.SimpleNamespace(set_device=lambda i: calls.append((threading.get_ident(), i)))
    monkeypatch.setattr(torch, "npu", npu, raising=False)
    place = types.SimpleNamespace(type="npu", index=1)

    def predict():
        for _ in range(2):
            prepare_thread(place, torch.get_num_threads())

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [index for _, index in calls] == [1, 1]


def test_a_process_of_its_own_gets_the_thread_count_before_the_import():
    engine = Registry().engine("pytorch")
    assert engine.environment(3) == {"OMP_NUM_THREADS": "3"}
    assert engine.environment(None) == {}


# --- equal to PyTorch


@pytest.mark.parametrize("make", [traced, scripted, exported])
def test_an_answer_is_bit_equal_to_the_network_called_directly(tmp_path, make):
    path = written(tmp_path / "model.pt", make())
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    if make is exported:
        with path.open("rb") as file:
            direct = torch.export.load(file).module()
    else:
        direct = torch.jit.load(path).eval()
    with torch.inference_mode():
        wanted = direct(rows).numpy()
    model = load(path)
    for _ in range(4):
        assert model({"x": rows.numpy()})["output"].tobytes() == wanted.tobytes()
