"""Asks pip which versions of a distribution there are for a Python, within a time limit.

pip itself is asked, so that the person's indexes, proxies and certificates hold.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

Availability: TypeAlias = Literal["build", "source", "none", "unknown"]

TIMEOUT_S = 30.0
"""For all questions together."""
AT_ONCE = 4
OPTIONS = ("--retries", "1", "--timeout", "5", "--disable-pip-version-check", "--no-input")
NONE = "==0.dev0+none"  # an index takes no version with a plus sign
UNREACHABLE = re.compile(r"Retrying \(|Could not fetch URL")


@dataclasses.dataclass(frozen=True)
class Offer:
    """The versions that pip could install."""

    builds: tuple[Version, ...] = ()
    """With a wheel for this Python."""
    all: tuple[Version, ...] = ()
    """Those, and those that come as source only."""
    unknown: str = ""
    """Why pip could not say; then there are no versions here."""

    def has(self, specifier: SpecifierSet) -> Availability:
        """How a version that satisfies ``specifier`` can be had."""
        if self.unknown:
            return "unknown"
        if any(specifier.filter(self.builds)):
            return "build"
        return "source" if any(specifier.filter(self.all)) else "none"

    def nearest(self, specifier: SpecifierSet) -> Version | None:
        """The build nearest to what ``specifier`` names: the next newer one, or else the newest."""
        named = [_version(part.version) for part in specifier]
        wanted = max((version for version in named if version), default=None)
        final = [version for version in self.builds if not version.is_prerelease]
        newer = [version for version in final if wanted and version > wanted]
        return min(newer) if newer else max(final, default=None)


def ask(
    python: str, wanted: Mapping[str, SpecifierSet], timeout_s: float = TIMEOUT_S
) -> dict[str, Offer]:
    """What pip of the interpreter ``python`` finds for each name."""
    limit = time.monotonic() + timeout_s
    with ThreadPoolExecutor(AT_ONCE) as pool:
        offers = pool.map(lambda name: _offer(python, name, wanted[name], limit), wanted)
        return dict(zip(wanted, offers, strict=True))


def _offer(python: str, name: str, specifier: SpecifierSet, limit: float) -> Offer:
    try:
        builds = _versions(python, name, ("--only-binary", ":all:"), limit)
        if any(specifier.filter(builds)):
            return Offer(builds, builds)
        return Offer(builds, _versions(python, name, (), limit))
    except _NoAnswerError as error:
        return Offer(unknown=str(error))


class _NoAnswerError(Exception):
    """pip could not say, and why."""


def _versions(python: str, name: str, options: Sequence[str], limit: float) -> tuple[Version, ...]:
    """What pip lists as found when it is asked for a version that no index can have."""
    # `pip index versions` knows no difference between builds and sources.
    command = [python, "-m", "pip", "download", "--no-deps", *OPTIONS, *options, f"{name}{NONE}"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            # The working directory may be the package's: its modules are not pip's.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            timeout=max(0.1, limit - time.monotonic()),
        )
    except (subprocess.TimeoutExpired, OSError):
        raise _NoAnswerError("pip did not answer in time") from None
    if UNREACHABLE.search(done.stderr):
        raise _NoAnswerError("the index could not be reached")
    if found := re.search(r"\(from versions: (.*?)\)", done.stderr):
        return tuple(filter(None, map(_version, found[1].split(", "))))
    last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    raise _NoAnswerError(f"pip said: {last}")


def _version(text: str) -> Version | None:
    try:
        return Version(text.removesuffix(".*"))
    except InvalidVersion:
        return None
