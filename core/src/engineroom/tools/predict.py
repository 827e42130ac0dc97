"""``engineroom predict``: one answer without a server."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from engineroom.apis import apis_by_url
from engineroom.devices import settle
from engineroom.hosting import run_apart
from engineroom.logs import configure
from engineroom.model import Model
from engineroom.package import Package, open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings


def form_data(fields: Sequence[str]) -> dict[str, Any]:
    """A form as curl takes it: ``key=@file[;filename=name]`` an upload, ``key=text`` a text field.

    Raises:
        click.UsageError: a field without ``=``, a file that is not there.
    """
    data: dict[str, Any] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise click.UsageError(f"-F {field!r}: expected KEY=@FILE or KEY=TEXT")
        if not value.startswith("@"):
            if not isinstance(data.get(key), dict):  # a file beats a text field
                data[key] = value
            continue
        file, *options = value[1:].split(";")
        named = [option[9:] for option in options if option.startswith("filename=")]
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data[key][named[0] if named else Path(file).name] = io.BytesIO(_read(Path(file)))
    return data


def body_bytes(text: str) -> bytes:
    """Curl's ``-d``: a body, or ``@file`` that holds it; ``@-`` is standard input.

    Raises:
        click.UsageError: a file that is not there.
    """
    if text == "@-":
        return sys.stdin.buffer.read()
    return _read(Path(text[1:])) if text.startswith("@") else text.encode()


def answer(path: Path, data: dict[str, Any] | bytes, settings: Settings) -> None:
    """Print the answer to standard output, and the times to standard error.

    ``data`` is a form, or a body to decode.

    Raises:
        LoadError: the package cannot be loaded.
        RequestError: the service does not answer this request.
    """
    configure(settings, quiet=True)
    start = time.perf_counter()
    # Scripts log with print, and standard output is for the answer.
    with contextlib.redirect_stdout(sys.stderr):
        package = open_package(path)
        model = Model(package, settings, Registry(settings), own_process=settle(settings))
        keys: Collection[str] = data if isinstance(data, dict) else ()
        if isinstance(data, bytes):
            data = model.decode("application/json", data, b"")
        if settings.validate_requests != "off":
            _validate(package, data, settings.validate_requests, keys)
        run_apart(model.load)
        loaded = time.perf_counter()
        result = run_apart(lambda: model.answer(data))
        done = time.perf_counter()
    click.echo(result.body.decode())
    times = {"load": loaded - start, **result.step_times, "total": done - loaded}
    for step, seconds in times.items():
        click.echo(f"{step.lstrip('_'):12}{seconds * 1e3:10.2f} ms", err=True)
    model.unload()


def _validate(package: Package, data: Any, mode: str, text_keys: Collection[str]) -> None:
    from engineroom.validation import make_check

    check = make_check(package, apis_by_url(package.apis)["/"], mode)
    if check is not None:
        check(data, text_keys)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
