"""``mms.utils.mxnet.image`` on Pillow and numpy: pictures as arrays (height, width, channels).

Names, arguments and defaults are those of multi-model-server 0.4.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from engineroom.lent.ndarray import NDArray, as_nd

__all__ = ["color_normalize", "fixed_crop", "read", "resize", "transform_shape", "write"]

# The numbers of OpenCV, which MXNet uses: nearest, linear, cubic, area, Lanczos.
FILTERS = {
    0: Image.Resampling.NEAREST,
    1: Image.Resampling.BILINEAR,
    2: Image.Resampling.BICUBIC,
    3: Image.Resampling.BOX,
    4: Image.Resampling.LANCZOS,
}


def read(buf: Any, flag: int = 1, to_rgb: bool = True, out: Any = None) -> NDArray:
    """The picture in ``buf``, bytes or a file, as uint8; ``flag`` 0 is one channel, else RGB."""
    content = buf if hasattr(buf, "read") else io.BytesIO(bytes(buf))
    with Image.open(content) as picture:
        pixels = np.asarray(picture.convert("RGB" if flag else "L"))
    pixels = pixels if flag else pixels[:, :, None]
    pixels = pixels if to_rgb else pixels[:, :, ::-1]
    if out is not None:
        out[:] = pixels
    return as_nd(pixels)


def write(img_arr: Any, flag: int = 1, format: str = "jpeg", dim_order: str = "CHW") -> str:  # noqa: A002
    """The picture as base64 text, in a file format of Pillow."""
    pixels = np.asarray(img_arr)
    if dim_order == "CHW":
        pixels = pixels.transpose(1, 2, 0)
    elif dim_order != "HWC":
        raise ValueError(f"dim_order is 'CHW' or 'HWC', got {dim_order!r}")
    file = io.BytesIO()
    picture = Image.fromarray(np.squeeze(pixels).clip(0, 255).astype(np.uint8))
    picture.convert("RGB" if flag else "L").save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def resize(src: Any, new_width: int, new_height: int, interp: int = 2) -> NDArray:
    """The picture in another size; the values keep their type."""
    pixels = np.asarray(src)
    planes = [
        Image.fromarray(pixels[:, :, channel].astype(np.float32)).resize(
            (new_width, new_height), FILTERS.get(interp, Image.Resampling.BICUBIC)
        )
        for channel in range(pixels.shape[2])
    ]
    resized = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    if np.issubdtype(pixels.dtype, np.integer):
        limits = np.iinfo(pixels.dtype)
        resized = np.rint(resized).clip(limits.min, limits.max)
    return as_nd(resized.astype(pixels.dtype))


def fixed_crop(
    src: Any,
    x0: int,
    y0: int,
    w: int,
    h: int,
    size: tuple[int, int] | None = None,
    interp: int = 2,
) -> NDArray:
    """``w`` by ``h`` pixels from ``(x0, y0)``, then resized to ``size`` (width, height)."""
    cut = np.asarray(src)[y0 : y0 + h, x0 : x0 + w]
    return as_nd(cut) if size is None or size == (w, h) else resize(cut, *size, interp)


def color_normalize(src: Any, mean: Any, std: Any = None) -> NDArray:
    """``(src - mean) / std`` as float32."""
    pixels = np.asarray(src, np.float32) - np.asarray(mean, np.float32)
    return as_nd(pixels if std is None else pixels / np.asarray(std, np.float32))


def transform_shape(img_arr: Any, dim_order: str = "NCHW") -> NDArray:
    """A picture (height, width, channels) as a batch of one."""
    if dim_order not in ("NCHW", "NHWC"):
        raise ValueError(f"dim_order is 'NCHW' or 'NHWC', got {dim_order!r}")
    pixels = np.asarray(img_arr)
    return as_nd((pixels.transpose(2, 0, 1) if dim_order == "NCHW" else pixels)[None])
