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
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from engineroom.errors import InvalidBodyError, InvalidInputError, UnsupportedMediaTypeError
from engineroom.hookspecs import hookimpl

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
EXTENDED_NAME = re.compile(rb"filename\*\s*=\s*[\w-]*'[^']*'([^;\s]*)", re.IGNORECASE)
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
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        return _multipart(body, options.get(b"boundary", b""))
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    text = _text_of(body, charset)
    if not text.strip():
        raise InvalidInputError("the request carries no input; send a body")
    return text


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
    kind, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if kind == b"multipart/form-data":
        return _multipart(body, options.get(b"boundary", b""))
    if kind == b"application/x-www-form-urlencoded":
        return _form_or_json(body, charset)
    # People send JSON as text/plain, or as nothing at all, or misspell its type.
    if kind in (b"", b"text/plain") or b"json" in kind:
        return _json(body, charset)
    raise UnsupportedMediaTypeError(
        f"content type {kind.decode('latin-1')!r} is not supported; send one of {ACCEPTED}",
        expected=ACCEPTED,
        got=kind.decode("latin-1"),
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


def _multipart(body: bytes, boundary: bytes) -> dict[str, Any]:
    if not boundary:
        raise InvalidBodyError("multipart/form-data without a boundary in its content type")
    form = _Form()
    try:
        MultipartParser(boundary, form.callbacks()).write(body)  # type: ignore[arg-type]
    except FormParserError as error:
        raise InvalidBodyError(f"the multipart body is broken: {error}") from None
    if not form.complete:
        raise InvalidBodyError(
            "the multipart body ends before its closing boundary "
            f"'--{boundary.decode('latin-1')}--'; {form.count} whole parts came"
        )
    return form.data


class _Form:
    """Collects the parts that the parser finds. A file beats a text field of the same key."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.count = 0
        self.complete = False
        self._begin()

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._field, self._value, self._disposition = b"", b"", b""
        self._chunks: list[bytes] = []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])

    def _finish(self) -> None:
        self.complete = True

    def _end(self) -> None:
        self.count += 1
        if self.count > MAX_FIELDS:
            raise InvalidBodyError(f"the form has more than {MAX_FIELDS} fields")
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise InvalidBodyError(f"part {self.count} of the form has no name")
        name, content = _text(options[b"name"]), b"".join(self._chunks)
        file_name = _file_name(options, self._disposition)
        if file_name is not None:
            self._add_file(name, _base_name(file_name), content)
        elif not isinstance(self.data.get(name), dict):
            self.data[name] = self._text_field(name, content)

    def _add_file(self, name: str, file_name: str, content: bytes) -> None:
        if not file_name and not content:
            return  # a browser's file widget that nobody used
        files = self.data.get(name)
        if not isinstance(files, dict):
            files = self.data[name] = {}
        files[file_name or name] = io.BytesIO(content)

    def _text_field(self, name: str, content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InvalidBodyError(f"the field {name!r} is not UTF-8: byte {error.start}") from None


def _file_name(options: dict[bytes, bytes], disposition: bytes) -> str | None:
    if b"filename" in options:
        return _text(options[b"filename"])
    # Forbidden in forms by RFC 7578, and sent all the same by older Python clients.
    extended = EXTENDED_NAME.search(disposition)
    if extended is None:
        return None
    return _text(unquote_to_bytes(extended[1]))


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _base_name(file_name: str) -> str:
    """The name without directories of either kind, so that no script opens ``../../x``."""
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")
    return "" if name in {".", ".."} else name
