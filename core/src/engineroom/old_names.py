"""Names of old libraries, and what each means today: adapted when a script has imported one.

Each entry of a table is a value and its modern spelling. Source: the libraries' release notes.
"""

from __future__ import annotations

import collections.abc
import datetime
import functools
import importlib
import inspect
import math
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from engineroom.lending import Stage, lend, lend_call, lend_method, lend_own

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
    "math": (math, "math"), "row_stack": (np.vstack, "np.vstack"),
    "trapz": (lambda *args, **options: np.trapezoid(*args, **options), "np.trapezoid"),
}  # fmt: skip

# Aliases that Python 3.10 removed.
COLLECTIONS: Names = {
    name: (getattr(collections.abc, name), f"collections.abc.{name}")
    for name in collections.abc.__all__
}

# Keywords of pd.read_csv, gone since pandas 2.0 and 3.0. The second line is of no effect.
READ_CSV = {
    "error_bad_lines", "warn_bad_lines", "squeeze", "delim_whitespace",
    "infer_datetime_format", "mangle_dupe_cols", "tupleize_cols", "verbose",
}  # fmt: skip

ORIENTS = ("dict", "list", "series", "split", "records", "index")


def adapt_numpy(module: ModuleType, _stage: Stage) -> None:
    """``np.int`` and its like, and ``np.fromstring`` of bytes, gone since numpy 2.3."""
    lend(module, NUMPY.get, "np")
    lend_call(module, "fromstring", _fromstring)
    lend_call(module, "load", _load)


def _load(stage: Stage, original: Any, file: Any, *args: Any, **options: Any) -> Any:
    """``np.load``, which read arrays of objects by itself until numpy 1.16.3: they are pickles."""
    try:
        return original(file, *args, **options)
    except ValueError as error:
        if "allow_pickle" in options or "allow_pickle=False" not in str(error):
            raise
        held = f"{getattr(file, 'name', file)} holds Python objects"
        if not stage.settings.allow_pickle:
            advice = "if you trust this file, allow it with --allow-pickle"
            raise ValueError(
                f"{held}: reading it would run code that is in it; {advice}"
            ) from error
        stage.warn(f"{held}: reading it runs code that is in it")
        if hasattr(file, "seek"):
            file.seek(0)
        return original(file, *args, allow_pickle=True, **options)


def _fromstring(
    stage: Stage,
    original: Any,
    string: Any,
    dtype: Any = float,
    count: int = -1,
    **options: Any,
) -> Any:
    if options.get("sep"):
        return original(string, dtype, count, **options)
    stage.note("np.fromstring of bytes", "np.frombuffer")
    data = string.encode("latin-1") if isinstance(string, str) else string
    return np.frombuffer(data, dtype, count).copy()


def adapt_pandas(module: ModuleType, _stage: Stage) -> None:
    """What is gone since pandas 1.0 (``get_values``, ``ix``), 2.0 (``append``) and 3.0."""
    pd: Any = module
    names: Names = {"np": (np, "numpy"), "datetime": (datetime.datetime, "datetime.datetime")}
    lend(module, names.get, "pd")
    for cls in (pd.DataFrame, pd.Series, pd.Index):
        lend_method(cls, "get_values", lambda data: data.to_numpy(), "to_numpy()")
    for cls in (pd.DataFrame, pd.Series):
        lend_method(cls, "iteritems", lambda data: data.items(), "items()")
        lend_method(cls, "append", functools.partial(_append, pd), "pd.concat")
        lend_method(cls, "ix", _Ix, "loc and iloc", is_property=True)
        if "method" not in inspect.signature(cls.fillna).parameters:
            lend_call(cls, "fillna", _fillna)
    lend_method(pd.DataFrame, "as_matrix", _as_matrix, "to_numpy()")
    lend_method(pd.DataFrame, "applymap", lambda data, *a, **o: data.map(*a, **o), "map")
    lend_call(pd.DataFrame, "to_dict", _to_dict)
    for cls in (pd.DatetimeIndex, type(pd.Series(pd.DatetimeIndex([])).dt)):
        for name in ("week", "weekofyear"):
            lend_method(cls, name, _week, "isocalendar().week", is_property=True)
    lend_call(pd.DataFrame, "drop", _by_keyword("DataFrame.drop", 2, "axis"))
    lend_call(pd, "concat", _by_keyword("pd.concat", 1, "axis", "join"))
    lend_call(pd, "read_csv", _read_csv)


def _fillna(
    stage: Stage,
    original: Any,
    data: Any,
    value: Any = None,
    method: str | None = None,
    **options: Any,
) -> Any:
    options.pop("downcast", None)
    if method is None:
        return original(data, value, **options)
    name = "ffill" if method in ("ffill", "pad") else "bfill"
    stage.note("fillna(method=…)", f"{name}()")
    return getattr(data, name)(**options)


def _by_keyword(shown: str, places: int, *names: str) -> Callable[..., Any]:
    """For a function that takes ``places`` arguments by place today, and once ``names`` too."""

    def call(stage: Stage, original: Any, *args: Any, **options: Any) -> Any:
        others = dict(zip(names, args[places:], strict=False))
        if others:
            stage.note(f"{shown} without {'= and '.join(others)}=", f"{names[0]}=…")
        return original(*args[:places], **others, **options)

    return call


def _read_csv(stage: Stage, original: Any, *args: Any, **options: Any) -> Any:
    known = inspect.signature(original).parameters
    old = {name: options.pop(name) for name in READ_CSV - known.keys() & options.keys()}
    for name in old:
        stage.note(f"pd.read_csv({name}=…)", "pd.read_csv")
    if not old.get("error_bad_lines", True):
        options["on_bad_lines"] = "warn" if old.get("warn_bad_lines", True) else "skip"
    if old.get("delim_whitespace"):
        options["sep"] = r"\s+"
    table = original(*args, **options)
    return table.squeeze("columns") if old.get("squeeze") else table


class _Ix:
    """``data.ix``: labels, and places where the labels of an axis are no numbers."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __getitem__(self, key: Any) -> Any:
        return self.data.iloc[self._places(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.data.iloc[self._places(key)] = value

    def _places(self, key: Any) -> tuple[Any, ...]:
        keys = key if isinstance(key, tuple) else (key,)
        return tuple(_places(index, one) for index, one in zip(self.data.axes, keys, strict=False))


def _places(index: Any, key: Any) -> Any:
    """The places of labels in ``index``: a number, a slice or an array of either."""
    has_numbers = index.dtype.kind in "iuf"
    if isinstance(key, slice):
        ends = [end for end in (key.start, key.stop) if end is not None]
        are_places = not has_numbers and all(isinstance(end, int) for end in ends)
        return key if are_places else index.slice_indexer(key.start, key.stop, key.step)
    if not isinstance(key, str) and np.ndim(key) == 1:
        array = np.asarray(key)
        if array.dtype == bool:
            return array
        are_places = not has_numbers and array.dtype.kind in "iu"
        places = array if are_places else index.get_indexer_for(array)
        if not are_places and (places < 0).any():
            raise KeyError(list(array[places < 0]))
        return places
    is_place = not has_numbers and isinstance(key, int | np.integer)
    return key if is_place else index.get_loc(key)


def _as_matrix(data: Any, columns: Any = None) -> Any:
    return (data if columns is None else data[columns]).to_numpy()


def _week(dates: Any) -> Any:
    return dates.isocalendar().week.astype("int64")


def _to_dict(stage: Stage, original: Any, data: Any, orient: str = "dict", **options: Any) -> Any:
    """``orient`` might be shortened until pandas 2.0."""
    full = next((it for it in ORIENTS if it.startswith(orient)), orient)
    if full != orient:
        stage.note(f"to_dict({orient!r})", f"to_dict({full!r})")
    return original(data, full, **options)


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


def adapt_yaml(module: ModuleType, _stage: Stage) -> None:
    """``yaml.load`` and ``load_all`` without a loader, which PyYAML 6 requires."""
    yaml: Any = module

    def load(stage: Stage, original: Any, stream: Any, Loader: Any = None) -> Any:  # noqa: N803
        if Loader is None:
            stage.note("yaml.load without Loader", "yaml.load(…, Loader=yaml.FullLoader)")
        return original(stream, Loader or yaml.FullLoader)

    lend_call(module, "load", load)
    lend_call(module, "load_all", load)


def adapt_h5py(module: ModuleType, _stage: Stage) -> None:
    """``Dataset.value``, gone since h5py 3."""
    h5py: Any = module
    lend_method(h5py.Dataset, "value", lambda data: data[()], "data[()]", is_property=True)


def adapt_integrate(module: ModuleType, _stage: Stage) -> None:
    """``simps`` and its like, gone since scipy 1.14; arguments by place are now by name."""
    scipy: Any = module

    def simps(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1, even: Any = None) -> Any:  # noqa: ARG001
        return scipy.simpson(y, x=x, dx=dx, axis=axis)

    names: Names = {
        "simps": (simps, "scipy.integrate.simpson"),
        "trapz": (scipy.trapezoid, "scipy.integrate.trapezoid"),
        "cumtrapz": (scipy.cumulative_trapezoid, "scipy.integrate.cumulative_trapezoid"),
    }
    lend(module, names.get)


def adapt_signal(module: ModuleType, _stage: Stage) -> None:
    """Windows, which scipy 1.13 left in ``scipy.signal.windows`` alone."""
    windows: Any = module.windows

    def find(name: str) -> tuple[Any, str] | None:
        is_window = name in windows.__all__
        return (getattr(windows, name), f"scipy.signal.windows.{name}") if is_window else None

    lend(module, find)


def adapt_scipy_misc(module: ModuleType, _stage: Stage) -> None:
    """Pictures, gone since scipy 1.3, and what has moved to ``scipy.special``."""

    def find(name: str) -> tuple[Any, str] | None:
        if name in ("comb", "factorial", "factorial2", "logsumexp"):
            return getattr(importlib.import_module("scipy.special"), name), f"scipy.special.{name}"
        found = getattr(misc, name, None) if name in misc.__all__ else None
        return found and (found, "Pillow")

    misc = importlib.import_module("engineroom.lent.misc")
    if module is not misc:
        lend(module, find)


def _lends(names: Names) -> Callable[[ModuleType, Stage], None]:
    return lambda module, _stage: lend(module, names.get)


# Functions that are the same elsewhere today; the modules are imported when one is asked for.
ELSEWHERE = {
    "inspect": {"getargspec": "inspect.getfullargspec"},
    "matplotlib.cm": {"get_cmap": "matplotlib.pyplot.get_cmap"},
    "pandas.io.json": {"json_normalize": "pandas.json_normalize"},
    "scipy": {"interp": "numpy.interp"},
    "scipy.ndimage": {"imread": "engineroom.lent.misc.imread"},
    "skimage.measure": {
        "compare_mse": "skimage.metrics.mean_squared_error",
        "compare_psnr": "skimage.metrics.peak_signal_noise_ratio",
        "compare_ssim": "skimage.metrics.structural_similarity",
    },
}


def adapt_elsewhere(module: ModuleType, _stage: Stage) -> None:
    """The names of ``ELSEWHERE``."""
    places = ELSEWHERE[module.__name__]

    def find(name: str) -> tuple[Any, str] | None:
        if name not in places:
            return None
        holder, _, today = places[name].rpartition(".")
        return getattr(importlib.import_module(holder), today), places[name]

    lend(module, find)


def _base64(module: ModuleType, _stage: Stage) -> None:
    base64: Any = module
    names = {
        "encodestring": (base64.encodebytes, "base64.encodebytes"),
        "decodestring": (base64.decodebytes, "base64.decodebytes"),
    }
    lend(module, names.get)


ADAPTERS: dict[str, Callable[[ModuleType, Stage], None]] = {
    "__main__": lend_own,
    "numpy": adapt_numpy,
    "pandas": adapt_pandas,
    "PIL.Image": adapt_pillow,
    "PIL.ImageDraw": adapt_pillow_draw,
    "PIL.ImageFont": adapt_pillow_font,
    "h5py": adapt_h5py,
    "scipy.misc": adapt_scipy_misc,
    "scipy.integrate": adapt_integrate,
    "scipy.signal": adapt_signal,
    "yaml": adapt_yaml,
    "base64": _base64,
    **dict.fromkeys(ELSEWHERE, adapt_elsewhere),
    "collections": _lends(COLLECTIONS),
    "fractions": _lends({"gcd": (math.gcd, "math.gcd")}),
    "time": _lends({"clock": (time.perf_counter, "time.perf_counter")}),
}
"""What is done when a script's process has imported a library; engines add their own."""
