"""``engineroom check``: everything a load does, with what it finds."""

from __future__ import annotations

import traceback
from pathlib import Path

import click

from engineroom import startup_log
from engineroom.devices import settle
from engineroom.errors import LoadError
from engineroom.hosting import run_apart
from engineroom.logs import configure
from engineroom.model import Model
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.settings import Settings
from engineroom.tools.config_lint import lint_config
from engineroom.tools.names import missing_names
from engineroom.warm_up import examples


def check_package(path: Path, settings: Settings) -> bool:
    """Load the package and print what is found; whether it can be served."""
    try:
        configure(settings, quiet=True)
        package = open_package(path)
        registry = Registry(settings)
        for finding in lint_config(package, registry):
            click.echo(finding)
        registry.manager.unregister(startup_log)  # it would report the findings again
        model = Model(package, settings, registry, own_process=settle(settings))
        click.echo(f"package  {package.file or package.folder}")
        click.echo(f"script   {package.script or 'none: the default service answers'}")
        run_apart(model.load)
    except LoadError as error:
        click.echo(f"error: {error}")
        if settings.debug:
            click.echo("".join(traceback.format_exception(error)))
        click.echo("verdict  cannot be served")
        return False
    click.echo(f"runs on  {model.runs_on()}")
    for kind, specs in (("input", model.inputs), ("output", model.outputs)):
        for spec in specs:
            click.echo(f"{kind:8} {spec.name} {spec}")
    count = sum(1 for _ in examples(package, model.inputs, model.engine.body))
    if count or model.inputs:
        click.echo(f"warm-up  answered; {count} of {count} examples answered")
    else:
        click.echo(f"warm-up  none: put a request into {package.folder / 'examples'} to try a step")
    for finding in missing_names(package):
        click.echo(finding)
    for name, modern in model.stage.lent.items():
        click.echo(f"lent     {name}, today {modern}")
    model.unload()
    click.echo("verdict  can be served")
    return True
