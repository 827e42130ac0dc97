"""What a package's author should know about it, and how that is worded."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Keys: TypeAlias = tuple[str | int, ...]
"""The way to a value inside config.json: ``("apis", 0, "url")``."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about a package that its author should know. Lines and columns count from 1."""

    level: str
    """``error`` (it cannot be served), ``warning`` or ``note``."""
    path: Path
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        position = "".join(f":{part}" for part in (self.line, self.column) if part is not None)
        return f"{self.path}{position}: {self.level}: {self.message}"


@dataclasses.dataclass(frozen=True)
class Remark:
    """A finding about a value of config.json, before anybody has looked up where it stands."""

    keys: Keys
    message: str
    level: str = "warning"
    of_key: bool = False
    """Whether it is about the name of the value rather than the value."""


class Reader:
    """Reads a part of config.json, and remarks what it reads as something else.

    Everywhere ``at`` is where a value stands.
    """

    def __init__(self) -> None:
        self.remarks: list[Remark] = []

    def remark(self, at: Keys, message: str, level: str = "warning", key: bool = False) -> None:
        self.remarks.append(Remark(at, message, level, key))

    def named(
        self, node: dict[str, Any], at: Keys, known: Collection[str], also: Mapping[str, str] = {}
    ) -> dict[str, str]:
        """As :func:`named`; misspelt keys are remarked."""
        found = named(node, known, also)
        for name, key in found.items():
            if plain(name) != plain(key):
                self.remark((*at, key), f'"{key}" is "{name}" misspelt; read as it', key=True)
        return found


def named(
    node: dict[str, Any], known: Collection[str], also: Mapping[str, str] = {}
) -> dict[str, str]:
    """The keys of ``node`` by the names of ``known`` that they are, or that they mean.

    ``also``: names by other words for them.
    """
    found = {key: key for key in node if key in known}
    for key in node:
        name = also.get(plain(key))
        name = name if name in known else meant(key, known)
        if name and key not in known:
            found.setdefault(name, key)
    return found


def unknown(node: dict[str, Any], at: Keys, known: Collection[str]) -> Iterator[Remark]:
    """What ``node`` has besides the ``known`` keys."""
    for key in node:
        if key not in known and key != "$schema":
            near = meant(key, known)
            hint, level = (f"; did you mean {shown(near)}?", "warning") if near else ("", "note")
            message = f"{shown(key)} is no key of the contract; ignored{hint}"
            yield Remark((*at, key), message, level, of_key=True)


def meant(key: str, known: Collection[str]) -> str | None:
    """The name among ``known`` that ``key`` is a spelling or a misspelling of."""
    names = {plain(name): name for name in known}
    near = difflib.get_close_matches(plain(key), names, 1, 0.75)
    return names[near[0]] if near else None


def plain(key: str) -> str:
    """``key`` without its case and its marks."""
    return re.sub(r"[\W_]", "", key).lower()


def shown(value: Any) -> str:
    """``value`` for a message, whatever it is and however long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair
