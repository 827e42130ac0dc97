"""Each engine called directly, without us: a perceptron is written, loaded and run.

    python benchmarks/frameworks.py ENGINE SIZE FOLDER SECONDS

is one process with one engine thread that loads the model in FOLDER, times it beside
``engineroom.load``, and prints what it has found as JSON.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

SIZES = {"small": (784, 128, 10), "wide": (2048, 2048, 2048, 2048, 10)}
"""``wide`` is 35 MB of weights: a millisecond or more."""
BATCH = 16
Predict = Callable[[Any], Any]


class Framework(NamedTuple):
    """``write`` puts a model into a folder and returns its path; ``open`` loads it, and returns a
    function from rows to rows.
    """

    write: Callable[[Path, tuple[int, ...]], Path]
    open: Callable[[Path], Predict]


def weights(sizes: tuple[int, ...]) -> list[Any]:
    random = np.random.default_rng(7)
    return [
        random.standard_normal(pair, np.float32) / np.float32(pair[0] ** 0.5)
        for pair in itertools.pairwise(sizes)
    ]


def write_onnx(folder: Path, sizes: tuple[int, ...]) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    layers = weights(sizes)
    names = ["x", *(f"h{i}" for i in range(1, len(layers))), "y"]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]])
            for i in range(len(layers))
        ],
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", sizes[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", sizes[-1]])],
        [numpy_helper.from_array(layer, f"w{i}") for i, layer in enumerate(layers)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def open_onnx(path: Path) -> Predict:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options)
    return lambda rows: session.run(None, {"x": rows})[0]


def write_tensorflow(folder: Path, sizes: tuple[int, ...]) -> Path:
    import tensorflow as tf

    class Perceptron(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = [tf.Variable(layer) for layer in weights(sizes)]

        @tf.function(input_signature=[tf.TensorSpec([None, sizes[0]], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def predict(self, x: Any) -> dict[str, Any]:
            for layer in self.layers:
                x = x @ layer
            return {"y": x}

    model = Perceptron()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.predict})
    return folder


def open_tensorflow(path: Path) -> Predict:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    predict = (loaded := tf.saved_model.load(str(path))).signatures["serving_default"]
    return lambda rows: loaded and predict(x=tf.constant(rows))["y"].numpy()


def write_pytorch(folder: Path, sizes: tuple[int, ...]) -> Path:
    import torch

    class Perceptron(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ParameterList(map(torch.from_numpy, weights(sizes)))

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = x @ layer
            return x

    torch.jit.trace(Perceptron().eval(), torch.zeros(1, sizes[0])).save(folder / "model.pt")
    return folder / "model.pt"


def open_pytorch(path: Path) -> Predict:
    import torch

    torch.set_num_threads(1)
    module = torch.jit.load(path).eval()

    def predict(rows: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(rows)).numpy()

    return predict


def write_mindspore(folder: Path, sizes: tuple[int, ...]) -> Path:
    import mindspore as ms
    from mindspore import nn

    layers = [
        nn.Dense(layer.shape[0], layer.shape[1], ms.Tensor(layer.T.copy()), has_bias=False)
        for layer in weights(sizes)
    ]
    row = ms.Tensor(np.zeros((1, sizes[0]), np.float32))
    path = folder / "model.mindir"
    ms.export(nn.SequentialCell(*layers), row, file_name=str(path), file_format="MINDIR")
    return path


def open_mindspore(path: Path) -> Predict:
    import mindspore as ms
    from mindspore import nn

    cell = nn.GraphCell(ms.load(str(path)))
    return lambda rows: cell(ms.Tensor(rows)).asnumpy()


def write_sklearn(folder: Path, sizes: tuple[int, ...]) -> Path:
    import joblib
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=sizes[1:-1], activation="identity")
    model.partial_fit(np.zeros((1, sizes[0]), np.float32), np.zeros((1, sizes[-1]), np.float32))
    model.coefs_ = weights(sizes)
    joblib.dump(model, folder / "model.joblib")
    return folder / "model.joblib"


def open_sklearn(path: Path) -> Predict:
    import joblib

    predict: Predict = joblib.load(path).predict
    return predict


FRAMEWORKS = {
    "onnx": Framework(write_onnx, open_onnx),
    "tensorflow": Framework(write_tensorflow, open_tensorflow),
    "pytorch": Framework(write_pytorch, open_pytorch),
    "mindspore": Framework(write_mindspore, open_mindspore),
    "sklearn": Framework(write_sklearn, open_sklearn),
}


# --- the comparison


def medians(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Median microseconds of each call, timed in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in calls.items():
            for _ in range(10):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) * 1e6 for name, found in times.items()}


def rows_of(size: str, count: int = 1) -> Any:
    return np.random.default_rng(8).standard_normal((count, SIZES[size][0]), np.float32)


def compare(engine: str, size: str, path: Path, seconds: float) -> dict[str, Any]:
    start = time.perf_counter()
    direct, row, rows = FRAMEWORKS[engine].open(path), rows_of(size), rows_of(size, BATCH)
    expected = direct(row)
    found = {"load_s": time.perf_counter() - start, "mb": psutil.Process().memory_info().rss / 1e6}

    from engineroom import load

    model = load(path, engine=engine, engine_threads=1, allow_pickle=True)
    (key,) = [spec.name for spec in model.inputs]
    answer = np.asarray(_plain(model({key: row})), np.float32)
    if not np.allclose(answer, expected, 1e-4, 1e-5):
        raise SystemExit(f"{engine}, {size}: the answers differ")
    calls = {"direct": lambda: direct(row), "through": lambda: model({key: row})}
    if engine != "mindspore":  # which exports one size only
        calls["batched"] = lambda: direct(rows)
    return {**found, "key": key, **medians(calls, seconds)}


def _plain(answer: Any) -> Any:
    """Without the names that an engine's default service gives its outputs."""
    if isinstance(answer, dict):
        (answer,) = answer.values()
    return [_plain(row) for row in answer] if isinstance(answer, list) else answer


def main() -> None:
    engine, size, folder, seconds = sys.argv[1:]
    if float(seconds):
        print(json.dumps(compare(engine, size, Path(folder), float(seconds))))
    else:
        print(FRAMEWORKS[engine].write(Path(folder), SIZES[size]))


if __name__ == "__main__":
    main()
