"""What the default inference costs beside each engine called directly, in one process, at batch 1.

    python benchmarks/engines.py [ENGINE ...] [--seconds 2]

A small perceptron (784 to 10) and a wide one, which takes a millisecond or more, are made with each
framework. Their answers are compared bit by bit, and the two ways are timed in turns. `first` is
the first request after the load, beside a later one. Each engine runs in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"small": (784, 10), "wide": (2048, 2048, 2048, 2048, 10)}
Call = Callable[[], Any]


def weights(sizes: tuple[int, ...]) -> list[Any]:
    random = np.random.default_rng(7)
    return [
        random.standard_normal(pair, np.float32) / np.float32(pair[0] ** 0.5)
        for pair in itertools.pairwise(sizes)
    ]


# --- for each engine: write a model, and call it without us


def onnx(folder: Path, sizes: tuple[int, ...], row: Any) -> tuple[Path, Call]:
    import onnx
    import onnxruntime as ort
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
    options = ort.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    # As the server has it, since spinning threads would take the core of the HTTP loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(folder / "model.onnx", options)
    return folder / "model.onnx", lambda: session.run(None, {"x": row})[0]


def tensorflow(folder: Path, sizes: tuple[int, ...], row: Any) -> tuple[Path, Call]:
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
    loaded = tf.saved_model.load(str(folder))
    return folder, lambda: loaded.signatures["serving_default"](x=tf.constant(row))["y"].numpy()


def pytorch(folder: Path, sizes: tuple[int, ...], row: Any) -> tuple[Path, Call]:
    import torch

    class Perceptron(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ParameterList(map(torch.from_numpy, weights(sizes)))

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = x @ layer
            return x

    path = folder / "model.pt"
    torch.jit.trace(Perceptron().eval(), torch.from_numpy(row)).save(path)
    module = torch.jit.load(path).eval()

    def call() -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(row)).numpy()

    return path, call


def mindspore(folder: Path, sizes: tuple[int, ...], row: Any) -> tuple[Path, Call]:
    import mindspore as ms
    from mindspore import nn

    layers = [
        nn.Dense(layer.shape[0], layer.shape[1], ms.Tensor(layer.T.copy()), has_bias=False)
        for layer in weights(sizes)
    ]
    path = folder / "model.mindir"
    ms.export(nn.SequentialCell(*layers), ms.Tensor(row), file_name=str(path), file_format="MINDIR")
    cell = nn.GraphCell(ms.load(str(path)))
    return path, lambda: cell(ms.Tensor(row)).asnumpy()


ENGINES = {made.__name__: made for made in (onnx, tensorflow, pytorch, mindspore)}


# --- the comparison


def once(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(engine: str, size: str, seconds: float) -> str:
    """One line of the table: medians in microseconds."""
    from engineroom import load

    row = np.random.default_rng(8).standard_normal((1, SIZES[size][0]), np.float32)
    with tempfile.TemporaryDirectory() as name:
        path, direct = ENGINES[engine](Path(name), SIZES[size], row)
        model = load(path, engine=engine)
        (key,) = [spec.name for spec in model.inputs]

        def served() -> Any:
            return next(iter(model({key: row}).values()))

        first = once(served)
        if not np.array_equal(np.asarray(served(), np.float32), direct()):
            raise SystemExit(f"{engine}, {size}: the answers differ")
        times: dict[Call, list[float]] = {direct: [], served: []}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for call, found in times.items():
                found.extend(once(call) for _ in range(10))
    alone, through = (statistics.median(found) * 1e6 for found in times.values())
    return (
        f"{engine:12}{size:8}{alone:12.0f}{through:12.0f}{through - alone:10.0f}"
        f"{through / alone:8.2f}{first * 1e6 / through:14.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("engines", nargs="*", choices=[*ENGINES, []], help="all, if none is named")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line of the table")
    parser.add_argument("--size", choices=list(SIZES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.size:
        print(compare(arguments.engines[0], arguments.size, arguments.seconds))
        return
    print("engine      model     direct us  through us  added us   ratio  first / later")
    for engine in arguments.engines or ENGINES:
        for size in SIZES:
            command = [sys.executable, __file__, engine, "--size", size]
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_v": "3"}
            done = subprocess.run(
                [*command, "--seconds", str(arguments.seconds)],
                env=environment, capture_output=True, text=True,
            )  # fmt: skip
            print(done.stdout.strip() or f"{engine:12}{size:8}failed: {done.stderr.strip()[-300:]}")


if __name__ == "__main__":
    main()
