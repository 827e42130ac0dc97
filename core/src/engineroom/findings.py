"""What a package's author should know about it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TypeAlias

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
