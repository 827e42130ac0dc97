"""Make model/model.pth: a small model that tells handwritten digits apart.

    pip install scikit-learn torch
    python make_model.py

This script is a stand-in. Once you have weights of your own, put them at
model/model.pth and delete this file: the server never reads it.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

MODEL = Path(__file__).resolve().parent / "model"
sys.path.insert(0, str(MODEL))
from network import DigitNet  # noqa: E402

torch.manual_seed(0)
torch.set_num_threads(1)
pixels, digits = load_digits(return_X_y=True)
# The data count 0..16 per pixel; the model takes 0..1, whatever the picture's format.
data = train_test_split(pixels / 16, digits, test_size=0.2, random_state=0, stratify=digits)
train_x, test_x = (torch.tensor(part, dtype=torch.float32) for part in data[:2])
train_y, test_y = (torch.tensor(part) for part in data[2:])

network = DigitNet()
optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=1e-3)
for _ in range(300):
    loss = torch.nn.functional.cross_entropy(network(train_x), train_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

network.eval()
accuracy = (network(test_x).argmax(dim=1) == test_y).float().mean()
print(f"accuracy on {len(test_y)} held-out pictures: {accuracy:.4f}")
# The weights alone, which any version of the class above can load, and which run no code.
torch.save(network.state_dict(), MODEL / "model.pth")
