"""The service of a package without a script: uploaded files and JSON lists to named arrays."""

from __future__ import annotations

import io
import json
import tokenize
from typing import Any

import numpy as np

from engineroom.errors import InvalidTensorError, InvalidUploadError
from engineroom.service import Service
from engineroom.values import STRING, Array, TensorSpec, is_upload

NPY_MAGIC = b"\x93NUMPY"
UNREADABLE_HEADER = (ValueError, SyntaxError, tokenize.TokenError)
MAX_PIXELS = 89_478_485
"""Pillow's own limit, at which it only warns: 1 GB as float32 RGB."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def default_service(parent: type[Service], specs: tuple[TensorSpec, ...]) -> type[Service]:
    """A service class that feeds a model with inputs ``specs`` and answers outputs by name."""
    by_name = {spec.name: spec for spec in specs}

    class DefaultService(parent):  # type: ignore[misc, valid-type]
        thread_safe = True

        def _preprocess(self, data: Any) -> Any:
            if not isinstance(data, dict):
                return super()._preprocess(data)
            return {key: _value(value, by_name.get(key)) for key, value in data.items()}

    return DefaultService


def _value(value: Any, spec: TensorSpec | None) -> Any:
    """One entry of the request as the engine takes it; an unknown name is refused later."""
    if spec is None:
        return value
    if is_upload(value):
        parts = [read_file(name, content, spec) for name, content in value.items()]
        return parts[0] if len(parts) == 1 else _joined(parts, spec)
    return _typed(value, spec) if isinstance(value, str) else value


def _typed(text: str, spec: TensorSpec) -> Any:
    """A text field such as ``[[1, 2], [3, 4]]``; for an input of strings, one is a batch."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if spec.dtype == STRING and not isinstance(value, list):
        return [text]
    return value


def _joined(parts: list[Array], spec: TensorSpec) -> Array:
    try:
        return np.concatenate(parts)
    except (ValueError, TypeError):
        shapes = ", ".join(str(part.shape) for part in parts)
        raise InvalidTensorError(
            f'input "{spec.name}": its {len(parts)} files do not form one batch: {shapes}',
            input=spec.name,
            got=shapes,
        ) from None


def read_file(name: str, content: io.BytesIO, spec: TensorSpec) -> Array:
    """An ``.npy`` file as it is, or a picture as a batch of one laid out like ``spec``.

    Raises:
        InvalidUploadError: empty, not readable, or a picture of another size.
    """
    head = content.getvalue()[:6]
    if not head:
        raise InvalidUploadError(
            f'input "{spec.name}": the file {name!r} is empty', input=spec.name
        )
    if head == NPY_MAGIC:
        return _read_npy(name, content, spec)
    return _read_picture(name, content, spec)


def _read_npy(name: str, content: io.BytesIO, spec: TensorSpec) -> Array:
    # The header is read by numpy, the data is not: read_array allocates what a header claims.
    try:
        version = np.lib.format.read_magic(content)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, fortran, dtype = read[version](content)
        if any(size < 0 for size in shape):
            raise ValueError(f"its shape is {shape}")
        array = np.frombuffer(content.getvalue(), dtype, offset=content.tell())
        return array.reshape(shape, order="F" if fortran else "C")
    except (*UNREADABLE_HEADER, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise InvalidUploadError(
            f'input "{spec.name}": {name!r} is not an .npy file that can be read: {error}',
            input=spec.name,
        ) from error


def _read_picture(name: str, content: io.BytesIO, spec: TensorSpec) -> Array:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(content) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has more than {MAX_PIXELS} pixels")
            layout = _layout(spec, image.size)
            if layout is None:
                width, height = image.size
                raise InvalidUploadError(
                    f'input "{spec.name}": expected {spec}, got the {width}x{height} picture '
                    f"{name!r}; send one of the right size, or resize it in a script",
                    input=spec.name, expected=str(spec), got=f"{width}x{height} picture",
                )  # fmt: skip
            channels, order = layout
            pixels = np.asarray(image.convert(MODES[channels]))
    except UnidentifiedImageError:
        raise InvalidUploadError(
            f'input "{spec.name}": {name!r} is neither a picture nor an .npy file', input=spec.name
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        raise InvalidUploadError(
            f'input "{spec.name}": {name!r} is not a picture that can be read: {error}',
            input=spec.name,
        ) from error
    return _arranged(pixels, channels, order)


def _layout(spec: TensorSpec, size: tuple[int, int]) -> tuple[int, str] | None:
    """Channels, and where they go, for a picture of ``size`` (width, height); None: no fit."""
    width, height = size
    shape = spec.shape if spec.shape is not None else (None, None, None, 3)

    def fits(*dimensions: int | str | None) -> bool:
        return all(
            not isinstance(want, int) or want == got
            for want, got in zip(dimensions, (height, width), strict=True)
        )

    if len(shape) == 4 and shape[1] in MODES and fits(*shape[2:]):
        return int(shape[1] or 0), "first"
    if (
        len(shape) == 4
        and (shape[3] in MODES or not isinstance(shape[3], int))
        and fits(*shape[1:3])
    ):
        return (shape[3] if isinstance(shape[3], int) else 3), "last"
    if len(shape) == 3 and fits(*shape[1:]):
        return 1, "none"
    if len(shape) == 2:
        for channels in MODES:
            if not isinstance(shape[1], int) or shape[1] == width * height * channels:
                return channels, "flat"
    return None


def _arranged(pixels: Array, channels: int, order: str) -> Array:
    """(height, width[, channels]) uint8 as a batch of one, still uint8; values stay 0 to 255."""
    if order == "flat":
        batch = pixels.reshape(1, -1)
    elif order == "none":
        batch = pixels[None]
    else:
        batch = pixels.reshape(1, *pixels.shape[:2], channels)
        batch = batch.transpose(0, 3, 1, 2) if order == "first" else batch
    return batch
