"""``engineroom check``: everything a load does, with what it finds.

A report is made of sections, each a function that yields lines. To add one, put it into ``BEFORE``
(the package on disk, whether it can be loaded or not) or ``AFTER`` (the loaded model).
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from engineroom import dependencies, startup_log
from engineroom.devices import settle
from engineroom.errors import LOAD_FAILED, LoadError, RequestError
from engineroom.findings import Finding
from engineroom.hosting import run_apart
from engineroom.kinds import counted
from engineroom.logs import configure, script_streams
from engineroom.model import Model
from engineroom.package import Package, open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings
from engineroom.tools.config_lint import lint_config
from engineroom.tools.names import missing_names
from engineroom.warm_up import examples

REFUSED = 1
"""Exit code when the request that was to be tried got an error, as `predict` has it."""


def row(label: str, text: object) -> str:
    """A line of the report."""
    return f"{label:8} {text}"


# --- sections


def about_package(package: Package, _registry: Registry) -> Iterator[str]:
    """What was found at the path."""
    yield row("package", package.file or package.folder)
    yield row("script", package.script or "none: the default service answers")


def about_dependencies(package: Package, _registry: Registry) -> Iterable[Finding]:
    """What config.json declares and this environment lacks."""
    return dependencies.absent(package)


def about_engine(model: Model) -> Iterator[str]:
    """What runs the model, and what it takes and gives."""
    yield row("runs on", model.runs_on())
    for kind, specs in (("input", model.inputs), ("output", model.outputs)):
        for spec in specs:
            yield row(kind, f"{spec.name} {spec}")


def about_warm_up(model: Model) -> Iterator[str]:
    """What has been answered before the first request."""
    count = example_count(model)
    parts = ["the model file was tried on zeros"] if model.inputs else []
    parts += [f"{counted(count, 'example')} answered"] if count else []
    yield row("warm-up", "; ".join(parts) or "none")


def about_names(model: Model) -> Iterator[Finding | str]:
    """Names of libraries that are gone: lent ones, and those that nobody has."""
    yield from missing_names(model.surroundings.libraries)
    for name, modern in model.stage.lent.items():
        yield row("lent", f"{name}, today {modern}")


BEFORE: tuple[Callable[[Package, Registry], Iterable[Finding | str]], ...] = (
    about_package,
    lint_config,
    about_dependencies,
)
AFTER: tuple[Callable[[Model], Iterable[Finding | str]], ...] = (
    about_engine,
    about_warm_up,
    about_names,
)


def example_count(model: Model) -> int:
    """How many requests lie in ``examples/``."""
    return sum(1 for _ in examples(model.package, model.inputs, model.engine.body))


# --- the report


def check_package(
    path: Path, settings: Settings, request: dict[str, Any] | bytes | None = None
) -> int:
    """Load the package and print what is found; the exit code.

    ``request``: a form, or a body to decode, that is tried once.
    """
    configure(settings, quiet=True)
    warnings: list[str] = []
    try:
        with _warnings() as warnings:
            package, registry = open_package(path), Registry(settings)
            registry.manager.unregister(startup_log)  # it would report the findings again
            for section in BEFORE:
                _tell(section(package, registry))
            model = Model(package, settings, registry, own_process=settle(settings))
            # Scripts print when they are loaded, and standard output is for the report.
            with script_streams():
                run_apart(model.load)
    except LoadError as error:
        _tell(warnings)
        if settings.debug:
            click.echo("".join(traceback.format_exception(error)))
        _tell([row("verdict", f"will not run: {error}")])
        return LOAD_FAILED
    _tell(warnings)
    doubts = [_tell(about(model)) for about in AFTER]
    refusal = _try(model, request) if request is not None else None
    model.unload()
    _tell([row("verdict", refusal or verdict(model, request is not None, any(doubts)))])
    return REFUSED if refusal else 0


def verdict(model: Model, is_tried: bool, is_doubtful: bool = False) -> str:
    """Whether it runs, and what has not been found out; ``is_doubtful`` after warnings."""
    lent = ", ".join(model.stage.lent)
    words = f"runs with these names lent: {lent}" if lent else "runs as it is"
    if is_doubtful:
        words += ", except for what the warnings above name"
    # Without a script, the zeros of the warm-up have gone all the way.
    if is_tried or example_count(model) or (model.inputs and not model.package.script):
        return words
    return f"{words}; not tried on a request: put one into {model.package.folder / 'examples'}"


def _try(model: Model, request: dict[str, Any] | bytes) -> str:
    """Answer one request and print what came of it; the verdict if it is refused."""
    try:
        with script_streams():
            data = request
            if isinstance(request, bytes):
                data = model.decode("application/json", request, b"")
            answered = run_apart(lambda: model.answer(data))
    except RequestError as error:
        said = " ".join(error.contract_words(model.engine.words))
        _tell([row("request", f"{error.status} {said}: {error}")])
        return f"loads, and answers this request with {error.status}; predict --explain tells more"
    milliseconds = sum(answered.step_times.values()) * 1e3
    took = f" in {milliseconds:.1f} ms" if answered.step_times else ""
    _tell([row("request", f"answered{took}: {counted(len(answered.body), 'byte')} of JSON")])
    return ""


def _tell(lines: Iterable[Finding | str]) -> bool:
    """Print them; whether there is a finding among them."""
    told = list(lines)
    for line in told:
        click.echo(line)
    return any(isinstance(line, Finding) for line in told)


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """Lines of the report for what a load warns of, in place of the log's."""
    lines: list[str] = []
    logger, handler = logging.getLogger("engineroom"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(row("warning", record.getMessage()))  # type: ignore[method-assign]
    before, logger.handlers = logger.handlers, [handler]
    try:
        yield lines
    finally:
        logger.handlers = before
