"""The command ``engineroom``. Options derive from :mod:`engineroom.settings`.

Every command imports what it needs when it runs, so that ``--help`` comes at once.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from engineroom import __version__
from engineroom.errors import LOAD_FAILED, EngineroomError, LoadError, SettingError
from engineroom.settings import Settings, env_name

F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """Turns our errors into a message and an exit code, whichever command raises them."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _exit(130)
        except SettingError as error:
            raise click.UsageError(str(error)) from None
        except EngineroomError as error:
            click.echo(f"error: {error}", err=True)
            _exit(LOAD_FAILED if isinstance(error, LoadError) else 1)


def _exit(code: int) -> None:
    """Exit, without waiting for threads that a script has started and that may never end."""
    if any(not t.daemon for t in threading.enumerate() if t is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        _clean_up()
        os._exit(code)
    sys.exit(code)


def _clean_up() -> None:
    if workplace := sys.modules.get("engineroom.workplace"):
        workplace.close_all()


def _settings(command: str) -> Callable[[F], F]:
    """One option for each setting of ``command``."""

    def decorate(function: F) -> F:
        for field in reversed(dataclasses.fields(Settings)):
            if command in field.metadata["commands"]:
                function = _option(field)(function)
        return function

    return decorate


def _option(field: dataclasses.Field[Any]) -> Callable[[F], F]:
    flag = "--" + field.name.replace("_", "-")
    text = field.metadata["help"]
    if field.metadata["type"] is not click.BOOL:
        default = "" if field.default is None else f"  [default: {field.default}]"
        return click.option(flag, field.name, type=field.metadata["type"], help=text + default)
    # A flag is named for what it changes; its other half is there for the environment's sake.
    names = f"{flag}/--no-{flag[2:]}"
    state = "on" if field.default else "off"
    return click.option(names, field.name, default=None, help=f"{text}  [default: {state}]")


def _given(options: dict[str, Any]) -> Settings:
    # Who names a package on the command line trusts its script, and so the files beside it.
    return Settings.read(options, {"allow_pickle": True})


def _named_path(
    _ctx: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> list[tuple[str, Path]]:
    """``NAME=PATH``, or ``PATH`` with the name left open."""
    pairs = []
    for value in values:
        name, equals, path = value.partition("=")
        is_named = equals and not Path(value).exists()
        if is_named and not re.fullmatch(r"[\w.-]+", name):
            raise click.BadParameter(f"{value!r}: a name has letters, digits, '.', '_' and '-'")
        pairs.append((name, Path(path)) if is_named else ("", Path(value)))
    return pairs


def _interpreters(
    _ctx: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> dict[str, Path]:
    """``NAME=PYTHON``, as often as needed."""
    pairs = [value.partition("=") for value in values]
    for name, _, python in pairs:
        if not (name and python):
            raise click.BadParameter(f"{name!r}: write NAME=PYTHON, such as a=venv/bin/python")
    return {name: Path(python) for name, _, python in pairs}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="engineroom")
def main() -> None:
    """Serve machine-learning model packages over HTTP."""


PACKAGE = click.argument("path", type=click.Path(path_type=Path))
FORM = click.option(
    "-F", "--form", "fields", multiple=True, metavar="KEY=@FILE|KEY=TEXT", help="A form field."
)
BODY = click.option("-d", "--data", metavar="JSON|@FILE|@-", help="A JSON body.")


def _request(fields: Sequence[str], data: str | None) -> dict[str, Any] | bytes:
    """The request of ``-F`` or ``-d``: a form, or a body to decode."""
    from engineroom.tools.predict import body_bytes, form_data

    if bool(fields) == (data is not None):
        raise click.UsageError("give the request either with -F (as often as needed) or with -d")
    return form_data(fields) if fields else body_bytes(data or "")


@main.command(
    epilog=f"Every option is also an environment variable, such as {env_name('timeout_s')}."
)
@click.argument("paths", metavar="[NAME=]PATH...", nargs=-1, required=True, callback=_named_path)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="NAME=PYTHON",
    callback=_interpreters,
    help="Of several packages, serve this one with the interpreter of another environment.",
)
@_settings("serve")
def serve(paths: list[tuple[str, Path]], pythons: dict[str, Path], **options: Any) -> None:
    """Serve the package at PATH (its folder, its model/ folder, or a model file).

    Several packages each answer at /v1/infers/NAME, and the first one also at /. Without NAME= a
    package has its folder's name. If one of them has a script, each has a process of its own.
    """
    from engineroom.server import serve as run

    sys.exit(run(paths, _given(options), pythons))


@main.command()
@PACKAGE
@FORM
@BODY
@click.option("--explain", is_flag=True, help="Tell what each step got and gave, and what failed.")
@click.option("--pdb", "debugger", is_flag=True, help="Debug the script where it fails.")
@_settings("predict")
def predict(
    path: Path,
    fields: Sequence[str],
    data: str | None,
    explain: bool,
    debugger: bool,
    **options: Any,
) -> None:
    """Answer one request without a server; what each step took goes to standard error."""
    from engineroom.tools.predict import answer

    if debugger and data == "@-":
        raise click.UsageError("--pdb needs standard input: put the body into a file")
    request = _request(fields, data)
    _exit(answer(path, request, _given(options), explain, debugger))


@main.command()
@PACKAGE
@FORM
@BODY
@_settings("check")
def check(path: Path, fields: Sequence[str], data: str | None, **options: Any) -> None:
    """Do everything that `serve` would do before its first request, and say what it finds.

    Exit code 0: it can be served. 3: it cannot. 1: it can, but the request given with -F or -d gets
    an error.
    """
    from engineroom.tools.check import check_package

    request = _request(fields, data) if fields or data is not None else None
    _exit(check_package(path, _given(options), request))


@main.command()
@PACKAGE
@click.option("--install", is_flag=True, help="Run the plan, up to the first failure.")
@click.option(
    "--venv",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Plan for this environment; --install makes it. It sees what is installed here.",
)
@click.option("--nearest", is_flag=True, help="For what cannot be had, the nearest version.")
@click.option("--offline", is_flag=True, help="Do not ask pip's index what can be had.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def deps(
    path: Path, install: bool, venv: Path | None, nearest: bool, offline: bool, as_json: bool
) -> None:
    """Say which dependencies of config.json are installed, and how pip gets the others.

    Exit code 0: all are here as declared. 1: something is missing or differs. 3: no package.
    """
    from engineroom.tools.deps import print_dependencies

    _exit(0 if print_dependencies(path, venv, install, nearest, offline, as_json) else 1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--devices", is_flag=True, help="Ask each framework for its devices (imports it).")
def engines(as_json: bool, devices: bool) -> None:
    """List the installed engines, and what is wrong with those that cannot be used."""
    from engineroom.tools.inventory import inventory, table

    rows = inventory(Settings.read(), devices)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(table(rows))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--engine", required=True, help="Engine to write the package for.")
def init(folder: Path, engine: str) -> None:
    """Write a package into FOLDER that works at once, to start your own from."""
    from engineroom.tools.scaffold import write_package

    for name in write_package(folder, engine, Settings.read()):
        click.echo(folder / name)
    click.echo(f"\nnext: see {folder / 'README.md'}, then run: engineroom serve {folder}")
