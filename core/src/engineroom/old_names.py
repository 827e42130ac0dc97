"""Names of old libraries, and what each means today: adapted when a script has imported one.

Each entry of a table is a value and its modern spelling. Source: the libraries' release notes.
"""

from __future__ import annotations

import collections.abc
import functools
import math
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from engineroom.lending import Stage, asking, lend, lend_method

Names = dict[str, tuple[Any, str]]

# Removed in numpy 1.24, 2.0 and 2.4, and np.asscalar in 1.23.
NUMPY: Names = {
    "bool": (bool, "bool"), "int": (int, "int"), "float": (float, "float"),
    "complex": (complex, "complex"), "object": (object, "object"), "str": (str, "str"),
    "long": (int, "int"), "unicode": (str, "str"), "bool8": (np.bool_, "np.bool_"),
    "float_": (np.float64, "np.float64"), "complex_": (np.complex128, "np.complex128"),
    "cfloat": (np.complex128, "np.complex128"), "longfloat": (np.longdouble, "np.longdouble"),
    "string_": (np.bytes_, "np.bytes_"), "unicode_": (np.str_, "np.str_"),
    "Inf": (np.inf, "np.inf"), "Infinity": (np.inf, "np.inf"), "infty": (np.inf, "np.inf"),
    "PINF": (np.inf, "np.inf"), "NINF": (-np.inf, "-np.inf"), "NaN": (np.nan, "np.nan"),
    "asscalar": (lambda array: array.item(), "array.item()"),
    "asfarray": (lambda a, dtype=np.float64: np.asarray(a, dtype), "np.asarray"),
    "mat": (np.asmatrix, "np.asmatrix"), "round_": (np.round, "np.round"),
    "product": (np.prod, "np.prod"), "cumproduct": (np.cumprod, "np.cumprod"),
    "sometrue": (np.any, "np.any"), "alltrue": (np.all, "np.all"),
    "msort": (functools.partial(np.sort, axis=0), "np.sort(axis=0)"),
    "in1d": (lambda a, b, **options: np.isin(np.ravel(a), b, **options), "np.isin"),
    "trapz": (lambda *args, **options: np.trapezoid(*args, **options), "np.trapezoid"),
}  # fmt: skip

# Aliases that Python 3.10 removed.
COLLECTIONS: Names = {
    name: (getattr(collections.abc, name), f"collections.abc.{name}")
    for name in collections.abc.__all__
}


def adapt_numpy(module: ModuleType, _stage: Stage) -> None:
    """``np.int`` and its like, and ``np.fromstring`` of bytes, gone since numpy 2.3."""
    lend(module, NUMPY.get, "np")
    known: Any = module
    original = known.fromstring
    if getattr(original, "__module__", None) == __name__:
        return

    @functools.wraps(original, assigned=("__name__", "__qualname__", "__doc__"))
    def fromstring(string: Any, dtype: Any = float, count: int = -1, **options: Any) -> Any:
        stage = asking() if not options.get("sep") else None
        if stage is None or not stage.settings.lent_names:
            return original(string, dtype, count, **options)
        stage.note("np.fromstring of bytes", "np.frombuffer")
        data = string.encode("latin-1") if isinstance(string, str) else string
        return np.frombuffer(data, dtype, count).copy()

    known.fromstring = fromstring


def adapt_pandas(module: ModuleType, _stage: Stage) -> None:
    """Methods gone since pandas 1.0 (``get_values``, ``as_matrix``) and 2.0 (``append``, …)."""
    pd: Any = module
    lend(module, {"np": (np, "numpy")}.get, "pd")
    for cls in (pd.DataFrame, pd.Series, pd.Index):
        lend_method(cls, "get_values", lambda data: data.to_numpy(), "to_numpy()")
    for cls in (pd.DataFrame, pd.Series):
        lend_method(cls, "iteritems", lambda data: data.items(), "items()")
        lend_method(cls, "append", functools.partial(_append, pd), "pd.concat")
    lend_method(pd.DataFrame, "as_matrix", _as_matrix, "to_numpy()")


def _as_matrix(data: Any, columns: Any = None) -> Any:
    return (data if columns is None else data[columns]).to_numpy()


def _append(
    pd: Any,
    data: Any,
    other: Any,
    ignore_index: bool = False,
    verify_integrity: bool = False,
    sort: bool = False,
) -> Any:
    """``DataFrame.append`` and ``Series.append`` as pandas 1 documents them."""
    parts = list(other) if isinstance(other, list | tuple) else [other]
    if isinstance(data, pd.DataFrame):
        parts = [part if isinstance(part, pd.DataFrame) else _row(pd, part) for part in parts]
        if not ignore_index and any(list(part.index) == [None] for part in parts):
            raise TypeError(
                "append needs ignore_index=True for a dict, or for a Series that has no name"
            )
        return pd.concat(
            [data, *parts], ignore_index=ignore_index, verify_integrity=verify_integrity, sort=sort
        )
    return pd.concat([data, *parts], ignore_index=ignore_index, verify_integrity=verify_integrity)


def _row(pd: Any, part: Any) -> Any:
    series = part if isinstance(part, pd.Series) else pd.Series(part, dtype=object)
    return series.to_frame().T.infer_objects().set_axis([series.name])


def adapt_pillow(module: ModuleType, _stage: Stage) -> None:
    """The filters' old names, gone since Pillow 10."""
    image: Any = module
    filters = {"ANTIALIAS": "LANCZOS", "LINEAR": "BILINEAR", "CUBIC": "BICUBIC"}
    names = {old: (getattr(image, new), f"Image.{new}") for old, new in filters.items()}
    lend(module, names.get, "Image")


def adapt_pillow_draw(module: ModuleType, _stage: Stage) -> None:
    """``textsize``, gone since Pillow 10."""

    def textsize(draw: Any, text: str, font: Any = None, **options: Any) -> tuple[int, int]:
        left, top, right, bottom = draw.textbbox((0, 0), text, font, **options)
        return math.ceil(right - min(left, 0)), math.ceil(bottom - min(top, 0))

    draw: Any = module
    lend_method(draw.ImageDraw, "textsize", textsize, "textbbox")


def adapt_pillow_font(module: ModuleType, _stage: Stage) -> None:
    """``getsize``, gone since Pillow 10."""

    def getsize(font: Any, text: str, *args: Any, **options: Any) -> tuple[int, int]:
        left, top, right, bottom = font.getbbox(text, *args, **options)
        return math.ceil(right - min(left, 0)), math.ceil(bottom - min(top, 0))

    font: Any = module
    for cls in (font.FreeTypeFont, font.ImageFont):
        lend_method(cls, "getsize", getsize, "getbbox")


def _lends(names: Names) -> Callable[[ModuleType, Stage], None]:
    return lambda module, _stage: lend(module, names.get)


def _base64(module: ModuleType, _stage: Stage) -> None:
    base64: Any = module
    names = {
        "encodestring": (base64.encodebytes, "base64.encodebytes"),
        "decodestring": (base64.decodebytes, "base64.decodebytes"),
    }
    lend(module, names.get)


ADAPTERS: dict[str, Callable[[ModuleType, Stage], None]] = {
    "numpy": adapt_numpy,
    "pandas": adapt_pandas,
    "PIL.Image": adapt_pillow,
    "PIL.ImageDraw": adapt_pillow_draw,
    "PIL.ImageFont": adapt_pillow_font,
    "base64": _base64,
    "collections": _lends(COLLECTIONS),
    "fractions": _lends({"gcd": (math.gcd, "math.gcd")}),
    "time": _lends({"clock": (time.perf_counter, "time.perf_counter")}),
}
"""What is done when a script's process has imported a library; engines add their own."""
