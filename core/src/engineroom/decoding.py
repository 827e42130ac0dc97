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
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

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
MAX_BOUNDARY = 256
MAX_HEAD = 16_384
"""Bytes of the headers of one part of a form."""
OPTION = re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.DOTALL)
TOKEN = re.compile(rb"[\w!#$%&'*+.^`|~-]+", re.ASCII)
BLANKS = re.compile(rb"[ \t]*\r\n")
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
    kind, options = _options(content_type.encode("latin-1", "replace"))
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
    kind, options = _options(content_type.encode("latin-1", "replace"))
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


def _options(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """``form-data; name="a"`` as ``form-data`` and ``{name: a}``."""
    kind, semicolon, rest = header.partition(b";")
    options = {}
    for key, quoted, bare in OPTION.findall(semicolon + rest):
        value = quoted.replace(b"\\\\", b"\\").replace(b'\\"', b'"')
        options[key.lower()] = value or bare.strip(b'" \t')
    return kind.strip().lower(), options


def _multipart(body: bytes, boundary: bytes) -> dict[str, Any]:
    if not boundary:
        raise InvalidBodyError("multipart/form-data without a boundary in its content type")
    if len(boundary) > MAX_BOUNDARY:
        raise _broken(f"its boundary has more than {MAX_BOUNDARY} bytes")
    data: dict[str, Any] = {}
    for number, (head, content) in enumerate(_parts(body, boundary), 1):
        _add(data, number, _disposition(head), content)
    return data


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Header lines and content of each part.

    The whole body is here: two searches find a part, and its content is copied once.

    Raises:
        InvalidBodyError: it does not begin or end with the boundary.
    """
    delimiter, count = b"\r\n--" + boundary, 0
    start = body.find(delimiter[2:])
    at = start + len(delimiter) - 2
    if start < 0 or body[:start].strip(b"\r\n"):
        raise _broken("it does not begin with its boundary")
    while not body.startswith(b"--", at):
        line = _line_end(body, at)
        head = body.find(b"\r\n\r\n", line, line + MAX_HEAD) if line >= 0 else -1
        end = _end_of_part(body, delimiter, head + 4) if head >= 0 else -1
        if head < 0 and len(body) - at > MAX_HEAD:
            raise _broken(f"no headers of at most {MAX_HEAD} bytes in part {count + 1}")
        if end < 0:
            shown = boundary.decode("latin-1")
            raise InvalidBodyError(
                f"the multipart body ends before its closing boundary '--{shown}--'; "
                f"{count} whole parts came"
            )
        yield body[line + 2 : head], body[head + 4 : end]
        count, at = count + 1, end + len(delimiter)


def _end_of_part(body: bytes, delimiter: bytes, at: int) -> int:
    """Where the next delimiter is that is no data; -1: nowhere."""
    while (found := body.find(delimiter, at)) >= 0:
        at = found + len(delimiter)
        if body.startswith(b"--", at) or _line_end(body, at) >= 0:
            return found
    return -1


def _line_end(body: bytes, at: int) -> int:
    """Where the line ends at ``at``, blanks aside; -1: it goes on."""
    if body.startswith(b"\r\n", at):
        return at
    blanks = BLANKS.match(body, at)
    return blanks.end() - 2 if blanks else -1


def _disposition(head: bytes) -> bytes:
    found = b""
    for line in head.split(b"\r\n") if head else ():
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or b"\r" in value or b"\n" in value:
            raise _broken(f"{ascii(line[:40])[1:]} is not a header")
        if name.lower() == b"content-disposition":
            found = value
    return found


def _add(data: dict[str, Any], number: int, disposition: bytes, content: bytes) -> None:
    """One part, to ``data``. A file beats a text field of the same key."""
    if number > MAX_FIELDS:
        raise InvalidBodyError(f"the form has more than {MAX_FIELDS} fields")
    _, options = _options(disposition)
    if b"name" not in options:
        raise InvalidBodyError(f"part {number} of the form has no name")
    name, file_name = _text(options[b"name"]), _file_name(options)
    if file_name is not None:
        _add_file(data, name, _base_name(file_name), content)
    elif not isinstance(data.get(name), dict):
        data[name] = _text_field(name, content)


def _add_file(data: dict[str, Any], name: str, file_name: str, content: bytes) -> None:
    if not file_name and not content:
        return  # a browser's file widget that nobody used
    files = data.get(name)
    if not isinstance(files, dict):
        files = data[name] = {}
    files[file_name or name] = io.BytesIO(content)


def _text_field(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidBodyError(f"the field {name!r} is not UTF-8: byte {error.start}") from None


def _broken(why: str) -> InvalidBodyError:
    return InvalidBodyError(f"the multipart body is broken: {why}")


def _file_name(options: dict[bytes, bytes]) -> str | None:
    if b"filename" in options:
        return _text(options[b"filename"])
    # Forbidden in forms by RFC 7578, and sent all the same by older Python clients.
    if b"filename*" in options:
        return _text(unquote_to_bytes(options[b"filename*"].split(b"'", 2)[-1]))
    return None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _base_name(file_name: str) -> str:
    """The name without directories of either kind, so that no script opens ``../../x``."""
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")
    return "" if name in {".", ".."} else name
