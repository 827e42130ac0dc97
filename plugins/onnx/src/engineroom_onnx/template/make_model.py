"""Make model/model.onnx: a small model that tells handwritten digits apart.

    pip install scikit-learn onnx
    python make_model.py

This script is a stand-in. Once you have a model of your own, put it at
model/model.onnx and delete this file: the server never reads it.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

pixels, digits = load_digits(return_X_y=True)
# The data count 0..16 per pixel; the model takes 0..1, whatever the picture's format.
train_x, test_x, train_y, test_y = train_test_split(
    pixels / 16, digits, test_size=0.2, random_state=0, stratify=digits
)
trained = LogisticRegression(max_iter=1000).fit(train_x, train_y)
print(f"accuracy on {len(test_y)} held-out pictures: {trained.score(test_x, test_y):.4f}")

weights = {"weights": trained.coef_.T, "bias": trained.intercept_}
nodes = [
    helper.make_node("Gemm", ["images", "weights", "bias"], ["logits"]),
    helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
]
# "N" leaves the number of pictures open: one request or a batch of them.
inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 64])]
outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])]
tensors = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()]
graph = helper.make_graph(nodes, "digits", inputs, outputs, tensors)
# Pinned below the newest versions so that older runtimes load the file too.
opset = [helper.make_opsetid("", 17)]
model = helper.make_model(graph, opset_imports=opset, ir_version=9)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, Path(__file__).resolve().parent / "model" / "model.onnx")
