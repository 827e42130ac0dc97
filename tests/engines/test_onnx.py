"""The ONNX engine: the conformance suite, and what only ONNX Runtime has."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from engineroom import load
from engineroom.errors import DeviceError, InvalidTensorError, ModelFileError, WarmUpError
from engineroom.testing import EngineConformance
from engineroom.values import CPU, Device
from engineroom_onnx import device
from engineroom_onnx.loader import OnnxPredictor

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)


def write_graph(path: Path, nodes, inputs, outputs, weights=()) -> None:
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)


def value(name: str, kind: int, shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


class TestOnnxConformance(EngineConformance):
    engine = "onnx"
    request = {"x": [[0.1, 0.2, 0.3]]}  # noqa: RUF012

    def write_model(self, folder: Path) -> None:
        write_graph(
            folder / "model.onnx",
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            [value("x", TensorProto.FLOAT, ["N", 3])],
            [value("y", TensorProto.FLOAT, ["N", 2])],
            [numpy_helper.from_array(WEIGHTS, "w")],
        )

    def direct(self, folder: Path):
        session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        rows = np.array(self.request["x"], np.float32)
        return {"y": session.run(None, {"x": rows})[0]}


def test_every_numpy_dtype_of_onnx_goes_in_and_comes_out(tmp_path):
    kinds = "FLOAT DOUBLE FLOAT16 INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 BOOL STRING"
    for kind in kinds.split():
        path = tmp_path / f"{kind}.onnx"
        code = getattr(TensorProto, kind)
        write_graph(
            path,
            [helper.make_node("Identity", ["x"], ["y"])],
            [value("x", code, ["N"])],
            [value("y", code, ["N"])],
        )
        sent = ["a", ""] if kind == "STRING" else [1, 0]
        assert load(path)({"x": sent})["y"].tolist() == sent


def test_an_index_beyond_an_embedding_is_the_client_s_error(tmp_path):
    write_graph(
        tmp_path / "gather.onnx",
        [helper.make_node("Gather", ["w", "i"], ["y"])],
        [value("i", TensorProto.INT64, ["N"])],
        [value("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = load(tmp_path / "gather.onnx")
    assert model({"i": [2]})["y"].tolist() == [[4.0, 5.0]]
    with pytest.raises(InvalidTensorError, match="ONNX Runtime refuses"):
        model({"i": [99]})


def test_sequences_of_maps_as_classifiers_put_them_out(tmp_path):
    node = helper.make_node(
        "ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog"]
    )
    out = helper.make_value_info(
        "y",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(
                TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
            )
        ),
    )
    graph = helper.make_graph([node], "t", [value("x", TensorProto.FLOAT, ["N", 2])], [out])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 9
    onnx.save(model, tmp_path / "zip.onnx")
    assert load(tmp_path / "zip.onnx")({"x": [[0.25, 0.75]]})["y"] == [{"cat": 0.25, "dog": 0.75}]


def test_two_model_files_are_a_load_error_that_names_both(tmp_path):
    TestOnnxConformance().write_model(tmp_path)
    (tmp_path / "other.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    with pytest.raises(ModelFileError, match=r"model\.onnx, other\.onnx"):
        load(tmp_path)


def write_pair_only(path: Path, shape) -> None:
    """A model that takes exactly two rows, whatever it declares."""
    write_graph(
        path,
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array([2], np.int64), "shape")],
    )


def test_a_model_that_does_not_answer_its_declared_input_fails_its_warm_up(tmp_path):
    write_pair_only(tmp_path / "pair.onnx", ["N", 1])
    with pytest.raises(WarmUpError, match=r'failed its warm-up on "x" \(N, 1\) float32'):
        load(tmp_path)


def test_a_size_that_the_warm_up_can_only_guess_does_not_fail_it(tmp_path, caplog):
    write_pair_only(tmp_path / "pair.onnx", ["N", "M"])
    assert load(tmp_path)({"x": [[1, 2]]})["y"].tolist() == [1.0, 2.0]
    assert "put a request into" in caplog.text


def test_a_shape_that_the_layers_cannot_take_is_the_client_s_error(tmp_path):
    write_graph(
        tmp_path / "open.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", "M"])],
        [value("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = load(tmp_path)
    assert model({"x": [[1, 0, 0]]})["y"].tolist() == [[0.0, 1.0]]
    with pytest.raises(InvalidTensorError, match=r'"x" \(N, M\) float32 .* on "x" \(1, 2\)'):
        model({"x": [[1, 0]]})


@pytest.mark.parametrize("shape", [["N"], None], ids=["one-dimension", "rankless"])
def test_a_warm_up_that_only_guesses_does_not_refuse_a_model(tmp_path, shape):
    write_pair_only(tmp_path / "pair.onnx", shape)
    assert load(tmp_path)({"x": [1, 2]})["y"].tolist() == [1.0, 2.0]


def test_cuda_on_a_build_without_it_names_the_devices_there_are(tmp_path):
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this build has CUDA")
    TestOnnxConformance().write_model(tmp_path)
    with pytest.raises(DeviceError, match="this engine sees: cpu"):
        load(tmp_path, device="cuda:0")


def test_an_answer_is_bit_equal_with_and_without_a_server_thread(tmp_path):
    TestOnnxConformance().write_model(tmp_path)
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": rows})[0]
    assert load(tmp_path)({"x": rows})["y"].tobytes() == wanted.tobytes()


# --- devices, for hardware and builds that are not here: what they would report is made up

CUDA, CANN, COREML = "CUDAExecutionProvider", "CANNExecutionProvider", "CoreMLExecutionProvider"
OPENVINO, PLAIN = "OpenVINOExecutionProvider", "CPUExecutionProvider"
TWO = {"cuda": 2, "npu": 2}


@pytest.mark.parametrize(
    ("available", "counts", "openvino", "names"),
    [
        ([PLAIN], TWO, [], "cpu"),
        ([CUDA, PLAIN], TWO, [], "cuda:0 cuda:1 cpu"),
        ([CUDA, PLAIN], {"cuda": 0, "npu": 0}, [], "cpu"),
        ([CANN, PLAIN], TWO, [], "npu:0 npu:1 cpu"),
        ([OPENVINO, PLAIN], TWO, ["CPU", "NPU"], "npu:0 cpu"),
        ([OPENVINO, PLAIN], TWO, ["CPU"], "cpu"),
        ([COREML, PLAIN], TWO, [], "mps cpu"),
    ],
)
def test_the_devices_of_a_build(available, counts, openvino, names):
    assert " ".join(map(str, device.listed(available, counts, openvino))) == names


@pytest.mark.parametrize(
    ("where", "available", "providers"),
    [
        (Device("cuda", 1), [CUDA, PLAIN], [(CUDA, {"device_id": 1}), PLAIN]),
        (Device("npu", 1), [CANN, PLAIN], [(CANN, {"device_id": 1}), PLAIN]),
        (Device("npu"), [OPENVINO, PLAIN], [(OPENVINO, {"device_type": "NPU"}), PLAIN]),
        (Device("mps"), [COREML, PLAIN], [(COREML, {}), PLAIN]),
        (CPU, [OPENVINO, PLAIN], [(OPENVINO, {"device_type": "CPU"}), PLAIN]),
        (CPU, [CUDA, PLAIN], [PLAIN]),
    ],
)
def test_the_provider_that_stands_for_a_device(where, available, providers):
    assert device.with_options(device.provider(where, available), where) == providers


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_cannot_be_started_is_not_the_cpu_in_silence(tmp_path):
    if CUDA in ort.get_available_providers():
        pytest.skip("this build has CUDA")
    TestOnnxConformance().write_model(tmp_path)
    with pytest.raises(DeviceError, match=f"{CUDA} could not be started for device cuda:0"):
        OnnxPredictor(tmp_path / "model.onnx", Device("cuda", 0), threads=1)
