"""What a service returned, to JSON bytes.

UTF-8 as it is. numpy and framework scalars and arrays become numbers and lists, a path its text,
bytes their UTF-8 text or else base64. NaN and the infinities, which JSON lacks, become ``null``.
"""

from __future__ import annotations

import base64
import enum
import json
import os
import uuid
from typing import Any, NoReturn

import orjson

from engineroom.errors import ResultError
from engineroom.hookspecs import hookimpl


@hookimpl(trylast=True)
def encode_response(result: Any) -> bytes:
    """The built-in encoder.

    Raises:
        ResultError: the result holds something that none of the rules covers.
    """
    try:
        return orjson.dumps(result, _replacement, _OPTIONS)
    except orjson.JSONEncodeError:
        return _with_care(result)


# What orjson would write by rules of its own.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def _with_care(result: Any) -> bytes:
    """What orjson refuses and JSON can hold: keys that are no strings, integers of more than 64
    bits, halves of surrogate pairs, deep nesting. The same bytes for everything else.
    """
    try:
        return _text(_plain(result)).encode()
    except ResultError:
        raise
    except RecursionError:
        raise ResultError("the result is nested too deeply, or holds itself") from None
    except Exception as error:  # an integer of more than 4,300 digits, a tensor without its device
        raise ResultError(f"the result cannot be written as JSON: {error}") from error


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
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, uuid.UUID):
        return str(value)
    _refuse(value)


def _refuse(value: Any) -> NoReturn:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise ResultError(
        f"the result holds a {kind}, which JSON cannot; return dicts, lists, strings, "
        "numbers or arrays from _postprocess",
        got=kind,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain(_replacement(value))


def _key(key: Any) -> str:
    """A dict key as the text that JSON wants."""
    if not isinstance(key, str | int | float | bool) and key is not None:
        if isinstance(key, tuple | frozenset):
            _refuse(key)
        key = _replacement(key)
    return key if isinstance(key, str) else _text(key)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # half of a surrogate pair: only JSON's own escapes can carry it
        return json.dumps(value)
