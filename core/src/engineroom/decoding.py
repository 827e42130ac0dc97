"""A request's bytes to the ``data`` of the contract.

JSON becomes the parsed value. A form becomes a dict: a text field is a ``str``, the files of one
key are ``{client file name: BytesIO}`` in their order. Query parameters are merged in and win.
Source: ModelArts contract, "Requests".
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from engineroom.errors import InvalidBodyError, InvalidInputError, UnsupportedMediaTypeError
from engineroom.hookspecs import hookimpl

try:
    from multipart import MultipartError, MultipartSegment, PushMultipartParser
except ImportError as error:  # python-multipart before 0.0.13 has a module of this name, too
    raise ImportError(f"{error}; run: pip install -U multipart python-multipart") from None

MAX_FIELDS = 1000
MAX_ESCAPES = 1_000_000
"""Percent signs in a form: each costs half a microsecond of the event loop."""
CHARSETS = {
    "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252", "utf-16",
    "utf-16le", "utf-16be", "utf-32", "gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc-jp",
    "euc-kr",
}  # fmt: skip
"""Python knows more, and some of those take a time that grows with the square of the body."""
DIGITS_ALIKE = bytes.maketrans(b"123456789", b"0" * 9)
HUGE = b"0" * 19
"""Digits of an integer that orjson might read as a float."""
OPTION = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;"]*)', re.ASCII)
"""One of a header, also where it should be quoted and is not: ``boundary=a=b``, ``name=a[0]``."""
EXTENDED = re.compile(r"[\w-]*'[^']*'(.*)")
ACCEPTED = "application/json, multipart/form-data, application/x-www-form-urlencoded"


@hookimpl(trylast=True)
def decode_request(content_type: str, body: bytes, query: bytes) -> Any:
    """The built-in decoder of JSON and forms.

    Raises:
        InvalidInputError: nothing usable in it.
        InvalidBodyError: it is not what the content type says.
        UnsupportedMediaTypeError: a content type that is none of these.
    """
    data = _decode_body(content_type, body)
    if query:
        parameters = _urlencoded(query, "query string")
        if data is None:
            data = parameters
        elif isinstance(data, dict):
            data.update(parameters)
    if data is None or data == {} or data == [] or data == "":
        raise InvalidInputError(
            f"the request carries no input; send a JSON object, or form fields ({ACCEPTED})"
        )
    return data


def decode_text(content_type: str, body: bytes, query: bytes) -> Any:  # noqa: ARG001
    """The body's text, for services that parse it themselves; a multipart form as above.

    Raises:
        InvalidInputError: it is empty.
        InvalidBodyError: it is not text.
    """
    kind, options = _options(content_type)
    if kind == "multipart/form-data":
        return _multipart(body, options.get("boundary", ""))
    text = _text_of(body, options.get("charset", "utf-8").lower())
    if not text.strip():
        raise InvalidInputError("the request carries no input; send a body")
    return text


def _options(header: str) -> tuple[str, dict[str, str]]:
    """The value of a header before its first semicolon, and what follows that, by name."""
    kind = header.partition(";")[0].strip().lower()
    return kind, {name.lower(): _unquoted_option(value) for name, value in OPTION.findall(header)}


def _unquoted_option(value: str) -> str:
    if value[:1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value.strip()


def _text_of(body: bytes, charset: str) -> str:
    if charset not in CHARSETS:
        raise InvalidBodyError(f"the body is not text: unknown charset {charset!r}; send UTF-8")
    try:
        return body.decode(charset if charset != "utf-8" else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidBodyError(
            f"the body is not text: byte {error.start} is not {charset}"
        ) from None


def _decode_body(content_type: str, body: bytes) -> Any:
    if not body:
        return None
    if content_type == "application/json":  # the usual case, without parsing the header
        return _json(body, "utf-8")
    kind, options = _options(content_type)
    charset = options.get("charset", "utf-8").lower()
    if kind == "multipart/form-data":
        return _multipart(body, options.get("boundary", ""))
    if kind == "application/x-www-form-urlencoded":
        return _form_or_json(body, charset)
    # People send JSON as text/plain, or as nothing at all, or misspell its type.
    if kind in ("", "text/plain") or "json" in kind:
        return _json(body, charset)
    raise UnsupportedMediaTypeError(
        f"content type {kind!r} is not supported; send one of {ACCEPTED}",
        expected=ACCEPTED,
        got=kind,
    )


def _form_or_json(body: bytes, charset: str) -> Any:
    # curl -d '{…}' says urlencoded, too.
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            return _json(body, charset)
        except InvalidBodyError:
            if b"=" not in body:  # a form whose first name begins with a bracket has one
                raise
    return _urlencoded(body, "form")


def _json(body: bytes, charset: str) -> Any:
    if charset == "utf-8" and HUGE not in body.translate(DIGITS_ALIKE):
        # Several times as fast as json, and never copied to text. What it refuses may still be
        # JSON for Python: NaN, a byte order mark, half of a surrogate pair.
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    return parse_json(_text_of(body, charset))


def parse_json(text: str) -> Any:
    """The value of a body: for services that get its text, too.

    Raises:
        InvalidBodyError: not JSON, and where.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except RecursionError:
        message = "it is nested too deeply"
    except ValueError:
        message = f"it holds an integer of more than {sys.get_int_max_str_digits()} digits"
    raise InvalidBodyError(f"the body is not JSON: {message}")


def _urlencoded(text: bytes, what: str) -> dict[str, str]:
    if text.count(b"%") > MAX_ESCAPES:
        raise InvalidBodyError(f"the {what} has more than {MAX_ESCAPES} escapes; send multipart")
    pairs = [pair.partition(b"=") for pair in text.split(b"&", MAX_FIELDS + 1) if pair]
    if len(pairs) > MAX_FIELDS:
        raise InvalidBodyError(f"the {what} has more than {MAX_FIELDS} fields")
    try:
        return {_unquoted(key): _unquoted(value) for key, _, value in pairs}
    except UnicodeDecodeError as error:
        raise InvalidBodyError(f"the {what} is not percent-encoded UTF-8: {error.reason}") from None


def _unquoted(text: bytes) -> str:
    # In pieces: urllib makes an object of every escape, which is a gigabyte for a whole body.
    text, parts, start = text.replace(b"+", b" "), [], 0
    while start < len(text):
        end = start + 65536
        last = text.rfind(b"%", max(start + 1, end - 2), end)  # never cut an escape
        end = last if last > 0 else end
        parts.append(unquote_to_bytes(text[start:end]))
        start = end
    return b"".join(parts).decode()


def _multipart(body: bytes, boundary: str) -> dict[str, Any]:
    if not boundary:
        raise InvalidBodyError("multipart/form-data without a boundary in its content type")
    form: dict[str, Any] = {}
    whole = 0
    try:
        # Latin-1 keeps the bytes of names, which clients send in more than one charset. Where it is
        # not strict it takes headers of many lines, and reads each as often as more follow.
        delimiter = boundary.encode("latin-1")
        parser = PushMultipartParser(delimiter, header_charset="latin-1", strict=True)
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                part, content = event, b""
            elif event is not None:
                content = event
            else:
                whole += 1
                _add_part(form, part, content, whole)
    except MultipartError as error:
        error.__traceback__ = None  # the parser keeps it, and it the body: only garbage collection
        raise InvalidBodyError(
            f"the multipart body is broken after {whole} whole parts: {error}"
        ) from None
    try:
        parser.close()
    except MultipartError as error:
        error.__traceback__ = None
        raise InvalidBodyError(
            f"the multipart body ends before its closing boundary '--{boundary}--'; "
            f"{whole} whole parts came"
        ) from None
    return form


def _add_part(form: dict[str, Any], part: MultipartSegment, content: bytes, number: int) -> None:
    """Files of one name share a dict, which beats a text field of that name."""
    if number > MAX_FIELDS:
        raise InvalidBodyError(f"the form has more than {MAX_FIELDS} fields")
    _, options = _options(part["Content-Disposition"])
    if not options.get("name"):
        raise InvalidBodyError(f"part {number} of the form has no name")
    name, file_name = _text(options["name"]), _file_name(options)
    files = form.get(name)
    if file_name is None:
        if not isinstance(files, dict):
            form[name] = _text_field(name, content)
    elif file_name or content:  # else a browser's file widget that nobody used
        if not isinstance(files, dict):
            files = form[name] = {}
        files[_base_name(file_name) or name] = io.BytesIO(content)


def _text_field(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidBodyError(f"the field {name!r} is not UTF-8: byte {error.start}") from None


def _file_name(options: dict[str, str]) -> str | None:
    if "filename" in options:
        return _text(options["filename"])
    # Forbidden in forms by RFC 7578, and sent all the same by older Python clients.
    extended = EXTENDED.fullmatch(options.get("filename*", ""))
    if extended is None:
        return None
    return _text(unquote_to_bytes(extended[1].encode("latin-1")).decode("latin-1"))


def _text(name: str) -> str:
    """The text of a name that is UTF-8, or else Latin-1, and has been read as Latin-1."""
    name = name.replace("%22", '"')  # as browsers write it, and nothing else
    try:
        return name if name.isascii() else name.encode("latin-1").decode()
    except UnicodeDecodeError:
        return name


def _base_name(file_name: str) -> str:
    """The name without directories of either kind, so that no script opens ``../../x``."""
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")
    return "" if name in {".", ".."} else name
