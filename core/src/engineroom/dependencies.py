"""Reads ``dependencies`` of config.json leniently, and compares them with what is installed.

No pip and no network: it runs at each start. Source: ModelArts contract, "config.json":
``[{"installer": "pip", "packages": [{"package_name", "package_version", "restraint"}]}]``, where
order matters, within a group and across groups, and a ``.whl`` lies beside the model file.
"""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.metadata
import platform
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from engineroom.distributions import (
    alike,
    in_standard_library,
    module_of,
    on_platform,
    published,
)
from engineroom.package import CONFIG, Finding, Package

State: TypeAlias = Literal["satisfied", "differs", "missing", "unusable"]

SDISTS = (".tar.gz", ".zip")
OPERATORS = {
    "exact": "==", "equal": "==", "equals": "==", "eq": "==", "=": "==", "==": "==", "===": "==",
    "atleast": ">=", "min": ">=", "ge": ">=", "gte": ">=", ">=": ">=", ">": ">", "gt": ">",
    "atmost": "<=", "max": "<=", "le": "<=", "lte": "<=", "<=": "<=", "<": "<", "lt": "<",
    "~=": "~=", "!=": "!=",
}  # fmt: skip
ANY = {"", "*", "any", "latest", "none", "null"}
KEYS = {
    "package_name": ("package_name", "packagename", "name", "package"),
    "package_version": ("package_version", "packageversion", "version"),
    "restraint": ("restraint", "restraints", "constraint", "operator"),
}


@dataclasses.dataclass(frozen=True)
class Dependency:
    """One package that config.json declares."""

    group: int
    order: int
    """Place in the group; both count from 1."""
    declared: str
    """As config.json has it: ``sklearn==0.20.3``."""
    name: str = ""
    """Canonical, as published today; empty where nothing tells it."""
    written_name: str = ""
    """Canonical, as config.json has it, where that is not the name of today."""
    specifier: SpecifierSet = dataclasses.field(default_factory=SpecifierSet)
    extras: tuple[str, ...] = ()
    file: Path | None = None
    """A wheel or source distribution beside the model file."""
    url: str | None = None
    why_not: str | None = None
    """Why pip cannot install it, when that is known from its name alone."""
    why_needless: str | None = None

    def requirement(self, name: str | None = None) -> str:
        """What pip is to be given; ``name`` is another distribution that brings the same."""
        if self.file or self.url:
            return str(self.file or self.url)
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{name or self.name}{extras}{self.specifier}"


@dataclasses.dataclass(frozen=True)
class Status:
    """A dependency beside what is installed."""

    dependency: Dependency
    state: State
    reason: str
    """In words, such as ``2.4.6 is installed``."""
    distribution: str = ""
    """What is installed for it, under whatever name."""
    version: str = ""

    @property
    def requirement(self) -> str:
        """What pip is to be given, so that no two distributions bring the same files."""
        return self.dependency.requirement(self.distribution or None)


def findings(package: Package) -> list[Finding]:
    """What is odd in ``dependencies``, and in one line what of it is not installed here."""
    dependencies, found = declared(package)
    problems = [s for s in compare(dependencies, package) if s.state != "satisfied"]
    if problems:
        listed = ", ".join(f"{s.dependency.declared} ({s.reason})" for s in problems)
        if any(s.state == "missing" for s in problems):
            advice = f"run: {command(package)} --install"
        else:
            advice = f"see: {command(package)}"
        message = f"dependencies that are not here as declared: {listed}; {advice}"
        found.append(Finding("warning", package.folder / CONFIG, message))
    return found


def command(package: Package) -> str:
    """What a person types to see the plan."""
    return f"engineroom deps {shlex.quote(str(package.file or package.root))}"


def declared(package: Package) -> tuple[list[Dependency], list[Finding]]:
    """The declared packages in their order, and what was odd about how they are written."""
    reader = _Reader(package)
    reader.read(package.config.get("dependencies"))
    return reader.dependencies, reader.findings


class _Reader:
    """Nothing in it stops a package: what cannot be read is a finding."""

    def __init__(self, package: Package) -> None:
        self.folder = package.folder
        self.dependencies: list[Dependency] = []
        self.findings: list[Finding] = []
        self.group = 0

    def odd(self, message: str) -> None:
        """Note what was read otherwise than it is written."""
        place = f"dependencies, group {self.group}" if self.group else "dependencies"
        self.findings.append(Finding("warning", self.folder / CONFIG, f"{place}: {message}"))

    def read(self, value: Any) -> None:
        """``value`` is whatever config.json has."""
        if value is None:
            return
        if not isinstance(value, list):
            self.odd(f"expected a list of groups, got {_kind(value)}; read as its only group")
            value = [value]
        for self.group, group in enumerate(value, 1):
            for order, entry in enumerate(self.packages(group), 1):
                if dependency := self.dependency(order, entry):
                    self.dependencies.append(dependency)

    def packages(self, group: Any) -> list[Any]:
        """The packages of one group."""
        if not isinstance(group, dict) or ("packages" not in group and self.field(group, "name")):
            self.odd(f"expected installer and packages, got {_kind(group)}; read as packages")
            return self.listed(group)
        installer = str(group.get("installer") or "pip").strip()
        if not re.fullmatch(r"(python3? -m )?pip[\d.]*( install)?", installer, re.IGNORECASE):
            self.odd(f"installer {installer!r} is not pip; its packages are read as pip's")
        if "packages" not in group:
            self.odd("no packages; ignored")
        packages = group.get("packages")
        if isinstance(packages, list) or packages is None:
            if texts := [entry for entry in packages or [] if isinstance(entry, str)]:
                self.odd(
                    f"expected objects with a package_name, got {texts[0]!r}; read as the name"
                )
            return packages or []
        self.odd(f"expected packages as a list, got {_kind(packages)}; read as well as possible")
        return self.listed(packages)

    def listed(self, value: Any) -> list[Any]:
        """Packages that were not written as a list: one alone, or versions by name."""
        if isinstance(value, list):
            return value
        if isinstance(value, dict) and not self.field(value, "name"):
            return [{"package_name": name, "package_version": value[name]} for name in value]
        return [value]

    def field(self, entry: Any, key: str) -> Any:
        """A field of a package under one of its spellings."""
        if not isinstance(entry, dict):
            return None
        written = {str(k).strip().lower().replace("-", "_"): v for k, v in entry.items()}
        names = next(names for wanted, names in KEYS.items() if wanted.endswith(key))
        return next((written[name] for name in names if name in written), None)

    def dependency(self, order: int, entry: Any) -> Dependency | None:
        """One package; None, with a finding, where there is no name in it."""
        name = entry if isinstance(entry, str) else self.field(entry, "name")
        if not isinstance(name, str) or not name.strip():
            if entry not in (None, "", {}) and name != "":
                self.odd(f"package {order}: expected a package_name, got {_kind(entry)}; ignored")
            return None
        return self.named(order, name.strip(), self.specifier(name.strip(), entry))

    def specifier(self, name: str, entry: Any) -> SpecifierSet:
        """``package_version`` and ``restraint`` as pip writes them."""
        version = str(self.field(entry, "version") or "").strip()
        restraint = str(self.field(entry, "restraint") or "").strip()
        if version.lower() in ANY:
            return SpecifierSet()
        operator = OPERATORS.get(re.sub(r"[\s_-]", "", restraint.lower()))
        if version[0] in "=<>!~":
            operator = ""
        elif operator is None:
            given = f"restraint {restraint!r}" if restraint else "a package_version, no restraint"
            self.odd(f"{name}: {given}; read as EXACT (there are EXACT, ATLEAST, ATMOST)")
            operator = "=="
        if operator not in ("==", "!=", ""):
            version = version.removesuffix(".*")
        version = re.sub(r"^=(?!=)", "==", version)
        try:
            return SpecifierSet(operator + version)
        except InvalidSpecifier:
            self.odd(f"{name}: {version!r} is not a version; read as any")
            return SpecifierSet()

    def named(self, order: int, text: str, specifier: SpecifierSet) -> Dependency:
        """A package by name, by file or by URL."""
        dependency = Dependency(self.group, order, f"{text}{specifier}")
        if "://" in text:
            return _at_url(dependency, text)
        if text.lower().endswith((".whl", ".egg", *SDISTS)):
            return _in_file(dependency, text, self.folder)
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            self.odd(f"{text!r} is not the name of a package")
            return dataclasses.replace(dependency, why_not="not the name of a package")
        return _by_name(dependency, requirement, requirement.specifier & specifier)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: f"the text {value!r}", type(None): "null"}
    return kinds.get(type(value), f"{value!r}")[:80]


def _by_name(
    dependency: Dependency, requirement: Requirement, specifier: SpecifierSet
) -> Dependency:
    versions = [part.version for part in specifier]
    written = canonicalize_name(requirement.name)
    name, holds = published(requirement.name, versions[0] if versions else "")
    needless = why_not = None
    if requirement.marker is not None and not requirement.marker.evaluate():
        needless = f"not for this Python: {requirement.marker}"
    elif module := in_standard_library(requirement.name):
        needless = f"{module} is in Python's standard library"
    elif what := on_platform(requirement.name):
        why_not = f"{what}; there is no such package to install"
    return dataclasses.replace(
        dependency,
        name=name,
        written_name="" if written == name else written,
        specifier=specifier if holds else SpecifierSet(),
        extras=tuple(sorted(requirement.extras)),
        why_needless=needless,
        why_not=why_not,
    )


def _in_file(dependency: Dependency, text: str, folder: Path) -> Dependency:
    # Some write a path of their own machine, or model/x.whl.
    places = (folder / text, folder.parent / text, folder / re.split(r"[/\\]", text)[-1])
    file = next(filter(_is_file, places), places[-1])
    name, version, problem = _read_name(file)
    if not _is_file(file):
        problem = f"not beside the model file; put it into {folder}"
    return dataclasses.replace(
        dependency,
        name=name,
        specifier=SpecifierSet(f"=={version}") if version else SpecifierSet(),
        file=file,
        why_not=problem,
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read_name(file: Path) -> tuple[str, str, str | None]:
    """Name and version of a distribution file, and why pip cannot install it here."""
    try:
        if file.suffix.lower() == ".whl":
            name, version, _, tags = parse_wheel_filename(file.name)
            if tags & set(sys_tags()):
                return name, version.public, None
            names = ", ".join(sorted(map(str, tags))[:3])
            return name, version.public, f"built for {names}; this is {_here()}"
        if file.name.lower().endswith(SDISTS):
            name, version = parse_sdist_filename(file.name)
            return name, version.public, None
    except InvalidSdistFilename:
        return "", "", None  # pip takes any archive with a project in it
    except InvalidWheelFilename:
        return "", "", "not the name of a wheel: name-version-python-abi-platform.whl"
    return "", "", "an egg, which pip does not install"


def _here() -> str:
    first = next(sys_tags())
    return f"Python {'.'.join(platform.python_version_tuple()[:2])} ({first.platform})"


def _at_url(dependency: Dependency, text: str) -> Dependency:
    name, at, url = (part.strip() for part in text.partition(" @ "))
    if not at:
        name, url = "", text
    path, _, fragment = url.partition("#")
    if egg := re.search(r"egg=([\w.-]+)", fragment):
        name = egg[1]
    file_name, version, problem = _read_name(Path(path.rpartition("/")[2]))
    is_file = path.lower().endswith((".whl", *SDISTS))
    return dataclasses.replace(
        dependency,
        name=canonicalize_name(name or file_name),
        specifier=SpecifierSet(f"=={version}") if version and is_file else SpecifierSet(),
        url=text,
        why_not=problem if is_file else None,
    )


def compare(
    dependencies: Sequence[Dependency], package: Package, path: Sequence[str] | None = None
) -> list[Status]:
    """The state of each dependency on ``path``: a ``sys.path``, by default this process's."""
    return [_status(dependency, package, path) for dependency in dependencies]


def _status(dependency: Dependency, package: Package, path: Sequence[str] | None) -> Status:
    if dependency.why_needless:
        return Status(dependency, "satisfied", dependency.why_needless)
    there = list(_installed(dependency.name, path)) if dependency.name else []
    for name, version in there:
        if _fits(version, dependency.specifier):
            other = f"; {name} brings the same modules" if name != dependency.name else ""
            return Status(dependency, "satisfied", f"{version} is installed{other}", name, version)
    if dependency.why_not:
        return Status(dependency, "unusable", dependency.why_not)
    if there:
        name, version = there[0]
        wanted = dependency.written_name or dependency.name
        shown = version if name == wanted else f"{name} {version}"
        return Status(dependency, "differs", f"{shown} is installed", name, version)
    if dependency.name and (place := _module_without_version(dependency.name, package, path)):
        return Status(dependency, "satisfied", f"{place} is there; its version is not known")
    return Status(dependency, "missing", "not installed")


def _installed(name: str, path: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """Names and versions of what is installed and brings the modules of ``name``."""
    options: dict[str, Any] = {} if path is None else {"path": list(path)}
    for candidate in alike(name):
        for found in importlib.metadata.Distribution.discover(name=candidate, **options):
            # An uninstall that was interrupted leaves a folder without metadata.
            if "Version" in found.metadata:
                yield candidate, found.metadata["Version"]
                break


def _fits(version: str, specifier: SpecifierSet) -> bool:
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not specifier


def _module_without_version(name: str, package: Package, path: Sequence[str] | None) -> Path | None:
    """Where the module is, when a system package or the package itself brings it."""
    own = [str(package.folder), str(package.root)]
    finder = importlib.machinery.PathFinder
    for places in (own, path):
        spec = finder.find_spec(module_of(name), None if places is None else list(places))
        if spec is not None and spec.origin is not None and not spec.origin.startswith("<"):
            return Path(spec.origin)
    return None
