"""For tests of a ``customize_service.py``: ``pytest_plugins = ["engineroom.pytest_plugin"]``.

It is used only where it is named. Makes what scripts import importable in all tests, see
:mod:`engineroom.scripts`, and brings the fixture :func:`load_service`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import engineroom.scripts  # noqa: F401
from engineroom.model import Model
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.service import Service
from engineroom.settings import Settings


@pytest.fixture
def load_service() -> Iterator[Callable[..., Service]]:
    """``load_service("mnist")``: what the script of the package makes, to try its steps.

    Everything around it is as in a server, the working directory too, until the test ends or it
    loads another. The model file is not needed, and its framework neither, until a step runs it.
    """
    with contextlib.ExitStack() as stage:

        def load(path: str | os.PathLike[str], **settings: Any) -> Service:
            stage.close()  # and with it the former's working directory
            chosen = Settings.read(settings)
            model = Model(open_package(path), chosen, Registry(chosen))
            stage.callback(model.predictor.close)
            stage.callback(model.surroundings.close)
            stage.enter_context(model.surroundings)
            return model.make_service()

        yield load
