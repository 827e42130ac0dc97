"""What a value is, in a few words: its kind and its size, and never the value itself.

For error answers and logs, so nothing here raises, reads megabytes, or runs code of the value
beyond its ``shape``, ``dtype``, ``device``, ``mode`` and ``size``. No framework is imported.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable
from typing import Any

MAX_ITEMS = 8
"""Keys of a dict that are listed."""
MAX_DEPTH = 3
MAX_LENGTH = 200
"""Characters of one value's words."""
LOOKED_AT = 1000
"""Elements of a list whose type is looked at."""
PLAIN = (bool, int, float, complex, type(None))


def given(value: Any) -> Any:
    """What a step was given, as JSON: a dict's values by their keys, else one string.

    ``{"images": "1 file '7.png' (331 bytes)", "k": "str of 1 character"}``
    """
    if not _is(value, dict):
        return kind_of(value)
    try:
        items = list(itertools.islice(dict.items(value), MAX_ITEMS))
        told = {_short(key if _is(key, str) else _key(key), 60): kind_of(v) for key, v in items}
        if more := dict.__len__(value) - len(items):
            told["…"] = f"{more} more"
        return told or "an empty dict"
    except Exception:  # another thread changes it
        return _name(type(value))


def kind_of(value: Any, depth: int = 0) -> str:
    """``float32 (1, 28, 28)``, ``list of 3 int``, ``str of 12 characters``."""
    try:
        return _short(_words(value, depth), MAX_LENGTH)
    except Exception:  # a closed file, an attribute that raises
        return _name(type(value))


def words_of(told: Any) -> str:
    """What :func:`given` has made, as a part of a sentence."""
    if isinstance(told, dict):
        return ", ".join(f"{key}: {words}" for key, words in told.items())
    return str(told)


def _words(value: Any, depth: int) -> str:
    for kind, words in WORDS:
        if _is(value, kind):
            return words(value, depth)
    if _is(value, PLAIN):
        return "None" if value is None else type(value).__name__
    return _tensor(value) or _picture(value) or _name(type(value))


def _is(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return issubclass(type(value), kinds)  # isinstance would ask the value for its __class__


def _tensor(value: Any) -> str:
    """Arrays, tensors and their scalars of any library, by their attributes."""
    shape: Any = getattr(value, "shape", None)
    dtype = getattr(value, "dtype", None)
    if shape is None or isinstance(value, type):
        return ""
    sizes = tuple(itertools.islice(shape, 16))
    if not all(size is None or hasattr(type(size), "__index__") for size in sizes):
        return ""
    shown = "({})".format(", ".join(map(str, sizes)) + ("," if len(sizes) == 1 else ""))
    library = "" if type(value).__module__ == "numpy" else _name(type(value)) + " "
    if dtype is None:  # a table
        return f"{library}{shown}"
    device = str(getattr(value, "device", ""))
    where = f" on {device}" if ":" in device and len(device) < 12 else ""
    return f"{library}{dtype_name(dtype)}{' ' + shown if sizes or library else ''}{where}"


def dtype_name(dtype: Any) -> str:
    """``float32``, whichever library's it is."""
    name = str(dtype)
    if name.startswith("<dtype"):  # TensorFlow's
        name = str(dtype.name)
    name = name.rpartition(".")[2]
    return _short(name.lower() if name.isalnum() else name, 40)  # MindSpore says Float32


def _picture(value: Any) -> str:
    mode: Any = getattr(value, "mode", None)
    size: Any = getattr(value, "size", None)
    if type(value).__module__.startswith("PIL.") and _is(mode, str) and _is(size, tuple):
        return f"PIL image {mode} {size[0]}x{size[1]}"
    return ""


def _dict(value: Any, depth: int) -> str:
    count = dict.__len__(value)
    if not count:
        return "an empty dict"
    items = list(itertools.islice(dict.items(value), MAX_ITEMS))
    if all(_is(item, io.BytesIO) for _, item in items):
        files = [f"{_key(name)} ({_bytes(file)})" for name, file in items]
        return f"{counted(count, 'file')} {_listed(files, count)}"
    if depth >= MAX_DEPTH:
        return f"dict of {count}"
    parts = [f"{_key(key)}: {kind_of(item, depth + 1)}" for key, item in items]
    return f"dict with {_listed(parts, count)}"


def _sequence(value: Any, depth: int) -> str:
    kind = next(base for base in (list, tuple, set, frozenset) if _is(value, base))
    name, count = type(value).__name__, kind.__len__(value)
    if not count:
        return f"an empty {name}"
    items = list(itertools.islice(kind.__iter__(value), LOOKED_AT))
    types = list(dict.fromkeys(type(item) for item in items))
    if all(issubclass(one, (str, bytes, *PLAIN)) for one in types):
        elements = " and ".join("None" if t is type(None) else t.__name__ for t in types[:4])
        return f"{name} of {count} {elements}"
    if depth >= MAX_DEPTH:
        return f"{name} of {count}"
    first = kind_of(items[0], depth + 1)
    is_alike = 1 < count <= 50 and all(kind_of(item, depth + 1) == first for item in items)
    return f"{name} of {count}: {'each' if is_alike else 'the first'} {first}"


def _str(value: Any, _depth: int) -> str:
    return f"str of {counted(str.__len__(value), 'character')}"


def _file(value: Any, _depth: int) -> str:
    return f"file ({_bytes(value)})"


def _raw(value: Any, _depth: int) -> str:
    return f"{type(value).__name__} of {len(memoryview(value))}"


def _bytes(file: Any) -> str:
    if io.BytesIO.closed.__get__(file):
        return "closed"
    with io.BytesIO.getbuffer(file) as buffer:
        return counted(buffer.nbytes, "byte")


def _key(key: Any) -> str:
    if _is(key, (str, int, float)):
        return _short(repr(key), 60) if type(key) in (str, int, float, bool) else _name(type(key))
    return kind_of(key, MAX_DEPTH)


def _listed(parts: Iterable[str], count: int) -> str:
    parts = list(parts)
    more = f", … {count - len(parts)} more" if count > len(parts) else ""
    return ", ".join(parts) + more


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _name(kind: type) -> str:
    """``torch.Tensor``, ``Detector``: the type, with the library that it is from."""
    library = str(kind.__module__).partition(".")[0]
    own = library in ("builtins", "customize_service", "numpy", "__main__")
    return _short(kind.__qualname__ if own else f"{library}.{kind.__qualname__}", 80)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


WORDS: tuple[tuple[Any, Callable[[Any, int], str]], ...] = (
    (str, _str),
    ((bytes, bytearray, memoryview), _raw),
    (dict, _dict),
    ((list, tuple, set, frozenset), _sequence),
    (io.BytesIO, _file),
)
