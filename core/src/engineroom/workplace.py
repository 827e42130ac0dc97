"""The working directory of a script: private to its process, and it looks like the package.

Scripts open ``model/labels.json`` relative to it, and write temporary files into it, some under
fixed names. So it is a folder of its own in which the package's files appear: small ones as copies,
since those are what a script rewrites, large ones as links. ``model/`` is there whatever the user's
folder is called, and ``model/1`` where the code asks for it.
Source: ModelArts contract, "Loading environment".
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from engineroom.package import Package

SCRATCH = "ENGINEROOM_SCRATCH"
"""Variable with a folder that a server removes at its end, however its workers ended."""
COPIED_BYTES = 65_536
MAX_ENTRIES = 2000
"""More than so many files are a data set, or somebody's home: then folders are linked whole."""
VERSION = "model/1"
"""Where the platform put the model of a service; some scripts open files there."""

# Not weak: a folder would outlive a model that nobody has unloaded.
_open: set[Workplace] = set()


class Workplace:
    """A working directory for one package, until :meth:`close`."""

    def __init__(self, package: Package) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="engineroom-", dir=os.environ.get(SCRATCH)))
        self._room = MAX_ENTRIES
        _open.add(self)
        places = [self.path / "model"]
        code = [*package.folder.glob("*.py"), *package.folder.glob("*/*.py")]
        if any(VERSION.encode() in path.read_bytes() for path in code if path.is_file()):
            places.append(self.path / VERSION)
        for place in places:
            if package.folder.name == "model" or not (package.root / "model").exists():
                self._show(package.folder, place)
        self._show(package.root, self.path, is_deep=package.root == package.folder)

    def close(self) -> None:
        """Remove it."""
        _open.discard(self)
        shutil.rmtree(self.path, ignore_errors=True)

    def _show(self, source: Path, target: Path, is_deep: bool = True) -> None:
        """Let the files in ``source`` appear in ``target``; ``is_deep``: in its folders, too."""
        entries = [entry for entry in os.scandir(source) if entry.name != "__pycache__"]
        self._room -= len(entries)
        if self._room < 0:
            if not target.exists():
                target.symlink_to(source)
            return
        target.mkdir(exist_ok=True)
        for entry in entries:
            place = target / entry.name
            if place.exists():
                continue
            if entry.is_dir() and is_deep and not _is_apart(entry):
                self._show(Path(entry.path), place)
            elif (
                entry.is_file()
                and entry.stat().st_size <= COPIED_BYTES
                and os.access(entry.path, os.R_OK)
            ):
                shutil.copy(entry, place)
            else:
                place.symlink_to(entry.path)


def _is_apart(folder: os.DirEntry[str]) -> bool:
    """Whether a folder holds what no script writes to: a repository, an environment."""
    return folder.name[0] == "." or os.path.exists(os.path.join(folder.path, "pyvenv.cfg"))


def close_all() -> None:
    """Remove what is still there: for a process that ends without a word to its models."""
    for workplace in list(_open):
        workplace.close()


atexit.register(close_all)
