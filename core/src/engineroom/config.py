"""Reads config.json, however it is written, and remembers where each value stands.

Published files have comments, trailing and missing commas, single quotes, full-width punctuation,
``True`` and ``None``, and are in GBK or UTF-16. Each is read as what its author meant, with a
finding; nothing in the file stops a package from being served.
Source: ModelArts contract, "config.json".
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from engineroom.findings import Finding, Keys, Remark

Places: TypeAlias = Mapping[Keys, tuple[int, int]]
"""Where the name of each value begins in the text, and where the value does."""
MAX_REPAIRS = 50
"""Missing marks and values in one file; with more it is something else than JSON."""
MAX_DEPTH = 100


@dataclasses.dataclass(frozen=True)
class Document:
    """A config.json that has been read."""

    path: Path
    value: dict[str, Any]
    """Empty where nobody can tell what was meant."""
    findings: tuple[Finding, ...] = ()
    """Repairs, in the order of their places."""
    text: str = ""
    places: Places = dataclasses.field(default_factory=dict)

    def locate(self, remark: Remark) -> Finding:
        """The finding of ``remark``; what stands inside a string has the string's place."""
        keys = remark.keys
        while keys and keys not in self.places:
            keys = keys[:-1]
        name, value = self.places.get(keys, (0, 0))
        offset = name if remark.of_key else value
        return _finding(self.path, remark.message, self.text, offset, remark.level)


def read_config(path: Path) -> Document:
    """The config.json at ``path``; an empty one where there is none."""
    if not path.is_file():
        return Document(path, {})
    try:
        text, findings = _decoded(path, path.read_bytes())
    except OSError as error:
        message = f"cannot be read ({error.strerror}); the file is ignored"
        return Document(path, {}, (Finding("warning", path, message, 1, 1),))
    if not text.strip():
        empty = Finding("warning", path, "the file is empty; read as {}", 1, 1)
        return Document(path, {}, (*findings, empty))
    return _read(path, text, findings)


def read_text(text: str) -> Any:
    """The value of JSON inside a string, as leniently; None where nobody can tell."""
    reader = _Reader(text)
    return reader.value if reader.failure is None else None


def _read(path: Path, text: str, findings: list[Finding]) -> Document:
    reader = _Reader(text)
    if reader.failure is not None:
        message, offset = reader.failure
        last = _finding(path, f"not JSON ({message}); the file is ignored", text, offset)
        # The repairs before it mended nothing.
        return Document(path, {}, (*findings, last), text)
    repairs = sorted(reader.repairs, key=lambda repair: repair[1])
    findings += [_finding(path, message, text, offset) for message, offset in repairs]
    value, places = reader.value, reader.places
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value, places = value[0], {keys[1:]: place for keys, place in places.items() if keys}
        findings.append(_finding(path, "an object in a list; read as the object", text, 0))
    elif isinstance(value, str) and isinstance(inner := read_text(value), dict):
        value = inner
        findings.append(_finding(path, "an object in a string; read as the object", text, 0))
    elif not isinstance(value, dict):
        kind = type(value).__name__
        message = f"expected an object, got {kind}; the file is ignored"
        findings.append(_finding(path, message, text, 0))
        value = {}
    return Document(path, value, tuple(findings), text, places)


def _finding(path: Path, message: str, text: str, offset: int, level: str = "warning") -> Finding:
    line = text.count("\n", 0, offset) + 1
    return Finding(level, path, message, line, offset - text.rfind("\n", 0, offset))


def _decoded(path: Path, raw: bytes) -> tuple[str, list[Finding]]:
    encoding = json.detect_encoding(raw)  # by its byte-order mark or its zeros
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        # Packages written on Chinese Windows; gb18030 is the superset of GBK.
        text = raw.decode("gb18030", errors="replace")
        before = raw[: error.start].decode("gb18030", errors="replace")
        return text, [_finding(path, "not UTF-8; read as GBK", text, len(before))]
    if encoding.startswith("utf-8"):
        return text, []
    text = text.removeprefix("\ufeff")
    return text, [_finding(path, f"not UTF-8; read as {encoding.upper()[:6]}", text, 0)]


class _UnreadableError(Exception):
    """Nobody can tell what was meant: a message, and where."""


END = ""
_TOKEN = re.compile(
    r"""(?P<blank>[\s\ufeff]+)
      | (?P<comment>//[^\n]*|\#[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'|“[^“”]*”)
      | (?P<mark>[{}\[\]:,：，])
      | (?P<word>[^\s{}\[\]:,：，"'“”\#/]+)""",
    re.DOTALL | re.VERBOSE,
)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_LITERALS: dict[str, Any] = {
    "true": True, "false": False, "null": None, "none": None, "undefined": None, "nan": math.nan,
    "infinity": math.inf, "-infinity": -math.inf,
}  # fmt: skip


class _Reader:
    """Reads a text from left to right, one token ahead, and takes note of what it mends."""

    def __init__(self, text: str) -> None:
        self.repairs: list[tuple[str, int]] = []
        self.failure: tuple[str, int] | None = None
        self.places: dict[Keys, tuple[int, int]] = {}
        self.value: Any = None
        self._mended = 0
        self._tokens = self._split(text)
        try:
            self._next()
            self.value = self._value((), self._offset)
            if self._token != END:
                self._note("text after the end; ignored")
        except _UnreadableError as error:
            message, offset = error.args
            self.failure = message, offset

    # --- tokens

    def _split(self, text: str) -> Iterator[tuple[str, str, int]]:
        offset = 0
        while offset < len(text):
            match = _TOKEN.match(text, offset)
            if match is None:
                quoted = text[offset] in "\"'“"
                what = "a string without its closing quote" if quoted else repr(text[offset])
                raise _UnreadableError(what, offset)
            kind, token = str(match.lastgroup), match[0]
            if kind == "comment":
                self._note("comment in JSON; ignored", offset)
            elif kind != "blank":
                yield kind, token, offset
            offset = match.end()
        while True:
            yield "end", END, offset

    def _next(self) -> None:
        self._kind, self._token, self._offset = next(self._tokens)
        if self._token in ("，", "："):
            self._note(f"full-width {self._token!r}; read as a plain one", once=True)
            self._token = {"，": ",", "：": ":"}[self._token]

    def _note(self, message: str, offset: int | None = None, once: bool = False) -> None:
        """Take note of an oddity; one that fills whole files only ``once``."""
        if not once or all(message != known for known, _ in self.repairs):
            self.repairs.append((message, self._offset if offset is None else offset))

    def _mend(self, message: str) -> None:
        self._mended += 1
        if self._mended > MAX_REPAIRS:
            self._give_up(f"it lacks more than {MAX_REPAIRS} marks")
        self._note(message)

    def _give_up(self, message: str) -> NoReturn:
        raise _UnreadableError(message, self._offset)

    # --- values

    def _value(self, at: Keys, name: int) -> Any:
        """``name`` is where the name of the value is, or the value where it has none."""
        if len(at) > MAX_DEPTH:
            self._give_up("it is nested too deeply")
        self.places[at] = (name, self._offset)
        if self._kind == "string":
            return self._string()
        if self._kind == "word":
            return self._word()
        if self._token == "{":
            return self._object(at)
        if self._token == "[":
            return [self._value((*at, index), self._offset) for index in self._members("]")]
        if self._token in (",", "}", "]"):
            self._mend("missing value; read as null")
            return None
        self._give_up("it ends too soon" if self._token == END else f"unexpected {self._token!r}")

    def _object(self, at: Keys) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for _ in self._members("}"):
            offset, key = self._offset, self._key()
            if key in members:
                name = json.dumps(key, ensure_ascii=False)[:60]
                self._note(f"{name} is there twice; read as the last one", offset)
            members[key] = self._value((*at, key), offset)
        return members

    def _members(self, closing: str) -> Iterator[int]:
        """Counts the members, each of which the caller reads, and reads what is around them."""
        self._next()
        count, comma = 0, -1
        while self._token not in ("}", "]", END):
            if self._token == ",":
                if comma >= 0 or not count:
                    self._note("one comma too many; ignored")
                comma = self._offset
                self._next()
                continue
            if count and comma < 0:
                self._mend("missing comma; added")
            yield count
            count, comma = count + 1, -1
        if comma >= 0 and count:
            self._note("trailing comma in JSON; ignored", comma)
        if self._token == closing:
            self._next()
        else:  # whatever is here closes what is around
            self._mend(f"missing {closing}; added")

    def _key(self) -> str:
        if self._kind not in ("string", "word"):
            self._give_up(f"expected a name, found {self._token!r}")
        if self._kind == "string":
            key = self._string()
        else:
            self._note("a name without quotes; read as text", once=True)
            key = self._token
            self._next()
        if self._token == ":":
            self._next()
        elif self._token not in (",", "}"):
            self._mend("missing colon; added")
        return key

    def _word(self) -> Any:
        word, offset = self._token, self._offset
        value: Any
        if number := _NUMBER.fullmatch(word):
            value = self._number(number)
        elif word.lower() in _LITERALS:
            value = _LITERALS[word.lower()]
            if word not in ("true", "false", "null"):
                self._note(f"{word} is not JSON; read as {json.dumps(value)}", once=True)
        else:
            try:
                value = float(word)
                self._note(f"{word} is not how JSON writes a number; read as {value:g}", offset)
            except ValueError:
                value = word
                self._note("text without quotes; read as text", offset)
        self._next()
        return value

    def _number(self, number: re.Match[str]) -> int | float:
        if number[1] or number[2]:
            return float(number[0])
        try:
            return int(number[0])
        except ValueError:
            self._give_up(f"a number of {len(number[0])} digits")

    def _string(self) -> str:
        token, body = self._token, self._token[1:-1]
        if token[0] != '"':
            self._note(f"{token[0]} as a quote; read as a plain one", once=True)
            body = re.sub(r"""(\\[^'])|\\?(["'])""", _requoted, body, flags=re.DOTALL)
        if "\n" in body:
            self._note("a line break inside a string; kept")
        try:
            text: str = json.loads(f'"{body}"', strict=False)
        except ValueError:
            self._note("a backslash that escapes nothing; kept")
            text = json.loads(f'"{_ESCAPE.sub(_doubled, body)}"', strict=False)
        self._next()
        # Half a surrogate pair could be neither logged nor answered.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_ESCAPE = re.compile(r'(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})|\\(.?)', re.DOTALL)


def _doubled(match: re.Match[str]) -> str:
    return match[1] or f"\\\\{match[2]}"


def _requoted(match: re.Match[str]) -> str:
    return match[1] or {"'": "'", '"': '\\"'}[match[2]]
