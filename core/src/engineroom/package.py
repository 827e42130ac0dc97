"""Finds the model folder, names the script and the model files.

The layout is the ModelArts contract's: a package is a folder that holds ``model/``. People mix up
the two levels all the time, so the parent, ``model/`` itself, a folder with the files directly in
it and a bare model file are all accepted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engineroom.apis import Api, read_apis
from engineroom.config import Document, read_config
from engineroom.errors import PackageError

SCRIPT = "customize_service.py"
CONFIG = "config.json"
MANY_FILES = 5000
MAX_POINTER_BYTES = 1024


@dataclasses.dataclass(frozen=True)
class Package:
    """A package on disk. All paths are absolute."""

    root: Path
    """The script's working directory: the parent of ``model/``, or the only folder there is."""
    folder: Path
    """Where the model, the script and ``config.json`` are."""
    script: Path | None
    document: Document
    """The config.json, with the places of what is in it."""
    file: Path | None = None
    """The model file, when the user named one instead of a folder."""

    @property
    def config(self) -> dict[str, Any]:
        """What config.json holds; empty where there is none."""
        return self.document.value

    @property
    def name(self) -> str:
        """The model's name unless a setting says otherwise."""
        return self.file.stem if self.file else self.root.name

    @property
    def model_type(self) -> str | None:
        """``model_type`` of config.json, when it is a non-empty string."""
        value = self.config.get("model_type")
        return value.strip() or None if isinstance(value, str) else None

    @functools.cached_property
    def apis(self) -> list[Api]:
        """What config.json declares, as it is read; often nothing."""
        return read_apis(self.config)[0]

    def inside(self) -> list[Path]:
        """Packages below this folder, for the message about a wrong folder level."""
        levels = ("*", "*/*", "*/*/*")
        found = sorted(p.parent for level in levels for p in self.folder.glob(f"{level}/{SCRIPT}"))
        return [self._root_of(place) for place in found[:3]]

    def around(self) -> list[Path]:
        """Likewise the package that this folder is a part of."""
        places = self.folder.parents[:3]
        return [self._root_of(place) for place in places if (place / SCRIPT).is_file()]

    def _root_of(self, place: Path) -> Path:
        # Of model/model/ only the inner one is a package: the outer one means this folder again.
        is_inner = place.name == "model" and place.parent != self.folder
        return place.parent if is_inner else place

    @functools.cached_property
    def pointers(self) -> list[Path]:
        """Files that a clone without git-lfs has left: a few lines of text about the true ones."""
        return [path for path in self.some_files() if is_pointer(path)]

    def pointers_in_words(self) -> str:
        """The sentence about :attr:`pointers`; empty where there are none."""
        if not self.pointers:
            return ""
        first, *others = self.pointers
        more = f", and {len(others)} more files are" if others else ""
        size = first.stat().st_size
        return (
            f"{first} is a git-lfs pointer of {size} bytes and not the file itself{more}; run "
            "there: git lfs pull"
        )

    def some_files(self) -> list[Path]:
        """Files of the package, not all where it has very many."""
        if self.file:
            return [self.file]
        found = itertools.islice(self.folder.rglob("[!.]*"), MANY_FILES)
        return [path for path in found if path.is_file() and self.owns(str(path))]

    def owns(self, file: str) -> bool:
        """Whether ``file`` is the package's own code, not that of an environment in it."""
        root = f"{self.root}{os.sep}"
        return file.startswith(root) and "site-packages" not in file[len(root) :]

    def relative(self, file: str) -> str:
        """``file`` as a person calls it who works on the package: without its folder."""
        return file.removeprefix(str(self.folder)).lstrip(os.sep)

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


def is_pointer(path: Path) -> bool:
    """Whether git-lfs has put ``path`` there in place of the file. Source: its specification."""
    with contextlib.suppress(OSError):
        if path.stat().st_size <= MAX_POINTER_BYTES:
            return path.read_bytes().startswith(b"version https://git-lfs.github.com/spec/")
    return False


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
        return Package(place.parent, place.parent, None, Document(place, {}), file=place)
    folder = _model_folder(place)
    script = folder / SCRIPT
    return Package(
        root=folder.parent if folder.name == "model" else folder,
        folder=folder,
        script=script if script.is_file() else None,
        document=read_config(folder / CONFIG),
    )


def _model_folder(place: Path) -> Path:
    # A script beside a folder called model/ means that model/ is the author's own Python package.
    if (place / "model").is_dir() and not (place / SCRIPT).is_file():
        return place / "model"
    return place
