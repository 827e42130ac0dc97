"""``engineroom predict``: one answer without a server."""

from __future__ import annotations

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from engineroom.apis import apis_by_url
from engineroom.devices import settle
from engineroom.errors import EngineroomError, RequestError
from engineroom.hosting import run_apart
from engineroom.kinds import words_of
from engineroom.logs import configure, script_streams
from engineroom.model import Answer, Model
from engineroom.package import Package, open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings
from engineroom.tools.explain import answer_report, failure_report, steps_report
from engineroom.tools.fault import Fault
from engineroom.tools.portrait import Part, portrait, text_of
from engineroom.tools.post_mortem import post_mortem
from engineroom.tools.trace import Trace


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


def answer(
    path: Path,
    data: dict[str, Any] | bytes,
    settings: Settings,
    explain: bool = False,
    debug: bool = False,
) -> int:
    """Print the answer to standard output; the times, or the report, to standard error.

    ``data`` is a form, or a body to decode. ``debug``: a failure of the script ends in pdb. Gives
    the exit code: 1 if the service does not answer this request.

    Raises:
        LoadError: the package cannot be loaded.
    """
    configure(settings, quiet=True)
    run = Run(open_package(path), settings, Trace() if explain else None)
    try:
        # Scripts log with print, and standard output is for the answer.
        with script_streams():
            run.load(data)
            answered = run.ask()
    except EngineroomError as error:
        if explain:
            _tell(run.failure_report(error))
        if debug:
            post_mortem(run.fault(error))
        if not isinstance(error, RequestError):
            raise
        if settings.debug:
            click.echo("".join(traceback.format_exception(error)), err=True)
        _tell(refusal(error, run.model.engine.words, hint=not explain))
        return 1
    if explain:
        _tell(run.report(answered))
    click.echo(answered.body.decode())
    if not explain:
        _tell(times(run.seconds))
    run.model.unload()
    return 0


def refusal(error: RequestError, words: Mapping[str, tuple[str, str]], hint: bool) -> Iterator[str]:
    """The error as the engine's clients know it, and what the step was given."""
    yield f"error: {error.status} {' '.join(error.contract_words(words))}: {error}"
    if hint and "given" in error.detail:
        yield f"given: {words_of(error.detail['given'])}  (--explain tells more)"


def times(seconds: Mapping[str, float]) -> Iterator[str]:
    """What each part took."""
    for part, took in seconds.items():
        yield f"{part.lstrip('_'):12}{took * 1e3:10.2f} ms"


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line, err=True)


class Run:
    """One load and one request, and how far they have come."""

    data: Any = None

    def __init__(self, package: Package, settings: Settings, trace: Trace | None = None) -> None:
        self.package, self.settings, self.trace = package, settings, trace
        self.seconds: dict[str, float] = {}
        self.request: list[Part] = []
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        """The model, once there is one."""
        assert self._model is not None
        return self._model

    def load(self, data: dict[str, Any] | bytes) -> None:
        """Load the package, and decode ``data`` as its engine takes bodies.

        Raises:
            LoadError: the package cannot be loaded.
            RequestError: ``data`` cannot be decoded.
        """
        start, settings = time.perf_counter(), self.settings
        registry, place = Registry(settings), settle(settings)
        self._model = model = Model(self.package, settings, registry, own_process=place)
        self.data = data
        if isinstance(data, bytes):
            self.data = model.decode("application/json", data, b"")
        if settings.validate_requests != "off":
            keys: Collection[str] = data if isinstance(data, dict) else ()
            _validate(self.package, self.data, settings.validate_requests, keys)
        run_apart(model.load)
        self.seconds["load"] = time.perf_counter() - start

    def ask(self) -> Answer:
        """The answer.

        Raises:
            RequestError: the service does not answer this request.
        """
        model = self.model
        watched: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.trace is not None:
            self.request = portrait(self.data)  # before the steps read its files
            watched = self.trace.of(model.service)
        start = time.perf_counter()
        with watched:
            answered = run_apart(lambda: model.answer(self.data))
        self.seconds |= answered.step_times
        self.seconds["total"] = time.perf_counter() - start
        return answered

    # --- for a person

    def report(self, answered: Answer) -> Iterator[str]:
        """What has happened on the way to the answer."""
        assert self.trace is not None
        yield from self._way()
        yield from answer_report(self.trace.result, answered)
        yield f"loaded in     {self.seconds['load'] * 1e3:.0f} ms"
        yield ""

    def failure_report(self, error: EngineroomError) -> Iterator[str]:
        """What has happened on the way to ``error``."""
        yield from self._way()
        yield from failure_report(self.fault(error))
        yield ""

    def _way(self) -> Iterator[str]:
        if self.trace is not None and self.request:
            yield "request"
            yield from text_of(self.request, "  ")
            yield ""
            yield from steps_report(self.trace, self.model)
            yield ""

    def fault(self, error: EngineroomError) -> Fault:
        """``error`` with what is known about its package."""
        model, result = self._model, self.trace.result if self.trace else None
        inputs = model.inputs if model else ()
        parent = model.engine.parent.rpartition(".")[2] if model else ""
        return Fault(error, self.package, self.data, result, inputs, parent)


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
