"""What a service returned, to JSON bytes.

UTF-8 as it is. numpy and framework scalars and arrays become numbers and lists, a path its text,
bytes their UTF-8 text or else base64. NaN and the infinities, which JSON lacks, become ``null``.
"""

from __future__ import annotations

import base64
import json
import math
import os
from typing import Any

from engineroom.errors import ResultError
from engineroom.hookspecs import hookimpl


@hookimpl(trylast=True)
def encode_response(result: Any) -> bytes:
    """The built-in encoder.

    Raises:
        ResultError: the result holds something that none of the rules covers.
    """
    try:
        return _dumps(result)
    except UnicodeEncodeError:  # half of a surrogate pair: only JSON's own escapes can carry it
        return json.dumps(_plain(result)).encode()
    except ResultError:
        raise
    except RecursionError:
        raise ResultError("the result is nested too deeply, or holds itself") from None
    except Exception as error:  # an integer of more than 4,300 digits, a tensor without its device
        raise ResultError(f"the result cannot be written as JSON: {error}") from error


def _dumps(result: Any) -> bytes:
    try:
        text = _ENCODER.encode(result)
    except (ValueError, TypeError):
        # NaN somewhere, or keys that are not strings: walk the whole result, which is rare.
        text = json.dumps(_plain(result), ensure_ascii=False)
    return text.encode()


def _replacement(value: Any) -> Any:
    """A JSON type for ``value``, whose own parts may still need one."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return base64.b64encode(raw).decode()
    if hasattr(value, "tolist"):  # numpy and torch, arrays and scalars
        plain = value.tolist()
        # A long double stays what it is.
        return plain if type(plain) is not type(value) else float(plain)
    if hasattr(value, "numpy"):  # tensors of TensorFlow
        return value.numpy()
    if hasattr(value, "asnumpy"):  # tensors of MindSpore
        return value.asnumpy()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):
        return list(value)
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise ResultError(
        f"the result holds a {kind}, which JSON cannot; return dicts, lists, strings, "
        "numbers or arrays from _postprocess",
        got=kind,
    )


# json.dumps would make one for every call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_replacement)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain(_replacement(value))


def _key(key: Any) -> Any:
    """A dict key; JSON takes strings, numbers, booleans and null."""
    if isinstance(key, str | int | float | bool) or key is None:
        return key
    key = _replacement(key)
    return key if isinstance(key, str | int | float | bool) else str(key)
