"""``engineroom deps``: the ordered pip plan of a package, and carrying it out."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import json
import platform
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from packaging.version import Version

from engineroom.dependencies import Dependency, Status, command, compare, declared
from engineroom.distributions import PYTHON
from engineroom.findings import Finding
from engineroom.package import Package, open_package
from engineroom.tools.environment import Environment, look_into, prepare, this_environment
from engineroom.tools.index import Availability, Offer, ask

LAST_LINES = 12
PROGRESS = ("Collecting", "Downloading", "Building", "Installing", "Successfully")
UNASKED = Offer(unknown="not asked")
SHOWN = {"satisfied": "ok", "unusable": "no"}


@dataclasses.dataclass(frozen=True)
class Step:
    """A dependency, what is installed of it, and what pip can do about it."""

    status: Status
    offer: Offer = UNASKED
    takes_nearest: bool = False

    @property
    def dependency(self) -> Dependency:
        """What config.json has."""
        return self.status.dependency

    @property
    def availability(self) -> Availability:
        """How the declared version can be had."""
        return self.offer.has(self.dependency.specifier)

    @property
    def nearest(self) -> Version | None:
        """The version to take where there is no build of the declared one."""
        is_lacking = self.availability in ("source", "none")
        return self.offer.nearest(self.dependency.specifier) if is_lacking else None

    @property
    def requirement(self) -> str | None:
        """What pip is to install; None where it need not or cannot."""
        state, availability = self.status.state, self.availability
        if state == "missing" and self.takes_nearest and self.nearest:
            return f"{self.dependency.name}=={self.nearest}"
        if state in ("satisfied", "unusable") or availability == "none":
            return None
        # Something of it is here, and would be given up for what may not even build.
        is_risky = state == "differs" and availability == "source"
        return None if is_risky else self.status.requirement

    def words(self) -> str:
        """The reason for its state, and what the index has."""
        dependency, parts = self.dependency, [self.status.reason]
        if dependency.written_name:
            parts.append(f"{dependency.written_name} is {dependency.name} today")
        if dependency.file and self.status.state in ("missing", "differs"):
            parts.append(f"to be had from {dependency.file}")
        return "; ".join([*parts, *self._about_the_index()])

    def _about_the_index(self) -> list[str]:
        what = f"{self.dependency.name}{self.dependency.specifier}"
        if self.offer.unknown:
            return [self.offer.unknown] if self.offer is not UNASKED else []
        if not self.offer.all:
            return [f"pip finds no {self.dependency.name} for {PYTHON}"]
        if self.availability == "build":
            return [f"the index has {what}"] if self.status.state == "unusable" else []
        words = {
            "none": f"{what} has no build for {PYTHON}",
            "source": f"{what} comes as source only, which may not build on {PYTHON}",
        }
        return [words[self.availability] + self._about_the_nearest()]

    def _about_the_nearest(self) -> str:
        nearest = self.nearest
        if nearest is None:
            return ""
        final = [version for version in self.offer.builds if not version.is_prerelease]
        named = {min(final): "oldest", max(final): "newest"}
        return f"; the {named.get(nearest, 'nearest')} that has one is {nearest}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What config.json declares, beside an environment."""

    package: Package
    environment: Environment
    steps: Sequence[Step]
    findings: Sequence[Finding]

    @property
    def is_satisfied(self) -> bool:
        """Whether every dependency is there as declared."""
        return all(step.status.state == "satisfied" for step in self.steps)

    def commands(self) -> list[tuple[Step, list[str]]]:
        """One pip command per dependency that pip is to install, in the contract's order."""
        pip = [self.environment.python, "-m", "pip", "install"]
        wanted = [(step, step.requirement) for step in self.steps]
        return [(step, [*pip, requirement]) for step, requirement in wanted if requirement]


def make_plan(
    package: Package, environment: Environment, offline: bool = False, nearest: bool = False
) -> Plan:
    """Compare, and ask the index for what is not satisfied."""
    dependencies, remarks = declared(package)
    findings = [package.document.locate(one) for one in remarks if one.level == "warning"]
    importlib.invalidate_caches()  # pip may just have been here
    statuses = compare(dependencies, package, environment.path)
    asked = {s.dependency.name: s.dependency.specifier for s in statuses if _is_for_the_index(s)}
    if asked and not offline:
        click.echo(f"asking pip's index for {', '.join(asked)} …", err=True)
    offers = {} if offline else ask(environment.python, asked)
    steps = [
        Step(
            s, offers.get(s.dependency.name, UNASKED) if _is_for_the_index(s) else UNASKED, nearest
        )
        for s in statuses
    ]
    return Plan(package, environment, steps, findings)


def _is_for_the_index(status: Status) -> bool:
    dependency = status.dependency
    if status.state == "satisfied" or not dependency.name or dependency.url:
        return False
    if dependency.file:  # one that does not fit may be had under its name
        return status.state == "unusable"
    return dependency.why_not is None


def print_dependencies(
    path: Path, venv: Path | None, install: bool, nearest: bool, offline: bool, as_json: bool
) -> bool:
    """Print the plan, carry it out if asked to; whether everything is there as declared.

    Raises:
        LoadError: no package there.
        SettingError: a folder for the venv that is none.
    """
    package = open_package(path)
    say: Callable[[str], None] = (lambda _: None) if as_json else click.echo
    environment = (look_into(venv) if venv else None) or this_environment()
    if install and venv:
        environment, done = prepare(venv)
        say(f"venv     {done}")
    plan = make_plan(package, environment, offline, nearest)
    say("\n".join([*_head(plan), *_table(plan)]))
    failure = carry_out(plan, say) if install else ""
    if install:
        plan = make_plan(package, environment, offline=True)
        say("\n".join(_outcome(plan, failure, venv)))
    else:
        say("\n".join(_commands(plan, venv)))
    if as_json:
        click.echo(json.dumps(_as_json(plan, failure), indent=2, ensure_ascii=False))
    return plan.is_satisfied and not failure


def carry_out(plan: Plan, say: Callable[[str], None]) -> str:
    """Run the commands in order; the reason why one of them failed, empty if none did."""
    commands = plan.commands()
    for number, (step, arguments) in enumerate(commands, 1):
        say(f"\n[{number} of {len(commands)}] {shlex.join(arguments)}")
        code, lines = _run(arguments, say)
        if code != 0:
            said = "\n".join(f"  {line}" for line in lines)
            left = ", ".join(later.dependency.declared for later, _ in commands[number:])
            rest = f"\nnot tried after it: {left}" if left else ""
            return f"pip failed on {step.dependency.declared} (exit code {code}):\n{said}{rest}"
    return ""


def _run(arguments: Sequence[str], say: Callable[[str], None]) -> tuple[int, list[str]]:
    """The exit code and pip's last lines; its progress is said as it comes."""
    last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            last.append(line.rstrip())
            if line.lstrip().startswith(PROGRESS):
                say(f"  {line.strip()}")
    return process.returncode, list(last)


# --- what is shown


def _head(plan: Plan) -> list[str]:
    home = plan.environment.home
    return [
        f"package  {plan.package.file or plan.package.folder}",
        f"python   {platform.python_version()} in {home}",
        *map(str, plan.findings),
    ]


def _table(plan: Plan) -> list[str]:
    if not plan.steps:
        return ["config.json declares no dependencies"]
    rows = [_row(step) for step in plan.steps]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "",
        *(
            "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True))
            for row in rows
        ),
    ]


def _row(step: Step) -> tuple[str, str, str, str]:
    dependency, state = step.dependency, step.status.state
    place = f"{dependency.group}.{dependency.order}"
    return place, SHOWN.get(state, state), dependency.declared, step.words()


def _commands(plan: Plan, venv: Path | None) -> list[str]:
    lines, commands = [], plan.commands()
    if commands:
        lines += ["", "to install, in this order:"]
        lines += [f"  {shlex.join(arguments)}" for _, arguments in commands]
        where = f" --venv {shlex.quote(str(venv))}" if venv else ""
        lines.append(f"or all of it: {command(plan.package)} --install{where}")
    elif not plan.is_satisfied:
        check = command(plan.package, "check")
        lines += ["", f"nothing that pip can install; whether it runs so: {check}"]
    left = [step for step in plan.steps if step.nearest and step.status.state == "missing"]
    if any(not step.takes_nearest for step in left):
        lines.append("with the nearest versions of what cannot be had as declared: --nearest")
    return lines


def _outcome(plan: Plan, failure: str, venv: Path | None) -> list[str]:
    lines = ["", failure] if failure else []
    lines += ["", "now:", *_table(plan)[1:]]
    if venv and not failure:
        target = shlex.quote(str(plan.package.file or plan.package.root))
        lines.append(f"\nnext: {shlex.quote(str(venv / 'bin' / 'engineroom'))} serve {target}")
    return lines


def _as_json(plan: Plan, failure: str) -> dict[str, Any]:
    return {
        "package": str(plan.package.file or plan.package.folder),
        "python": platform.python_version(),
        "environment": str(plan.environment.home),
        "satisfied": plan.is_satisfied,
        "dependencies": [_step_as_json(step) for step in plan.steps],
        "commands": [arguments for _, arguments in plan.commands()],
        "failure": failure or None,
        "findings": [str(finding) for finding in plan.findings],
    }


def _step_as_json(step: Step) -> dict[str, Any]:
    dependency, status = step.dependency, step.status
    return {
        "group": dependency.group,
        "order": dependency.order,
        "declared": dependency.declared,
        "name": dependency.name or None,
        "specifier": str(dependency.specifier),
        "file": str(dependency.file) if dependency.file else None,
        "state": status.state,
        "installed": f"{status.distribution}=={status.version}" if status.version else None,
        "reason": step.words(),
        "index": None if step.offer is UNASKED else step.availability,
        "nearest": str(step.nearest) if step.nearest else None,
    }
