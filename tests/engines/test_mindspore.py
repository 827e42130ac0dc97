"""The MindSpore engine: the conformance suite, and what only MindSpore has."""

import logging
import threading
import time
import types

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from engineroom import load
from engineroom.errors import DeviceError, InvalidTensorError, ModelFileError, RequestError
from engineroom.lending import Stage
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings
from engineroom.testing import EngineConformance
from engineroom.values import CPU, Device
from engineroom_mindspore.device import adapt, devices, place, select


class Dense(nn.Cell):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(3, 2)

    def construct(self, x):
        return self.dense(x)


def open_tensor(*shape, dtype=ms.float32):
    """What a network is exported with where a size (None) is to stay open."""
    return Tensor(shape=list(shape), dtype=dtype)


def write(path, network, *inputs, **options):
    ms.set_seed(7)
    ms.export(network, *inputs, file_name=str(path), file_format="MINDIR", **options)
    path.chmod(0o644)  # MindSpore lets only the owner read it, and nobody write
    return path


def directly(path, *arrays):
    """The outputs of MindSpore itself."""
    result = nn.GraphCell(ms.load(str(path)))(*map(Tensor, arrays))
    return [value.asnumpy() for value in (result if isinstance(result, tuple) else (result,))]


class TestMindSporeConformance(EngineConformance):
    engine = "mindspore"
    request = {"x": [[0.1, 0.2, 0.3]]}  # noqa: RUF012

    def write_model(self, folder):
        write(folder / "model.mindir", Dense(), open_tensor(None, 3))

    def direct(self, folder):
        (output,) = directly(folder / "model.mindir", np.array(self.request["x"], np.float32))
        return {"output_0": output}


# --- inputs and outputs


class Several(nn.Cell):
    def construct(self, x, y):
        return x + y, (x > 0, ops.argmax(y, 1)), 3


def test_outputs_of_a_tuple_are_numbered_in_their_order(tmp_path):
    path = write(tmp_path / "a.mindir", Several(), open_tensor(None, 2), open_tensor(None, 2))
    model = load(path)
    answer = model({"y": [[1, 5]], "x": [[-1, 2]]})
    assert [f"{spec.name} {spec}" for spec in model.outputs] == [
        "output_0 (?, 2) float32",
        "output_1 (?, 2) bool",
        "output_2 (?,) int64",
        "output_3 () int64",
    ]
    assert [np.asarray(value).tolist() for value in answer.values()] == [
        [[0, 7]],
        [[False, True]],
        [1],
        3,
    ]


class Same(nn.Cell):
    def construct(self, x):
        return x


@pytest.mark.parametrize(
    "dtype", ["int8", "uint16", "int32", "int64", "bool", "float16", "float32", "float64"]
)
def test_every_dtype_goes_in_and_comes_out(tmp_path, dtype):
    kind = getattr(ms, "bool_" if dtype == "bool" else dtype)
    model = load(write(tmp_path / "a.mindir", Same(), open_tensor(None, dtype=kind)))
    answer = model({"x": [1, 0]})["output_0"]
    assert (model.inputs[0].dtype, answer.dtype, answer.tolist()) == (dtype, dtype, [1, 0])


def test_a_bfloat16_input_is_refused_since_numpy_has_none(tmp_path):
    path = write(tmp_path / "a.mindir", Same(), open_tensor(None, dtype=ms.bfloat16))
    with pytest.raises(ModelFileError, match="input 'x' is a bfloat16, which cannot be fed"):
        load(path)


class Brief(nn.Cell):
    def construct(self, x):
        return x.astype(ms.bfloat16)


def test_a_bfloat16_output_comes_out_as_float32(tmp_path):
    model = load(write(tmp_path / "a.mindir", Brief(), open_tensor(None)))
    answer = model({"x": [1, 3.5]})["output_0"]
    assert (model.outputs[0].dtype, str(answer.dtype), answer.tolist()) == (
        "float32",
        "float32",
        [1, 3.5],
    )


def test_a_shape_without_a_rank_takes_any(tmp_path):
    path = write(tmp_path / "a.mindir", Same(), Tensor(shape=None, dtype=ms.float32))
    model = load(path)
    assert str(model.inputs[0]) == "(any shape) float32"
    assert model({"x": [[1, 2]]})["output_0"].tolist() == [[1, 2]]


class Picture(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv, self.dense = nn.Conv2d(1, 4, 3), nn.Dense(4 * 4 * 4, 10)
        self.relu, self.pool, self.flatten = nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten()

    def construct(self, x):
        return self.dense(self.flatten(self.pool(self.relu(self.conv(x)))))


def test_every_batch_size_gives_the_bits_of_a_direct_call(tmp_path):
    path = write(tmp_path / "a.mindir", Picture(), open_tensor(None, 1, 8, 8))
    model, random = load(path), np.random.default_rng(0)
    for size in (1, 2, 7):
        rows = random.normal(size=(size, 1, 8, 8)).astype(np.float32)
        (wanted,) = directly(path, rows)
        assert model({"x": rows})["output_0"].tobytes() == wanted.tobytes()


def test_a_new_batch_size_is_not_compiled_again(tmp_path):
    model = load(write(tmp_path / "a.mindir", Dense(), open_tensor(None, 3)))
    predictor = model.predictor.predictor
    compiled = {key: set(cell.compile_cache) for key, cell in predictor._cells.items()}
    for size in (1, 2, 3, 4):
        assert model({"x": [[1, 2, 3]] * size})["output_0"].shape == (size, 2)
    assert {key: set(cell.compile_cache) for key, cell in predictor._cells.items()} == compiled
    assert [len(phases) for phases in compiled.values()] == [1, 1]


def test_a_fixed_batch_is_what_the_model_takes(tmp_path):
    model = load(write(tmp_path / "a.mindir", Dense(), open_tensor(4, 3)))
    assert model({"x": [[1, 2, 3]] * 4})["output_0"].shape == (4, 2)
    with pytest.raises(InvalidTensorError, match=r"expected \(4, 3\) float32, got \(1, 3\)"):
        model({"x": [[1, 2, 3]]})


# --- errors


def test_a_shape_that_the_layers_cannot_take_is_the_client_s_error_and_the_last_of_its_kind(
    tmp_path,
):
    # MindSpore itself refuses every later call of a graph that failed once while it ran.
    model = load(write(tmp_path / "a.mindir", Dense(), open_tensor(None, None)))
    wanted = model({"x": [[1, 2, 3]]})["output_0"]
    with pytest.raises(InvalidTensorError, match=r"'x1_col': 5 and 'x2_row': 3") as caught:
        model({"x": [[1, 2, 3, 4, 5]]})
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(model({"x": [[1, 2, 3]]})["output_0"], wanted)


def test_a_checkpoint_without_a_script_says_what_is_missing(tmp_path):
    ms.save_checkpoint(Dense(), str(tmp_path / "dense.ckpt"))
    with pytest.raises(ModelFileError, match="engineroom init --engine mindspore FOLDER"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no model\n", None], ids=["empty", "text", "truncated"])
def test_what_is_no_mindir_file_is_named(tmp_path, content):
    path = tmp_path / "a.mindir"
    if content is None:
        content = write(path, Dense(), open_tensor(None, 3)).read_bytes()[:-100]
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"a\.mindir: not a MindIR file"):
        load(path)


def test_an_encrypted_file_is_recognised(tmp_path):
    key = {"enc_key": b"0123456789ABCDEF", "enc_mode": "AES-GCM"}
    path = write(tmp_path / "a.mindir", Dense(), open_tensor(None, 3), **key)
    with pytest.raises(ModelFileError, match=r"a\.mindir: encrypted"):
        load(path)


# --- threads


def test_two_models_survive_four_threads(tmp_path):
    # Without a gate of the process, two threads in MindSpore hang for ever or crash.
    models, rows = [], np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)
    for name in ("a", "b"):
        path = write(tmp_path / f"{name}.mindir", Picture(), open_tensor(None, 1, 8, 8))
        models.append((load(path), directly(path, rows)[0].tobytes()))
    wrong, end = [], time.monotonic() + 2

    def ask(model, wanted):
        while time.monotonic() < end:
            if model({"x": rows})["output_0"].tobytes() != wanted:
                wrong.append(model)

    threads = [threading.Thread(target=ask, args=models[i % 2]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- scripts

SCRIPT = """
import mindspore
import numpy as np
from mindspore import Tensor, nn
from model_service.model_service import SingleNodeService
{before}

class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(3, 2)

    def construct(self, x):
        return self.dense(x)

class Sums(SingleNodeService):
    def __init__(self, model_name, model_path):
        self.net = Net()
        mindspore.load_checkpoint(model_path + "/net.ckpt", self.net)
        {within}

    def _inference(self, data):
        x = Tensor(np.array(data["x"], np.float32))
        return {{"y": self.net(x).asnumpy(), "target": mindspore.get_context("device_target")}}
"""


@pytest.fixture
def scripted(package):
    def write(before="", within="pass"):
        folder = package(SCRIPT.format(before=before, within=within))
        net = Dense()
        net.dense.weight.set_data(Tensor(np.array([[1, 1, 1], [0, 0, 1]], np.float32)))
        ms.save_checkpoint(net, str(folder / "model" / "net.ckpt"))
        return folder

    return write


CONTEXTS = [
    "from mindspore import context; context.set_context(mode={mode}, device_target='Ascend')",
    "import mindspore as ms; ms.set_context(mode={mode}, device_target='Ascend', device_id=3)",
    "from mindspore.context import set_context; set_context(mode={mode}, device_target='Ascend')",
    "mindspore.set_context(mode={mode}); mindspore.set_device('Ascend', 0)",
]


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize("line", CONTEXTS, ids=["context", "mindspore", "function", "device"])
def test_a_script_made_for_ascend_runs_on_the_cpu_and_is_told_once(scripted, caplog, line, mode):
    line = line.format(mode=mode)
    model = load(scripted(line, line))
    assert model({"x": [[1, 2, 3]]})["y"].shape == (1, 2)
    assert model({"x": [[1, 2, 3]]})["target"] == "CPU"
    warnings = [r.getMessage() for r in caplog.records if r.name == "engineroom"]
    assert warnings == [
        'the script asks for device_target="Ascend", which is not there; it gets CPU'
    ]
    ms.set_context(mode=ms.PYNATIVE_MODE)


def test_transforms_are_found_where_mindspore_once_kept_them(package):
    script = """
        import io
        import mindspore.dataset.vision.c_transforms as C
        import mindspore.dataset.vision.py_transforms as P
        import mindspore.dataset.transforms.c_transforms as T
        import mindspore, numpy as np
        from PIL import Image
        from model_service.model_service import SingleNodeService

        class Service(SingleNodeService):
            def _inference(self, data):
                pixels = np.full((4, 4, 3), 51, np.uint8)
                small = C.Resize((2, 2))(pixels)
                whole = P.Normalize([0.2] * 3, [1.0] * 3)(P.ToTensor()(Image.fromarray(pixels)))
                return small.shape, whole.shape, float(abs(whole).max()) < 1e-6, T.OneHot(3) is None
    """
    model = load(package(script))
    assert model({"a": 1}) == ((2, 2, 3), (3, 4, 4), True, False)
    assert "mindspore.dataset.vision.c_transforms" in model.stage.lent


def test_the_host_s_own_calls_are_left_alone(scripted):
    load(scripted(CONTEXTS[0].format(mode=1)))
    with pytest.raises(RuntimeError, match="Unsupported device target Ascend"):
        ms.set_context(device_target="Ascend")


def test_a_script_s_mistakes_still_get_mindspore_s_errors(scripted):
    with pytest.raises(Exception, match="'CPU', 'GPU', 'Ascend'"):
        load(scripted("mindspore.set_context(device_target='abacus')"))


def test_an_npu_that_is_not_there_names_the_devices_there_are(scripted):
    with pytest.raises(DeviceError, match="this engine sees: cpu"):
        load(scripted(), device="npu:0")


def test_a_script_may_leave_the_inference_to_its_mindir(package):
    folder = package("""
        from model_service.model_service import SingleNodeService

        class Doubling(SingleNodeService):
            def _preprocess(self, data):
                return {"x": data["rows"]}
    """)
    write(folder / "model" / "a.mindir", Same(), open_tensor(None, 2))
    assert load(folder)({"rows": [[1, 2]]})["output_0"].tolist() == [[1, 2]]


def test_a_failure_of_a_script_s_network_is_an_error_of_the_request(scripted):
    model = load(scripted())
    with pytest.raises(RequestError):
        model({"x": [[1, 2]]})
    assert model({"x": [[1, 2, 3]]})["y"].shape == (1, 2)


# --- the choice of a device

NPUS = (Device("npu", 0), Device("npu", 1), CPU)
CUDA = (Device("cuda", 0), CPU)


@pytest.mark.parametrize(
    ("setting", "there", "asked", "got", "warning"),
    [
        ("auto", (CPU,), ("Ascend", 0), "cpu", 'asks for device_target="Ascend", which is not'),
        ("auto", (CPU,), ("Davinci", None), "cpu", "it gets CPU"),
        ("auto", (CPU,), ("GPU", 1), "cpu", 'asks for device_target="GPU", which is not there'),
        ("auto", (CPU,), ("CPU", 3), "cpu", ""),
        ("auto", (CPU,), (None, 3), "cpu", ""),
        ("auto", CUDA, ("Ascend", 0), "cuda:0", "which is not there; it gets GPU"),
        ("auto", NPUS, ("Ascend", 0), "npu:0", ""),
        ("auto", NPUS, ("Ascend", None), "npu:0", ""),
        ("auto", NPUS, ("Ascend", 5), "npu:0", "asks for device_id=5; it gets npu:0"),
        ("auto", NPUS, (None, 1), "npu:0", "asks for device_id=1"),
        ("auto", NPUS, ("CPU", None), "cpu", ""),
        ("cpu", NPUS, ("Ascend", 0), "cpu", "and the server has --device cpu; it gets CPU"),
        ("cpu", NPUS, ("CPU", 0), "cpu", ""),
        ("npu", NPUS, ("Ascend", 0), "npu:0", ""),
        ("npu:1", NPUS, ("Ascend", 1), "npu:1", ""),
        ("npu:1", NPUS, ("Ascend", 0), "npu:1", "asks for device_id=0; it gets npu:1"),
        ("npu:1", NPUS, ("CPU", None), "npu:1", "and the server has --device npu:1; it gets"),
        ("cuda:0", CUDA, ("Ascend", 0), "cuda:0", "it gets GPU"),
    ],
)
def test_which_device_a_script_gets(setting, there, asked, got, warning):
    choice = select(setting, there, *asked)
    assert str(choice.device) == got
    assert warning in choice.warning
    assert bool(choice.warning) == bool(warning)


@pytest.mark.parametrize("setting", ["npu", "npu:2", "cuda:0"])
def test_a_device_of_the_server_that_is_not_there_is_an_error(setting):
    there = (CPU,) if setting == "npu" else NPUS
    with pytest.raises(DeviceError, match="this engine sees: .*cpu"):
        select(setting, there, "Ascend", 0)


def machine(ascend=0, gpu=0):
    """A stand-in for MindSpore on a machine nobody here has, as strict as 2.10 is seen to be."""
    fake = types.ModuleType("mindspore")
    fake.calls = []

    def context(count):
        def device_count():
            if not count:
                raise RuntimeError("Device not exist.")
            return count

        return types.SimpleNamespace(is_available=lambda: count > 0, device_count=device_count)

    def set_device(target, device_id=0):
        if fake.calls and fake.calls != [(target, device_id)]:
            raise RuntimeError("The 'mindspore.set_device' can not be modified.")
        fake.calls = [(target, device_id)]

    def set_context(**settings):
        if {"device_target", "device_id"} & set(settings):
            raise TypeError("The parameter device_id can not be set repeatedly")
        fake.settings = settings

    fake.device_context = types.SimpleNamespace(ascend=context(ascend), gpu=context(gpu))
    fake.set_device, fake.set_context = set_device, set_context
    fake.get_current_device = lambda: fake.calls[-1] if fake.calls else ("CPU", 0)
    fake.context, fake.device_manager = types.ModuleType("context"), types.ModuleType("manager")
    return fake


@pytest.fixture
def on_stage(package):
    """Runs lines as a script's: ``on_stage(fake, "npu:1", "ms.set_device('Ascend', 0)")``."""
    opened = open_package(package("x = 1\n"))

    stages = []

    def run(fake, device, *lines):
        stages.append(Stage(opened, Settings(), device))
        adapt(fake, stages[-1])
        for line in lines:
            exec(compile(line, str(opened.script), "exec"), {"ms": fake})

    return run


def test_devices_are_those_that_mindspore_counts():
    assert list(map(str, devices(machine(ascend=2)))) == ["npu:0", "npu:1", "cpu"]
    assert list(map(str, devices(machine(gpu=1)))) == ["cuda:0", "cpu"]
    assert devices(machine()) == (CPU,)


def test_a_script_that_names_no_device_gets_the_server_s(on_stage):
    fake = machine(ascend=2)
    on_stage(fake, "npu:1", "ms.set_context(mode=0)")
    assert (fake.calls, fake.settings) == ([("Ascend", 1)], {"mode": 0})


def test_on_ascend_the_target_stays_and_the_id_is_the_server_s(on_stage, caplog):
    fake = machine(ascend=2)
    line = "ms.context.set_context(mode=0, device_target='Ascend', device_id=0)"
    on_stage(fake, "npu:1", line, line, "ms.set_device('Ascend')")
    assert (fake.calls, fake.settings) == ([("Ascend", 1)], {"mode": 0})
    assert [r.getMessage() for r in caplog.records] == [
        "the script asks for device_id=0; it gets npu:1, the server's"
    ]


def test_on_auto_nothing_is_chosen_before_the_script_does(on_stage):
    fake = machine(ascend=2)
    on_stage(fake, "auto")
    assert fake.calls == []
    on_stage(fake, "auto", "ms.set_device('CPU')")
    assert fake.calls == [("CPU", 0)]


def test_several_scripts_in_one_process_are_told_apart(on_stage, tmp_path, caplog):
    fake = machine()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "customize_service.py").write_text("")
    other = open_package(tmp_path / "other")
    on_stage(fake, "auto", "ms.set_device('Ascend', 0)")
    second = Stage(other, Settings(), "cpu")
    adapt(fake, second)
    exec(compile("ms.set_device('GPU')", str(other.script), "exec"), {"ms": fake})
    caplog.set_level(logging.WARNING)
    assert ["not there" in r.getMessage() for r in caplog.records] == [True, False]


def test_a_second_device_in_one_process_is_refused():
    fake = machine(ascend=2)
    place(fake, Device("npu", 0))
    place(fake, Device("npu", 0))
    with pytest.raises(DeviceError, match="one device per process, which is npu:0 here"):
        place(fake, Device("npu", 1))


def test_a_runtime_that_has_started_on_the_device_is_as_good():
    fake = machine()

    def started(*device):
        raise RuntimeError("The runtime has been initialized, please set it before …\nmore")

    fake.set_device = started
    place(fake, CPU)
    with pytest.raises(DeviceError, match="one device per process, which is cpu here"):
        place(fake, Device("npu", 0))


def test_a_device_that_mindspore_cannot_use_after_all_is_an_error():
    fake = machine(ascend=1)

    def broken(*device):
        raise RuntimeError("Unsupported device target Ascend.\nLoad dynamic library: …")

    fake.set_device = broken
    with pytest.raises(DeviceError, match=r"cannot use npu:0: Unsupported .* Ascend\.$"):
        place(fake, Device("npu"))


def test_the_engine_declares_that_mindspore_takes_one_caller_at_a_time():
    engine = Registry().engine("mindspore")
    assert (engine.max_concurrency, engine.thread_safe) == (1, False)
    assert engine.environment(None) == {"GLOG_v": "3"}
    assert engine.environment(2)["OMP_NUM_THREADS"] == "2"
