"""What the tests of the contract share: packages that are served in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from engineroom import create_app


@pytest.fixture
def serve(package: Callable[..., Path]) -> Iterator[Callable[..., TestClient]]:
    """A client of a served package: ``serve(script, {"labels.json": "…"}, timeout_s=1)``."""
    with contextlib.ExitStack() as served:

        def start(
            script: str | None, files: dict[str, str | bytes] | None = None, **settings: Any
        ) -> TestClient:
            app = create_app(package(script, **(files or {})), **settings)
            return served.enter_context(TestClient(app))

        yield start
