"""The network, for the service and for train.py."""

from torch import nn


class DigitNet(nn.Module):
    """Pictures (N, 1, 8, 8) of 0..1 to one score per digit (N, 10)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(32 * 4 * 4, 10),
        )

    def forward(self, images):
        return self.layers(images)
