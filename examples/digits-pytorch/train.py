"""Train the digits network and write model/digits.pth and samples/*.png.

The data are scikit-learn's 1,797 handwritten digits, which come with that
package, so nothing is downloaded. Training takes under a minute on a CPU.

    pip install torch scikit-learn pillow
    python train.py

Run it from any directory: the files are written next to this script.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).resolve().parent
EPOCHS = 60

sys.path.insert(0, str(HERE / "model"))
from network import DigitNet  # noqa: E402 - the file that the service uses too


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
    return torch.from_numpy(pixels[:, np.newaxis].astype(np.float32) / 255)


def train(pixels, digits, epochs=EPOCHS, seed=0):
    """Return a network trained on the given pictures."""
    torch.manual_seed(seed)
    # The order in which threads add numbers up would change the last digits.
    torch.set_num_threads(1)
    network = DigitNet()
    images, targets = as_input(pixels), torch.from_numpy(digits).long()
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
    return network.eval()


def shift(images):
    """Move a batch by up to one pixel: so few pictures would be learnt by heart."""
    down, right = torch.randint(0, 3, (2,)).tolist()
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    return padded[:, :, down : down + 8, right : right + 8]


def write_samples(pixels, digits, predicted, folder):
    """Write one correctly recognised picture per digit, named after the digit."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for digit in range(10):
        first = np.flatnonzero((digits == digit) & (predicted == digit))[0]
        Image.fromarray(pixels[first]).save(folder / f"{digit}.png")


def main():
    train_pixels, test_pixels, train_digits, test_digits = split()
    network = train(train_pixels, train_digits)
    torch.save(network.state_dict(), HERE / "model" / "digits.pth")
    with torch.no_grad():
        predicted = network(as_input(test_pixels)).argmax(dim=1).numpy()
    right = int((predicted == test_digits).sum())
    print(f"held-out accuracy: {right / len(test_digits):.4f} ({right} of {len(test_digits)})")
    write_samples(test_pixels, test_digits, predicted, HERE / "samples")


if __name__ == "__main__":
    main()
