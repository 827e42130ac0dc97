"""Make model/digits.ckpt: the weights of a small network that tells handwritten digits apart.

    pip install scikit-learn mindspore
    python make_model.py

This script is a stand-in. Once you have a checkpoint of your own, put it into
model/ and delete this file: the server never reads it.
"""

from pathlib import Path

import mindspore
import numpy as np
from mindspore import Tensor, nn
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

pixels, digits = load_digits(return_X_y=True)
# The data count 0..16 per pixel; the network takes 0..1, whatever the picture's format.
train_x, test_x, train_y, test_y = train_test_split(
    pixels / 16, digits, test_size=0.2, random_state=0, stratify=digits
)
trained = LogisticRegression(max_iter=1000).fit(train_x, train_y)
print(f"accuracy on {len(test_y)} held-out pictures: {trained.score(test_x, test_y):.4f}")

dense = nn.Dense(64, 10)
dense.weight.set_data(Tensor(trained.coef_.astype(np.float32)))
dense.bias.set_data(Tensor(trained.intercept_.astype(np.float32)))
path = Path(__file__).resolve().parent / "model" / "digits.ckpt"
parameters = [
    {"name": "dense.weight", "data": dense.weight},
    {"name": "dense.bias", "data": dense.bias},
]
mindspore.save_checkpoint(parameters, str(path))
path.chmod(0o644)  # MindSpore lets only the owner read it, and nobody write
