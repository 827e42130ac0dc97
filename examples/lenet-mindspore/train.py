"""Train the network and write model/lenet.ckpt and samples/*.png.

The data are scikit-learn's 1,797 handwritten digits, which come with that
package, so nothing is downloaded. Training takes about a minute on a CPU.

    pip install mindspore scikit-learn pillow
    python train.py

Run it from any directory: the files are written next to this script.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
EPOCHS, BATCH = 40, 64


def split():
    """Return train pictures, held-out pictures, train digits, held-out digits.

    Pictures are 8-bit grey, as a PNG stores them, so that training sees exactly
    the values that the service reads back from a file.
    """
    values, digits = load_digits(return_X_y=True)
    pixels = np.round(values * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    return train_test_split(pixels, digits, test_size=0.2, random_state=0, stratify=digits)


def as_input(pixels):
    """Turn pictures (N,8,8) of 0..255 into what the network takes: (N,1,8,8) of 0..1."""
    return pixels[:, np.newaxis].astype(np.float32) / 255


def train(pixels, digits, epochs=EPOCHS, seed=0):
    """Return a network trained on the given pictures."""
    # Imported here so that split() can be used where MindSpore is not installed.
    import mindspore as ms
    from mindspore import Tensor, nn

    sys.path.insert(0, str(HERE / "model"))
    from lenet import LeNet

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(seed)
    random = np.random.default_rng(seed)
    network = LeNet()
    steps = epochs * (len(pixels) // BATCH)
    rates = nn.cosine_decay_lr(1e-5, 4e-3, steps, len(pixels) // BATCH, epochs)
    optimizer = nn.AdamWeightDecay(network.trainable_params(), rates, weight_decay=1e-2)
    loss = nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean")
    step = nn.TrainOneStepCell(nn.WithLossCell(network, loss), optimizer)
    step.set_train()
    images, targets = as_input(pixels), digits.astype(np.int32)
    for _ in range(epochs):
        order = random.permutation(len(images))
        # Batches of one size: graph mode compiles once for each.
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            step(Tensor(shift(images[rows], random)), Tensor(targets[rows]))
    network.set_train(False)
    return network


def shift(images, random):
    """Move a batch by up to one pixel: so few pictures would be learnt by heart."""
    down, right = random.integers(0, 3, size=2)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.ascontiguousarray(padded[:, :, down : down + 8, right : right + 8])


def write_samples(pixels, digits, predicted, folder):
    """Write one correctly recognised picture per digit, named after the digit."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for digit in range(10):
        first = np.flatnonzero((digits == digit) & (predicted == digit))[0]
        Image.fromarray(pixels[first]).save(folder / f"{digit}.png")


def main():
    import mindspore as ms

    train_pixels, test_pixels, train_digits, test_digits = split()
    network = train(train_pixels, train_digits)
    path = HERE / "model" / "lenet.ckpt"
    ms.save_checkpoint(network, str(path))
    path.chmod(0o644)  # MindSpore lets only the owner read it, and nobody write
    predicted = network(ms.Tensor(as_input(test_pixels))).asnumpy().argmax(axis=1)
    right = int((predicted == test_digits).sum())
    print(f"held-out accuracy: {right / len(test_digits):.4f} ({right} of {len(test_digits)})")
    write_samples(test_pixels, test_digits, predicted, HERE / "samples")


if __name__ == "__main__":
    main()
