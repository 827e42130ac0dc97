"""What is said about a model file while it is read: warnings in the log, and why it failed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineroom.errors import LoadError, ModelFileError

if TYPE_CHECKING:
    from engineroom.lending import Stage

log = logging.getLogger("engineroom")

VERSION = re.compile(rb"_sklearn_version.{1,12}?(\d+\.\d+(?:\.\d+)?)", re.DOTALL)
"""What estimators put into their state, in a pickle that is not compressed."""
XGBOOST = re.compile(r"\[[\d:]+\] WARNING: \S+:\d+: ")
"""What XGBoost's warnings begin with."""

_stage: Stage | None = None
_show: Callable[..., None] = warnings.showwarning


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Log the warnings that come while a model is read, each in one line.

    Raises:
        ModelFileError: for whatever the block raises.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except LoadError:
            raise
        except Exception as error:  # a pickle may raise anything
            raise ModelFileError(f"{path}: cannot be read: {_reason(error, path)}") from error
    for message in _messages(caught):
        log.warning("%s: %s", path.name, message)


def log_versions(stage: Stage) -> None:
    """Let the script of ``stage`` read old models with one line in the log for each version.

    In place of the four that scikit-learn's warning takes for every estimator.
    """
    global _stage, _show
    _stage = stage
    if warnings.showwarning is not _shown:
        _show, warnings.showwarning = warnings.showwarning, _shown  # type: ignore[assignment]


def _shown(message: Warning | str, *more: Any) -> None:
    version = getattr(message, "original_sklearn_version", None)
    if version is None or _stage is None:
        _show(message, *more)
    else:
        _stage.warn(f"the script reads a model {_made_with(version)}")


def _made_with(version: str) -> str:
    return (
        f"made with scikit-learn {version}, installed is {_installed()}: compare its answers with "
        "those it gave there"
    )


def _messages(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    found: dict[str, None] = {}
    for warning in caught:
        # scikit-learn's InconsistentVersionWarning, one for each estimator in the file.
        version = getattr(warning.message, "original_sklearn_version", None)
        if version is not None:
            found[_made_with(version)] = None
        elif not issubclass(warning.category, DeprecationWarning):  # for developers
            found[XGBOOST.sub("", first_line(warning.message))] = None
    return list(found)


def _reason(error: Exception, path: Path) -> str:
    text = first_line(error)
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("sklearn."):
        top = str(error.name).partition(".")[0]
        return (
            f"it needs the module {error.name!r}, which is not installed; run pip install {top}, "
            "or, if it is your own, put it beside a customize_service.py"
        )
    if "__main__" in text:
        return (
            f"{text}: the class was defined in the script that made the file; put it into a module "
            "beside a customize_service.py that imports it, and write the file again"
        )
    version = VERSION.search(path.read_bytes())
    made = f"it was made with scikit-learn {version[1].decode()}, " if version else ""
    advice = "install that one, or train it again" if version else "the file may be damaged"
    return (
        f"{type(error).__name__}: {text}; {made}the installed scikit-learn is {_installed()}: "
        f"{advice}"
    )


def first_line(error: object) -> str:
    """What libraries say first; XGBoost adds its stack, scikit-learn a page of advice."""
    return str(error).strip().partition("\n")[0].rstrip(":")


def _installed() -> str:
    return importlib.metadata.version("scikit-learn")
