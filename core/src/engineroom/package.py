"""Finds the model folder, reads ``config.json`` leniently, names the script.

The layout is the ModelArts contract's: a package is a folder that holds ``model/``. People mix up
the two levels all the time, so the parent, ``model/`` itself, a folder with the files directly in
it and a bare model file are all accepted.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engineroom.errors import PackageError

SCRIPT = "customize_service.py"
CONFIG = "config.json"
MAX_REPAIRS = 50


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
class Package:
    """A package on disk. All paths are absolute."""

    root: Path
    """The script's working directory: the parent of ``model/``, or the only folder there is."""
    folder: Path
    """Where the model, the script and ``config.json`` are."""
    script: Path | None
    file: Path | None = None
    """The model file, when the user named one instead of a folder."""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        """The model's name unless a setting says otherwise."""
        return self.file.stem if self.file else self.root.name

    @property
    def model_type(self) -> str | None:
        """``model_type`` of config.json, when it is a non-empty string."""
        value = self.config.get("model_type")
        return value.strip() or None if isinstance(value, str) else None

    def inside(self) -> list[Path]:
        """Packages below this folder, for the message about a wrong folder level."""
        levels = ("*", "*/*", "*/*/*")
        found = sorted(p.parent for level in levels for p in self.folder.glob(f"{level}/{SCRIPT}"))
        return [place.parent if place.name == "model" else place for place in found[:3]]

    def owns(self, file: str) -> bool:
        """Whether ``file`` is the package's own code, not that of an environment in it."""
        root = f"{self.root}{os.sep}"
        return file.startswith(root) and "site-packages" not in file[len(root) :]

    def files(
        self, patterns: tuple[str, ...], fits: Callable[[Path], bool] = lambda _: True
    ) -> list[Path]:
        """Model files or folders matching the glob ``patterns``: the nearest level that has any.

        ``fits`` looks at what is in them. A pattern that begins with ``!`` takes files out. Only
        this folder counts where packages lie in it: what they hold is their own.
        """
        wanted = [pattern for pattern in patterns if pattern[0] != "!"]
        unwanted = [pattern[1:] for pattern in patterns if pattern[0] == "!"]
        if self.file:
            return [self.file] if _matches(self.file, wanted, unwanted) and fits(self.file) else []
        is_above = not self.script and not self.config and self.inside()
        for prefix in ("",) if is_above else ("", "*/", "*/*/"):
            found = {
                path
                for pattern in wanted
                for path in self.folder.glob(prefix + pattern)
                if _matches(path, wanted, unwanted) and fits(path)
            }
            if found:
                return sorted(found)
        return []


def _matches(path: Path, wanted: list[str], unwanted: list[str]) -> bool:
    return any(map(path.match, wanted)) and not any(map(path.match, unwanted))


def open_package(path: str | os.PathLike[str]) -> Package:
    """The package at ``path``.

    Raises:
        PackageError: nothing there, or nothing that looks like a package.
    """
    # Links stay: the files of a model cache are links whose targets have no names.
    place = Path(os.path.abspath(Path(path).expanduser()))
    if not place.exists():
        raise PackageError(f"{path}: no such file or folder")
    if place.is_file():
        if place.suffix == ".py" or place.name == CONFIG:
            raise PackageError(
                f"{path}: name the package's folder, not a file in it: {place.parent}"
            )
        return Package(root=place.parent, folder=place.parent, script=None, file=place)
    folder = _model_folder(place)
    script = folder / SCRIPT
    config, findings = _read_config(folder / CONFIG)
    return Package(
        root=folder.parent if folder.name == "model" else folder,
        folder=folder,
        script=script if script.is_file() else None,
        config=config,
        findings=tuple(findings),
    )


def _model_folder(place: Path) -> Path:
    # A script beside a folder called model/ means that model/ is the author's own Python package.
    if (place / "model").is_dir() and not (place / SCRIPT).is_file():
        return place / "model"
    return place


def _read_config(path: Path) -> tuple[dict[str, Any], list[Finding]]:
    """config.json, however it is written: nothing in it stops a package from being served."""
    if not path.is_file():
        return {}, []
    text, findings = _decoded(path)
    if not text.strip():
        return {}, [*findings, Finding("warning", path, "the file is empty; read as {}", 1)]
    value, repairs = _parsed(text, path)
    findings += repairs
    if isinstance(value, dict):
        return value, findings
    if value is not _BROKEN:
        kind = type(value).__name__
        findings.append(Finding("warning", path, f"expected an object, got {kind}; ignored", 1))
    return {}, findings


def _decoded(path: Path) -> tuple[str, list[Finding]]:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        # Packages written on Chinese Windows; gb18030 is the superset of GBK.
        text = raw.decode("gb18030", errors="replace")
        return text, [Finding("warning", path, "not UTF-8; read as GBK", 1)]


def _parsed(text: str, path: Path) -> tuple[Any, list[Finding]]:
    """JSON with comments, trailing commas and missing commas mended; ``_BROKEN`` beyond that."""
    findings: list[Finding] = []
    for odd, what in ((_COMMENT, "comment"), (_TRAILING_COMMA, "trailing comma")):
        for match in odd.finditer(text):
            if match[1]:
                message = f"{what} in JSON; ignored"
                findings.append(Finding("warning", path, message, *_place(text, match.start())))
        text = odd.sub(_blanked, text)
    for _ in range(MAX_REPAIRS):
        try:
            return json.loads(text, strict=False), findings
        except json.JSONDecodeError as error:
            place = (error.lineno, error.colno)
            if error.msg != "Expecting ',' delimiter" or error.pos >= len(text):
                message = f"not JSON ({error.msg}); the file is ignored"
                return _BROKEN, [*findings, Finding("warning", path, message, *place)]
            findings.append(Finding("warning", path, "missing comma; added", *place))
            # In the place of a blank where there is one, so that later columns stay right.
            before, after = text[: error.pos], text[error.pos :]
            text = (before[:-1] if before[-1:] in (" ", "\t") else before) + "," + after
        except (RecursionError, ValueError) as error:
            message = f"not JSON ({error}); the file is ignored"
            return _BROKEN, [*findings, Finding("warning", path, message, 1)]
    message = f"more than {MAX_REPAIRS} missing commas; the file is ignored"
    return _BROKEN, [*findings, Finding("warning", path, message, 1)]


_BROKEN = object()
# Each skips strings, and captures what is to be blanked.
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|(//[^\n]*|/\*.*?\*/)', re.DOTALL)
_TRAILING_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|(,)(?=\s*[}\]])', re.DOTALL)


def _blanked(match: re.Match[str]) -> str:
    # Newlines stay, so that later findings name the right line.
    return re.sub(r"[^\n]", " ", match[1]) if match[1] else match[0]


def _place(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
