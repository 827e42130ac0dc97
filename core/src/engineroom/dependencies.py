"""Reads ``dependencies`` of config.json leniently, and compares them with what is installed.

No pip and no network: it runs at each start. Source: ModelArts contract, "config.json":
``[{"installer": "pip", "packages": [{"package_name", "package_version", "restraint"}]}]``, where
order matters, within a group and across groups, and a ``.whl`` lies beside the model file.
"""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.metadata
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
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
    PYTHON,
    alike,
    in_standard_library,
    module_of,
    on_platform,
    published,
)
from engineroom.findings import Finding, Keys, Reader, Remark, meant, named, shown, unknown
from engineroom.package import Package

Placed: TypeAlias = list[tuple[Any, Keys]]
"""Values, and where they stand in config.json."""
State: TypeAlias = Literal["satisfied", "differs", "missing", "unusable"]

SDISTS = (".tar.gz", ".zip")
OPERATORS = {
    "exact": "==", "equal": "==", "equals": "==", "eq": "==", "=": "==", "==": "==", "===": "==",
    "atleast": ">=", "min": ">=", "ge": ">=", "gte": ">=", ">=": ">=", ">": ">", "gt": ">",
    "atmost": "<=", "max": "<=", "le": "<=", "lte": "<=", "<=": "<=", "<": "<", "lt": "<",
    "~=": "~=", "!=": "!=",
}  # fmt: skip
RESTRAINTS = {"EXACT": "==", "ATLEAST": ">=", "ATMOST": "<="}
ANY = {"", "*", "any", "latest", "none", "null"}
PIP = re.compile(r"(python3? -m )?pip[\d.]*( install)?", re.IGNORECASE)
GROUP = ("installer", "packages")
PACKAGE = ("package_name", "package_version", "restraint")
ALSO = {
    "name": "package_name", "package": "package_name", "version": "package_version",
    "constraint": "restraint", "operator": "restraint",
}  # fmt: skip


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


def absent(package: Package) -> list[Finding]:
    """In one line what of ``dependencies`` is not installed here."""
    problems = [s for s in compare(declared(package)[0], package) if s.state != "satisfied"]
    if not problems:
        return []
    listed = ", ".join(f"{s.dependency.declared} ({s.reason})" for s in problems)
    is_missing = any(s.state == "missing" for s in problems)
    advice = f"run: {command(package)} --install" if is_missing else f"see: {command(package)}"
    message = f"dependencies that are not here as declared: {listed}; {advice}"
    return [package.document.locate(Remark(("dependencies",), message, of_key=True))]


def command(package: Package, name: str = "deps") -> str:
    """What a person types to see the plan, or for another command of ours."""
    return f"engineroom {name} {shlex.quote(str(package.file or package.root))}"


def declared(package: Package) -> tuple[list[Dependency], list[Remark]]:
    """The declared packages in their order, and what was odd about how they are written."""
    reader = _Reader()
    return list(reader.read(package.config.get("dependencies"), package.folder)), reader.remarks


class _Reader(Reader):
    """Nothing in it stops a package: what cannot be read is remarked."""

    def read(self, value: Any, folder: Path) -> Iterator[Dependency]:
        """``value`` is whatever config.json has."""
        for number, packages in enumerate(self.groups(value, ("dependencies",)), 1):
            for order, (entry, at) in enumerate(packages, 1):
                text, specifier = self.package(entry, at)
                if text:
                    dependency = Dependency(number, order, f"{text}{specifier}")
                    yield _resolved(dependency, text, specifier, folder)

    def groups(self, value: Any, at: Keys) -> list[Placed]:
        """The packages of each group."""
        groups = _listed(value, at) if isinstance(value, list) else [(value, at)]
        if any(_has(group, GROUP) for group, _ in groups):
            if not isinstance(value, list):
                self.remark(at, '"dependencies" should be a list of groups; read as one of this')
            return [self.packages(group, where) for group, where in groups]
        if value not in (None, []):
            wanted = 'a list of objects with "installer" and "packages"'
            self.remark(at, f'"dependencies" should be {wanted}; read as the packages of one')
        return [_each(value, at)]

    def packages(self, group: Any, at: Keys) -> Placed:
        """The packages of one group."""
        if not _has(group, GROUP):
            self.remark(at, 'a group has "installer" and "packages"; read as its packages')
            return _each(group, at)
        fields = self.fields(group, at, GROUP)
        installer, where = fields.get("installer", ("pip", at))
        if not PIP.fullmatch(str(installer or "pip").strip()):
            self.remark(where, f"the installer is pip, not {shown(installer)}; read as pip")
        packages, where = fields.get("packages", (None, at))
        if not isinstance(packages, list):
            read = "read as one" if packages else "ignored"
            self.remark(where, f'"packages" should be a list, not {shown(packages)}; {read}')
        elif texts := [found for found in _listed(packages, where) if isinstance(found[0], str)]:
            text, place = texts[0]
            message = f'an object with "package_name" should be here, not {shown(text)}'
            self.remark(place, f"{message}; read as the name")
        return _each(packages, where)

    def fields(
        self, node: dict[Any, Any], at: Keys, known: tuple[str, ...]
    ) -> dict[str, tuple[Any, Keys]]:
        """Values and their places by the contract's names; what it does not know is remarked."""
        keys = self.named(node, at, known, ALSO)
        self.remarks += unknown(node, at, keys.values())
        return {name: (node[key], (*at, key)) for name, key in keys.items()}

    def package(self, entry: Any, at: Keys) -> tuple[str, SpecifierSet]:
        """Name and version of one package; no name, and a remark, where there is none."""
        fields = {"package_name": (entry, at)}
        if isinstance(entry, dict):
            fields = self.fields(entry, at, PACKAGE)
        name, where = fields.get("package_name", (None, at))
        if not isinstance(name, str) and entry is not None:
            message = f'"package_name" should be text, not {shown(name)}; ignored'
            self.remark(where, message)
        if not isinstance(name, str) or not name.strip():
            return "", SpecifierSet()
        return name.strip(), self.specifier(fields)

    def specifier(self, fields: Mapping[str, tuple[Any, Keys]]) -> SpecifierSet:
        """``package_version`` and ``restraint`` as pip writes them."""
        given, at = fields.get("package_version", ("", ()))
        version = str(given or "").strip()
        if version.lower() in ANY:
            return SpecifierSet()
        if not isinstance(given, str):
            message = f'"package_version" should be text, not {shown(given)}: 1.10 would be 1.1'
            self.remark(at, message)
        has_operator = version[0] in "=<>!~"
        operator = "" if has_operator else self.operator(*fields.get("restraint", ("", at)))
        if operator not in ("==", "!=", ""):
            version = version.removesuffix(".*")
        version = re.sub(r"^=(?!=)", "==", version)
        try:
            return SpecifierSet(operator + version)
        except InvalidSpecifier:
            self.remark(at, f"{shown(version)} is not a version; read as any")
            return SpecifierSet()

    def operator(self, restraint: Any, at: Keys) -> str:
        """The operator that ``restraint`` is, or means."""
        written = re.sub(r"[\s_-]", "", str(restraint or "").lower())
        operator, level = OPERATORS.get(written), "note"
        if not written:
            self.remark(at, '"package_version" without "restraint"; read as EXACT', level)
        elif operator is None:
            operator, level = RESTRAINTS[meant(written, RESTRAINTS) or "EXACT"], "warning"
        operator = operator or "=="
        if written and str(restraint) not in RESTRAINTS:
            read = {sign: word for word, sign in RESTRAINTS.items()}.get(operator, operator)
            message = f"a restraint is EXACT, ATLEAST or ATMOST, not {shown(restraint)}"
            self.remark(at, f"{message}; read as {read}", level)
        return operator


def _has(node: Any, known: tuple[str, ...]) -> bool:
    """Whether ``node`` is an object with one of the ``known`` keys, however it is written."""
    return isinstance(node, dict) and bool(named(node, known, ALSO))


def _listed(values: list[Any], at: Keys) -> Placed:
    return [(value, (*at, index)) for index, value in enumerate(values)]


def _each(value: Any, at: Keys) -> Placed:
    """The packages in ``value``, a list or one of them, or an object of versions by name."""
    if isinstance(value, list):
        return [found for entry, place in _listed(value, at) for found in _each(entry, place)]
    if isinstance(value, dict) and not _has(value, (*GROUP, *PACKAGE)):
        return [({"package_name": key, "package_version": value[key]}, (*at, key)) for key in value]
    return [(value, at)]


def _resolved(
    dependency: Dependency, text: str, specifier: SpecifierSet, folder: Path
) -> Dependency:
    """A package by URL, by file or by name."""
    if "://" in text:
        return _at_url(dependency, text)
    if text.lower().endswith((".whl", ".egg", *SDISTS)):
        return _in_file(dependency, text, folder)
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return dataclasses.replace(dependency, why_not="not the name of a package")
    return _by_name(dependency, requirement, requirement.specifier & specifier)


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
            names, here = ", ".join(sorted(map(str, tags))[:3]), next(sys_tags()).platform
            return name, version.public, f"built for {names}; this is {PYTHON} ({here})"
        if file.name.lower().endswith(SDISTS):
            name, version = parse_sdist_filename(file.name)
            return name, version.public, None
    except InvalidSdistFilename:
        return "", "", None  # pip takes any archive with a project in it
    except InvalidWheelFilename:
        return "", "", "not the name of a wheel: name-version-python-abi-platform.whl"
    return "", "", "an egg, which pip does not install"


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
