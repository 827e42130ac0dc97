"""``mindspore.dataset.vision.py_transforms``, gone since MindSpore 2.3: pictures as Pillow's."""

from __future__ import annotations

import functools

from mindspore.dataset import vision

vars().update({name: value for name, value in vars(vision).items() if name[0] != "_"})

Decode = functools.partial(vision.Decode, to_pil=True)
Normalize = functools.partial(vision.Normalize, is_hwc=False)  # it came after ToTensor
