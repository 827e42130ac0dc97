"""What a value is, for its author: kinds and sizes, and ranges, heads and the formats of files.

Where :mod:`engineroom.kinds` may go into an error answer, this shows values.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from engineroom.kinds import kind_of
from engineroom.values import Array, is_upload

MAX_PARTS = 6
MAX_DEPTH = 3
HEAD = 40
"""Characters of a text that are shown."""
MAX_SIZE = 50_000_000
"""Numbers of an array that are counted through."""

# Source: the list of file signatures in the documentation of each format.
SIGNATURES = (
    (b"%PDF-", "PDF"), (b"PK\x03\x04", "ZIP (or .npz, .xlsx, .docx)"), (b"\x1f\x8b", "gzip"),
    (b"\x93NUMPY", "NPY array"), (b"\x89HDF", "HDF5"), (b"\x80\x04", "pickle"), (b"OggS", "Ogg"),
    (b"ID3", "MP3"), (b"fLaC", "FLAC"), (b"\xd0\xcf\x11\xe0", "old Microsoft Office"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Part:
    """One line of a portrait."""

    depth: int
    label: str
    words: str


def portrait(value: Any) -> list[Part]:
    """The lines that describe ``value``, its parts below it."""
    parts = list(_parts(value, "", 0))
    if isinstance(value, dict) and len(parts) > 1:  # its keys say enough
        return [dataclasses.replace(part, depth=part.depth - 1) for part in parts[1:]]
    return parts


def text_of(parts: list[Part], indent: str) -> Iterator[str]:
    """The lines as text, their words aligned."""
    width = max((2 * part.depth + len(part.label) for part in parts if part.label), default=0)
    for part in parts:
        label = "  " * part.depth + part.label
        yield f"{indent}{label.ljust(width)}{'  ' if width else ''}{part.words}".rstrip()


def _parts(value: Any, label: str, depth: int) -> Iterator[Part]:
    if is_upload(value) and len(value) == 1:
        ((name, file),) = value.items()
        yield Part(depth, label, f"1 file {name!r}, {file_words(file)}")
        return
    inside = list(_inside(value)) if depth < MAX_DEPTH else []
    if not inside:
        words = words_of(value)
    elif is_upload(value):
        words = f"{len(value)} files"
    else:
        words = f"{type(value).__name__} of {len(value)}"
    yield Part(depth, label, words)
    for name, item in inside[:MAX_PARTS]:
        yield from _parts(item, name, depth + 1)
    if len(inside) > MAX_PARTS:
        yield Part(depth + 1, "…", "and more")


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in itertools.islice(value.items(), MAX_PARTS + 1):
            yield str(key)[:HEAD], item
    elif isinstance(value, list | tuple) and numbers_of(value) is None:
        simple = all(isinstance(item, str | int | float | None) for item in value)
        shown = 0 if simple else MAX_PARTS + 1
        for i, item in enumerate(value[:shown]):
            yield f"[{i}]", item


def words_of(value: Any) -> str:
    """One value in one line, values included."""
    kind = kind_of(value)
    if isinstance(value, str):
        return f"{kind}: {_quoted(value)}"
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return f"{kind} {value!s:.{HEAD}}"
    if isinstance(value, io.BytesIO):
        return file_words(value)
    numbers = numbers_of(value)
    if numbers is not None:
        return f"{kind}{''.join(f', {fact}' for fact in facts(numbers))}"
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        return f"{kind}: {', '.join(map(_quoted, value[:3]))}{', …' if len(value) > 3 else ''}"
    return kind


def numbers_of(value: Any) -> Array | None:
    """The numbers of an array, a tensor of any library, or a nested list; None for others."""
    try:
        array = _as_array(value)
    except Exception:  # a ragged list, a tensor that has no data
        return None
    return array if array is not None and array.dtype.kind in "biuf" else None


def _as_array(value: Any) -> Array | None:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list | tuple):
        is_long = len(value) > MAX_SIZE
        return None if is_long or not value or _leaf(value) is None else np.array(value)
    for way in _WAYS if hasattr(value, "shape") and hasattr(value, "dtype") else ():
        with contextlib.suppress(Exception):
            return np.asarray(way(value))
    return None


_WAYS: tuple[Callable[[Any], Any], ...] = (
    lambda value: value.detach().cpu().float().numpy(),  # torch
    lambda value: value.asnumpy(),  # MindSpore
    lambda value: value.numpy(),  # TensorFlow
    lambda value: value.__array__(),
)


def _leaf(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, bool | int | float | np.number) else None


def facts(array: Array) -> Iterator[str]:
    """The range of the numbers, and what is odd about them."""
    if not array.size or array.size > MAX_SIZE:
        return
    if array.dtype.kind == "b":
        yield f"{int(array.sum())} of {array.size} true"
        return
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if finite.size:
        low, high = _number(finite.min()), _number(finite.max())
        if low == high and finite.size == array.size > 1:
            yield f"all {low}"
        else:
            yield from (f"min {low}", f"max {high}") if array.size > 1 else (low,)
            if array.size > 1:
                yield f"mean {_number(finite.mean(dtype=np.float64))}"
    if array.dtype.kind == "f" and finite.size < array.size:
        nans = int(np.isnan(array).sum())
        infinite = array.size - finite.size - nans
        odd = {"NaN": nans, "inf": infinite}
        yield from (f"{count} {what}" for what, count in odd.items() if count)


def _number(value: Any) -> str:
    return f"{value.item():.4g}" if isinstance(value.item(), float) else str(value.item())


def file_words(file: io.BytesIO) -> str:
    """``331 bytes, PNG 28x28 L``, and how far it has been read."""
    if file.closed:
        return "closed"
    raw, at = file.getbuffer(), file.tell()
    read = f", read up to byte {at}" if at else ""
    with raw:
        words = f"{len(raw)} bytes, {format_of(bytes(raw))}" if len(raw) else "0 bytes: empty"
    return words + read


def format_of(content: bytes) -> str:
    """``PNG 28x28 L``: the kind of a file by what is in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception), Image.open(io.BytesIO(content)) as picture:
            return f"{picture.format} {picture.width}x{picture.height} {picture.mode}"
    if content[:4] == b"RIFF":
        return content[8:12].decode("latin-1").strip() or "RIFF"
    for signature, name in SIGNATURES:
        if content.startswith(signature):
            return name
    return _text_format(content)


def _text_format(content: bytes) -> str:
    try:
        text = content[:4096].decode("utf-8", errors="strict" if len(content) < 4096 else "ignore")
    except UnicodeDecodeError:
        return f"of no kind that is known here, begins with {content[:8]!r}"
    kind = "JSON text" if text.lstrip()[:1] in ("{", "[") else "text"
    return f"{kind}: {_quoted(text)}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= HEAD else text[:HEAD] + "…")
