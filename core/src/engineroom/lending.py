"""Lends scripts the names that today's libraries no longer have.

Scripts were written against the libraries of their day. A name is lent only where it is missing,
and only to code of the package: everybody else still gets an AttributeError.
"""

from __future__ import annotations

import functools
import importlib
import logging
import sys
import weakref
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from engineroom.package import Package
    from engineroom.settings import Settings

log = logging.getLogger("engineroom")

Find: TypeAlias = Callable[[str], "tuple[Any, str] | None"]

MOVED = {
    "sklearn.externals.joblib": "joblib",
    "sklearn.externals.six": "six",
    "sklearn.cross_validation": "sklearn.model_selection",
    "xml.etree.cElementTree": "xml.etree.ElementTree",
}
"""Modules that a script may still import under their old name."""

_stages: list[weakref.ref[Stage]] = []


class Stage:
    """What the adapters of libraries know about a script, and what was lent to it."""

    def __init__(self, package: Package, settings: Settings, device: str, engine: str = "") -> None:
        """``device`` is the setting as this process has to understand it, ``engine`` the name of
        the one whose parent class the script has.
        """
        self.package, self.settings = package, settings
        self.device, self.engine = device, engine
        self.lent: dict[str, str] = {}
        self._told: set[str] = set()
        self._warned: set[str] = set()
        self._is_loaded = False
        # Newest first: a package that is loaded again, with another setting, means that one.
        _stages[:] = [weakref.ref(self), *(known for known in _stages if known() is not None)]

    def warn(self, message: str) -> None:
        """Log a warning about the script, once."""
        if message not in self._warned:
            self._warned.add(message)
            log.warning("%s", message)

    def note(self, name: str, modern: str) -> None:
        """``name`` was lent; ``modern`` is how one writes it today."""
        self.lent.setdefault(name, modern)
        if self._is_loaded:
            self.tell()

    def tell(self) -> None:
        """Log what was lent, each name once: in one line when the script has been loaded."""
        self._is_loaded = True
        new = {name: modern for name, modern in self.lent.items() if name not in self._told}
        self._told.update(new)
        if new:
            pairs = ", ".join(f"{name} ({modern})" for name, modern in new.items())
            log.info("lent to the script, with today's spelling: %s", pairs)


def asking() -> Stage | None:
    """The stage of the script that called the function which calls this; None: no script did."""
    return _stage_of(sys._getframe(2))


def _stage_of(frame: FrameType | None) -> Stage | None:
    # `from library import name` asks through the import system.
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    for known in _stages if frame is not None else ():
        stage = known()
        if stage is not None and frame and stage.package.owns(frame.f_code.co_filename):
            return stage
    return None


def lend(module: ModuleType, find: Find, shown: str = "") -> None:
    """Answer scripts that ask ``module`` for a name it lacks. To do so again changes nothing.

    ``find(name)`` gives the value and its modern spelling, or None for a name it does not know.
    ``shown`` is the module as scripts write it, when its ``__name__`` is another.
    """
    previous = vars(module).get("__getattr__")
    if getattr(previous, "__module__", None) == __name__:
        return

    def lend_missing(name: str) -> Any:
        stage = None if name.startswith("__") else asking()
        found = find(name) if stage is not None and stage.settings.lent_names else None
        if stage is not None and found is not None:
            stage.note(f"{shown or module.__name__}.{name}", found[1])
            return found[0]
        if previous is not None:
            return previous(name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    vars(module)["__getattr__"] = lend_missing


class LentMethod:
    """A method that only scripts find. The function takes the object first."""

    def __init__(self, name: str, method: Callable[..., Any], modern: str) -> None:
        self.name, self.method, self.modern = name, method, modern

    def __get__(self, instance: Any, owner: type) -> Any:
        stage = asking()
        if stage is None or not stage.settings.lent_names:
            name = self.name.rpartition(".")[2]
            raise AttributeError(f"{owner.__name__!r} object has no attribute {name!r}")
        stage.note(self.name, self.modern)
        return self.method if instance is None else functools.partial(self.method, instance)


def lend_method(cls: type, name: str, method: Callable[..., Any], modern: str) -> None:
    """Likewise for a method of a class that lacks it."""
    if not hasattr(cls, name):
        setattr(cls, name, LentMethod(f"{cls.__name__}.{name}", method, modern))


def moved_module(name: str) -> str | None:
    """The name that the module ``name`` has today; None for one that never moved."""
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return None


def take_over(module: ModuleType, name: str) -> None:
    """Let ``module``'s name stand for the module ``name``."""
    sys.modules[module.__name__] = importlib.import_module(name)
