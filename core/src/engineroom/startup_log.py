"""A built-in plugin that tells the log what happens to a model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from engineroom import dependencies
from engineroom.hookspecs import hookimpl

if TYPE_CHECKING:
    from engineroom.model import Model
    from engineroom.package import Package

log = logging.getLogger("engineroom")


@hookimpl
def before_load(package: Package, device: str) -> None:
    for finding in (*package.document.findings, *dependencies.absent(package)):
        log.warning("%s", finding)
    log.info("loading %s (device: %s)", package.file or package.folder, device)


@hookimpl
def after_load(model: Model, seconds: float) -> None:
    log.info("loaded in %.2f s; warming up", seconds)
    for kind, specs in (("input", model.inputs), ("output", model.outputs)):
        for spec in specs:
            log.debug("%s %s %s", kind, spec.name, spec)


@hookimpl
def after_warm_up(model: Model, seconds: float) -> None:
    log.info("warmed up in %.2f s; %s is ready: %s", seconds, model.name, model.runs_on())


@hookimpl
def before_unload(model: Model) -> None:
    log.info("unloading %s", model.name)
