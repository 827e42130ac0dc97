"""The network whose weights model.pth holds. make_model.py and the server both use it."""

from torch import nn


class DigitNet(nn.Module):
    """Pictures (N, 64), each a row of numbers in 0..1, to one score per digit (N, 10)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, images):
        return self.layers(images)
