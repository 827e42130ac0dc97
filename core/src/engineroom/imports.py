"""Why an import of a script fails: what is missing, who brings it, and how it is installed."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import sys
import traceback

from engineroom.dependencies import Dependency, command, declared
from engineroom.distributions import (
    PYTHON_2,
    REMOVED,
    alike,
    distribution_of,
    is_own,
    on_platform,
    published,
)
from engineroom.lending import asking
from engineroom.package import Package
from engineroom.parents import parent_of_type
from engineroom.sources import not_python

NOT_IN = re.compile(r"cannot import name '([^']+)' from (?!partially)")
LIBRARY = re.compile(r"[\w.+-]+\.so[\w.]*(?=: cannot open shared object file)")
# Of a desktop. The builds of OpenCV for servers do without them.
SCREEN = ("libGL", "libgthread", "libglib", "libSM", "libXext", "libXrender")
NVIDIA = ("libcu", "libnv")


def import_failure(error: BaseException, package: Package) -> str:
    """One sentence for a person about ``error``; empty unless it is about an import."""
    words = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        words = _missing_module(error.name, str(error), package)
    elif isinstance(error, ImportError):
        words = _missing_name(error, package) or _missing_library(error)
    elif isinstance(error, SyntaxError) and package.owns(error.filename or ""):
        words = not_python(error)
    return words or ""


def pass_over(error: ImportError) -> None:
    """Go on without a name that a file of a script imports and does not use, and say so.

    Raises:
        ImportError: it is not one that an installed library has lost.
    """
    stage, caller = asking(), sys._getframe(1)
    library = sys.modules.get((error.name or "").partition(".")[0])
    file = getattr(library, "__file__", None)  # the lent modules have none
    # Of the package's own modules, one may be the module, and others may be where it failed.
    files = [file or "", *(it.filename for it in traceback.extract_tb(error.__traceback__)[1:])]
    if stage is None or file is None or any(map(stage.package.owns, files)):
        raise error
    words = import_failure(error, stage.package) or str(error)
    place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    stage.warn(f"{place}: {words}; passed over, since the file does not use it")


# --- a module that is not there


def _missing_module(module: str, message: str, package: Package) -> str:
    if module.startswith("model_service."):
        return message  # it names the engine that has the parent class
    return (
        _missing_file(module, package)
        or _missing_part(module, package)
        or _not_to_be_had(module, package)
        or _not_installed(module, package)
    )


def _missing_file(module: str, package: Package) -> str | None:
    """The words for a module of the package's own, to judge by the folders that are there."""
    top, dot, _ = module.partition(".")
    for base in (package.folder, package.root):
        if dot and (base / top).is_dir():
            path = base / module.replace(".", "/")
            return f"the script needs {module!r}, and there is no {path}.py in the package"
    for found in sorted(package.folder.iterdir()):
        alike = found.stem != top and found.stem.lower() == top.lower()
        if alike and (found.is_dir() or found.suffix == ".py"):
            return (
                f"the script needs the module {module!r}, and the package has {found}: upper and "
                "lower case count"
            )
    for pattern in (f"*/{top}.py", f"*/{top}/__init__.py", f"*/*/{top}.py"):
        for found in sorted(package.folder.glob(pattern)):
            if package.owns(str(found)):
                return (
                    f"the script needs the module {module!r}, which is {found}, a folder too deep "
                    f"to be found; put it into {package.folder}"
                )
    return None


def _missing_part(module: str, package: Package) -> str | None:
    """The words for a part that an imported library does not have."""
    top = module.partition(".")[0]
    if top == module or sys.modules.get(top) is None:
        return None
    return f"{module!r} does not exist in the installed {_installed(top)}{_wanted(top, package)}"


def _not_to_be_had(module: str, package: Package) -> str | None:
    """The words for a module that no command installs."""
    top = module.partition(".")[0]
    needs = f"the script needs the module {module!r}"
    if what := on_platform(module):
        return (
            f"{needs}, which is {what}; there is no such package to install: take the import out, "
            f"or put a module of that name into {package.folder}"
        )
    if top in PYTHON_2:
        return f"{needs} of Python 2; import {PYTHON_2[top]!r} instead"
    if top in REMOVED:
        last, distribution = REMOVED[top]
        advice = f", or run: pip install {distribution}" if distribution else ""
        return f"{needs}, which Python no longer has since {last}; use an older Python{advice}"
    return None


def _not_installed(module: str, package: Package) -> str:
    needs = f"the script needs the module {module!r}, which is not installed"
    if dependency := _declaration(module, package):
        declares = f"config.json declares it as {dependency.declared}"
        return f"{needs}; {declares}; run: {command(package)} --install"
    needs += " and which config.json does not declare"
    top = module.partition(".")[0]
    if (known := parent_of_type(top)) and not known.engine:
        return f"{needs}: {known.needs}; {known.instead}"
    if is_own(module):
        return (
            f"the script needs the module {module!r}, by its name a file of the author's, and the "
            f"package has none: put {top}.py, or the folder {top}, into {package.folder}"
        )
    distribution = shlex.quote(distribution_of(module))
    return f"{needs}; run: pip install {distribution}, or put it into {package.folder}"


# --- a module without the name that is asked of it


def _missing_name(error: ImportError, package: Package) -> str | None:
    found, module = NOT_IN.match(str(error)), error.name or ""
    if not found or not module or module.startswith("model_service"):
        return None
    if error.path and package.owns(error.path):
        return f"{error.path} has no {found[1]!r}"
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"{module!r} of Python {sys.version.split()[0]} has no {found[1]!r}"
    return (
        f"{module!r} of the installed {_installed(top)} has no {found[1]!r}{_wanted(top, package)}"
    )


def _missing_library(error: ImportError) -> str | None:
    found = LIBRARY.search(str(error))
    if found is None:
        return None
    advice = ""
    if found[0].startswith(SCREEN):
        advice = "; OpenCV does without: pip uninstall opencv-python, then pip install "
        advice += "opencv-python-headless"
    elif found[0].startswith(NVIDIA):
        advice = "; it is NVIDIA's: install CUDA, or a build for the CPU"
    return f"the system lacks a library that a module needs: {error}{advice}"


# --- what is there, and what config.json says


def _installed(top: str) -> str:
    """``numpy 2.4.6``: the distribution that brings the imported module ``top``."""
    for name in importlib.metadata.packages_distributions().get(top, ()):
        return f"{name} {importlib.metadata.version(name)}"
    return f"{top} {getattr(sys.modules.get(top), '__version__', '')}".rstrip()


def _wanted(top: str, package: Package) -> str:
    dependency = _declaration(top, package)
    if dependency is None:
        return "; config.json does not say for which version the script was written"
    return f"; config.json declares {dependency.declared}; see: {command(package)}"


def _declaration(module: str, package: Package) -> Dependency | None:
    """What config.json declares that brings ``module``."""
    top = module.partition(".")[0]
    names = {published(re.split("[<>=]", name)[0])[0] for name in (distribution_of(module), top)}
    enough = {name for wanted in names for name in alike(wanted)}
    return next((found for found in declared(package)[0] if found.name in enough), None)
