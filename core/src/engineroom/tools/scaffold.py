"""``engineroom init``: copies an engine's template."""

from __future__ import annotations

import shutil
from pathlib import Path

from engineroom.errors import EngineError, PackageError
from engineroom.plugins import Registry
from engineroom.settings import Settings

LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


def write_package(folder: Path, engine: str, settings: Settings) -> list[Path]:
    """Copy the template of ``engine`` into ``folder``; the files, relative to it.

    Raises:
        EngineError: no such engine, or one without a template.
        PackageError: the folder holds something already.
    """
    template = Registry(settings).engine(engine).template()
    if template is None:
        raise EngineError(f"engine {engine!r} brings no template")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PackageError(f"{folder} exists already and is not empty; choose another folder")
    shutil.copytree(template, folder, dirs_exist_ok=True, ignore=LEFT_OUT)
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
