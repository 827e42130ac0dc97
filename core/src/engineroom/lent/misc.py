"""``scipy.misc`` as it was until scipy 1.2: pictures, on Pillow and numpy.

Names, arguments and defaults are those of its reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

__all__ = ["bytescale", "fromimage", "imread", "imresize", "imrotate", "imsave", "toimage"]

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "cubic": Image.Resampling.BICUBIC,
}


def bytescale(
    data: Any, cmin: float | None = None, cmax: float | None = None, high: int = 255, low: int = 0
) -> Any:
    """``data`` as uint8: ``cmin`` to ``cmax``, by default all of it, become ``low`` to ``high``."""
    array = np.asarray(data)
    if array.dtype == np.uint8:
        return array
    least = array.min() if cmin is None else cmin
    most = array.max() if cmax is None else cmax
    scale = (high - low) / ((most - least) or 1)
    return (((array - least) * scale + low).clip(low, high) + 0.5).astype(np.uint8)


def fromimage(im: Any, flatten: bool = False, mode: str | None = None) -> Any:
    """The picture as an array (height, width, channels); ``flatten``: (height, width) float32."""
    if mode or im.mode in ("P", "1"):
        im = im.convert(mode or ("RGB" if im.mode == "P" else "L"))
    return np.asarray(im.convert("F") if flatten else im).copy()


def imread(name: Any, flatten: bool = False, mode: str | None = None) -> Any:
    """The picture in a file, likewise."""
    with Image.open(name) as picture:
        return fromimage(picture, flatten, mode)


def toimage(
    arr: Any,
    high: int = 255,
    low: int = 0,
    cmin: float | None = None,
    cmax: float | None = None,
    pal: Any = None,
    mode: str | None = None,
    channel_axis: int | None = None,
) -> Image.Image:
    """The array (height, width), (height, width, channels) or (channels, height, width)."""
    array = np.asarray(arr)
    if mode == "F":
        return Image.fromarray(array.astype(np.float32))
    if array.ndim == 3:
        axis = channel_axis
        if axis is None:
            axis = array.shape.index(3 if 3 in array.shape else 4)
        array = np.moveaxis(array, axis, 2)
    picture = Image.fromarray(bytescale(array, cmin, cmax, high, low))
    if pal is not None:
        picture.putpalette(np.asarray(pal, np.uint8).tobytes())
    return picture.convert(mode) if mode else picture


def imsave(name: Any, arr: Any, format: str | None = None) -> None:  # noqa: A002
    """Write the array as a picture; the name tells the format."""
    toimage(arr, channel_axis=2 if np.ndim(arr) == 3 else None).save(name, format)


def imresize(arr: Any, size: Any, interp: str = "bilinear", mode: str | None = None) -> Any:
    """The picture in another ``size``: percent (an int), a factor (a float), (height, width)."""
    picture = toimage(arr, mode=mode)
    width, height = picture.size
    if np.ndim(size) == 0:
        factor = size / 100 if isinstance(size, int | np.integer) else size
        height, width = int(height * factor), int(width * factor)
    else:
        height, width = size[:2]
    return fromimage(picture.resize((int(width), int(height)), FILTERS[interp]))


def imrotate(arr: Any, angle: float, interp: str = "bilinear") -> Any:
    """The picture turned counter-clockwise, in degrees."""
    return fromimage(toimage(arr).rotate(angle, FILTERS[interp]))
