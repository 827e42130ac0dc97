"""The environment that a plan is for: this one, or a venv that sees what is installed here."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

import engineroom
from engineroom.errors import SettingError
from engineroom.plugins import ENGINES

PATH_FILE = "engineroom-parent.pth"
# As installers write it: also for folders whose path is too long or has blanks.
COMMAND = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys
from engineroom.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""


@dataclasses.dataclass(frozen=True)
class Environment:
    """An interpreter, and the ``sys.path`` that a script would have there."""

    python: str
    home: Path
    path: list[str] | None = None
    """None: this process's own."""


def this_environment() -> Environment:
    """The one that runs us."""
    return Environment(sys.executable, Path(sys.prefix))


def look_into(folder: Path) -> Environment | None:
    """The venv in ``folder``; None where there is nothing yet.

    Raises:
        SettingError: the folder holds something else, or a venv of another Python.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    python = folder.absolute() / "bin" / "python"
    if not (folder / "pyvenv.cfg").is_file() or not python.exists():
        raise SettingError(f"--venv {folder}: there is something, and it is no venv")
    ask = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.path[1:]]))"
    done = subprocess.run([str(python), "-c", ask], capture_output=True, text=True)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SettingError(f"--venv {folder}: its Python does not run: {why}")
    version, path = json.loads(done.stdout)
    if version.split(".")[:2] != platform.python_version().split(".")[:2]:
        raise SettingError(
            f"--venv {folder}: it has Python {version}, engineroom runs on "
            f"{platform.python_version()}; name another folder"
        )
    return Environment(str(python), folder.absolute(), path)


def prepare(folder: Path) -> tuple[Environment, str]:
    """Make a venv in ``folder`` unless one is there, give it ``engineroom``; say what was done.

    It sees what is installed here, in the same sources and without a copy, after what is installed
    in itself: frameworks are gigabytes.

    Raises:
        SettingError: the folder holds something else, or Python cannot make a venv.
    """
    found = look_into(folder)
    if found is None:
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SettingError(
                f"--venv {folder}: Python could not make it ({error}); on Debian and Ubuntu run: "
                "apt install python3-venv"
            ) from None
        found = look_into(folder)
    assert found is not None
    if _has_engineroom(found):
        return found, f"{folder} has an engineroom of its own; used as it is"
    parents = _parents()
    (_site_packages(found) / PATH_FILE).write_text(
        "".join(f"import site; site.addsitedir({parent!r})\n" for parent in parents)
    )
    script = found.home / "bin" / "engineroom"
    script.write_text(COMMAND.format(python=found.python))
    script.chmod(0o755)
    engines = sorted({entry.name for entry in importlib.metadata.entry_points(group=ENGINES)})
    done = (
        f"{folder} sees what is installed in {sys.prefix} (engineroom {engineroom.__version__}, "
        f"engines: {', '.join(engines) or 'none'}); what is installed in it comes first"
    )
    return look_into(folder) or found, done


def _has_engineroom(environment: Environment) -> bool:
    finder = importlib.metadata.Distribution.discover
    own = [path for path in environment.path or () if Path(path).is_relative_to(environment.home)]
    return any(finder(name="engineroom", path=own))


def _site_packages(environment: Environment) -> Path:
    places = [Path(path) for path in environment.path or ()]
    return next(
        place
        for place in places
        if place.name == "site-packages" and place.is_relative_to(environment.home)
    )


def _parents() -> list[str]:
    """The folders of ``sys.path`` that hold this engineroom and installed distributions."""
    own = str(Path(engineroom.__file__).parents[1])
    here = os.getcwd()
    others = [
        path for path in sys.path if path and path != here and any(Path(path).glob("*.dist-info"))
    ]
    return list(dict.fromkeys([own, *others]))
