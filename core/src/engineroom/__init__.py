"""Serves machine-learning model packages over HTTP, with an engine for each framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    import os

    from engineroom.app import create_app as create_app
    from engineroom.engine import Engine as Engine
    from engineroom.engine import Predictor as Predictor
    from engineroom.hookspecs import hookimpl as hookimpl
    from engineroom.model import Model as Model
    from engineroom.service import Service as Service
    from engineroom.values import Device as Device
    from engineroom.values import TensorSpec as TensorSpec

# Imported when first used: `engineroom --help` needs none of it.
_HOMES = {
    "create_app": "app", "Engine": "engine", "Predictor": "engine", "hookimpl": "hookspecs",
    "Model": "model", "Service": "service", "Device": "values", "TensorSpec": "values",
}  # fmt: skip
__all__ = ["__version__", "load", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engineroom' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"engineroom.{_HOMES[name]}"), name)


def load(path: str | os.PathLike[str], **settings: Any) -> Model:
    """The package at ``path``, loaded and warmed up, to call in a notebook or a test.

    ``load("./mnist")({"images": {"7.png": io.BytesIO(...)}})`` gives what the service returns.

    Raises:
        SettingError: a setting that does not exist or cannot have this value.
        LoadError: the package cannot be loaded.
    """
    from engineroom.model import Model
    from engineroom.package import open_package
    from engineroom.plugins import Registry
    from engineroom.settings import Settings

    chosen = Settings.read(settings)
    model = Model(open_package(path), chosen, Registry(chosen))
    model.load()
    return model
