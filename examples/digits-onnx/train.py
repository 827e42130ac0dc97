"""Train the digits network and write model/model.onnx and samples/*.png.

The data are scikit-learn's 1,797 handwritten digits, which come with that
package, so nothing is downloaded. Training takes under a minute on a CPU.

    pip install torch scikit-learn onnx pillow
    python train.py

Run it from any directory: the files are written next to this script. Serving
the model needs neither torch nor scikit-learn.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
EPOCHS = 60


def split():
    """Return train pictures, held-out pictures, train digits, held-out digits.

    Pictures are 8-bit grey, as a PNG stores them, so that training sees exactly
    the values that the service reads back from a file.
    """
    values, digits = load_digits(return_X_y=True)
    pixels = np.round(values * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    return train_test_split(pixels, digits, test_size=0.2, random_state=0, stratify=digits)


def as_input(pixels):
    """Turn pictures (N,8,8) of 0..255 into what the model takes: (N,1,8,8) of 0..1."""
    return pixels[:, np.newaxis].astype(np.float32) / 255


def train(pixels, digits, epochs=EPOCHS, seed=0):
    """Train on the given pictures and return the weights by name."""
    # Imported here so that split() can be used where torch is not installed.
    import torch
    from torch import nn

    torch.manual_seed(seed)
    # The order in which threads add numbers up would change the last digits.
    torch.set_num_threads(1)
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(1, 16, 3, padding=1))
    network.add_module("relu1", nn.ReLU())
    network.add_module("conv2", nn.Conv2d(16, 32, 3, padding=1))
    network.add_module("relu2", nn.ReLU())
    network.add_module("pool", nn.MaxPool2d(2))
    network.add_module("flatten", nn.Flatten())
    network.add_module("dropout", nn.Dropout(0.4))
    network.add_module("dense", nn.Linear(32 * 4 * 4, 10))

    images = torch.from_numpy(as_input(pixels))
    targets = torch.from_numpy(digits).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    batches = -(-len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, epochs * batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(network(shift(images[rows])), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def shift(images):
    """Move a batch by up to one pixel: so few pictures would be learnt by heart."""
    import torch

    down, right = torch.randint(0, 3, (2,)).tolist()
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    return padded[:, :, down : down + 8, right : right + 8]


def write_onnx(weights, path):
    """Write the network as ONNX, node by node; dropout exists only in training."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Conv", ["images", "conv1.weight", "conv1.bias"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"], pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        # torch keeps a dense layer's weights as (outputs, inputs), hence transB.
        helper.make_node("Gemm", ["f", "dense.weight", "dense.bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    # "N" leaves the number of pictures open, so that requests can be batched.
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, 8, 8])
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "digits", [images], [result], tensors)
    # Pinned below the newest versions so that older runtimes load the file too.
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9, producer_name="train.py")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def predict(path, pixels):
    """Return the digits that the written file gives, not the ones torch would."""
    from onnx.reference import ReferenceEvaluator

    (probabilities,) = ReferenceEvaluator(str(path)).run(None, {"images": as_input(pixels)})
    return probabilities.argmax(axis=1)


def write_samples(pixels, digits, predicted, folder):
    """Write one correctly recognised picture per digit, named after the digit."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for digit in range(10):
        first = np.flatnonzero((digits == digit) & (predicted == digit))[0]
        Image.fromarray(pixels[first]).save(folder / f"{digit}.png")


def main():
    train_pixels, test_pixels, train_digits, test_digits = split()
    path = HERE / "model" / "model.onnx"
    write_onnx(train(train_pixels, train_digits), path)
    predicted = predict(path, test_pixels)
    right = int((predicted == test_digits).sum())
    print(f"held-out accuracy: {right / len(test_digits):.4f} ({right} of {len(test_digits)})")
    write_samples(test_pixels, test_digits, predicted, HERE / "samples")


if __name__ == "__main__":
    main()
