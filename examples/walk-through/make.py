"""Make digits/ a whole package: the weights and a picture of ../digits-pytorch, and a colour one.

The weights were trained, and the pictures held out, by ../digits-pytorch/train.py.

    pip install pillow
    python make.py
"""

import shutil
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
TRAINED = HERE.parent / "digits-pytorch"


def main():
    for name in ("digits.pth", "network.py"):
        shutil.copy(TRAINED / "model" / name, HERE / "digits" / "model" / name)
    shutil.copy(TRAINED / "samples" / "7.png", HERE / "digits" / "samples" / "7.png")
    # As a phone would send it: larger, and with three colours.
    picture = Image.open(TRAINED / "samples" / "3.png").convert("RGB")
    picture.resize((80, 80)).save(HERE / "digits" / "samples" / "colour.png")


if __name__ == "__main__":
    main()
