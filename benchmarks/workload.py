"""The work of these benchmarks: packages, and requests for them.

The usual one is a picture of 28 x 28 in base64 in JSON, for a small perceptron and a script that
reads the picture: a request of 1.2 KB whose inference takes some 10 us, so that the server shows.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from frameworks import FRAMEWORKS, SIZES
from load import request
from PIL import Image

EDGE = "multipart/form-data; boundary=edge"

CONFIG = {
    "model_type": "ONNX",
    "apis": [{"url": "/", "method": "post", "request": {
        "Content-type": "application/json",
        "data": {"type": "object", "properties": {"images": {"type": "string"}}},
    }}],
}  # fmt: skip


def form(name: str, file_name: str, content: bytes) -> bytes:
    head = f'form-data; name="{name}"; filename="{file_name}"'
    return b"--edge\r\nContent-Disposition: %s\r\n\r\n%s\r\n--edge--\r\n" % (head.encode(), content)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def picture() -> bytes:
    buffer = io.BytesIO()
    grey = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = picture()
DIGIT = json.dumps({"images": base64.b64encode(PICTURE).decode()}).encode()
DIGIT_JSON = request(DIGIT, "application/json")
DIGIT_FORM = request(form("images", "digit.png", PICTURE), EDGE)


def make_digits(folder: Path) -> Path:
    """The package of the usual request; its model is ``model.onnx``."""
    folder.mkdir()
    FRAMEWORKS["onnx"].write(folder, SIZES["small"])
    shutil.copy(Path(__file__).with_name("digit_service.py"), folder / "customize_service.py")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


# --- bodies of every size

COLUMNS = 64
SIZES_OF_BODIES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
COUNTING = """\
from model_service.onnx_model_service import OnnxServingBaseService


class Counting(OnnxServingBaseService):
    def _inference(self, data):
        return {key: sum(file.getbuffer().nbytes for file in files.values())
                for key, files in data.items()}
"""


def make_largest(path: Path) -> Path:
    """A bare model that finds the largest number of ``x`` (N, COLUMNS) float32."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[0, 1], keepdims=1)],
        "largest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def make_counting(folder: Path) -> Path:
    """A package whose script counts the bytes of uploads."""
    folder.mkdir()
    (folder / "customize_service.py").write_text(COUNTING)
    return folder


def body_of(kind: str, size: int) -> bytes:
    """A request of about ``size`` bytes: ``JSON`` numbers, a ``multipart`` or an ``.npy`` file."""
    if kind == "multipart":
        return request(form("file", "some.bin", b"\xff" * size), EDGE)
    random = np.random.default_rng(2)
    if kind == ".npy":
        rows = random.random((max(1, size // COLUMNS // 4), COLUMNS), np.float32)
        return request(form("x", "x.npy", npy(rows)), EDGE)
    rows = random.integers(1000, 9999, (max(1, size // COLUMNS // 7), COLUMNS)) / 1000
    return request(json.dumps({"x": rows.tolist()}).encode(), "application/json")
