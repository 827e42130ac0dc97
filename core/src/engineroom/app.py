"""The Starlette application: routes, start and stop."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from engineroom.endpoint import Predict
from engineroom.errors import MethodNotAllowedError, NotFoundError
from engineroom.hosting import Host
from engineroom.model import Model
from engineroom.package import open_package
from engineroom.plugins import Registry
from engineroom.responses import START, error_response
from engineroom.settings import Settings


def create_app(path: str | os.PathLike[str], **settings: Any) -> Starlette:
    """An app that serves the package at ``path``: run it, or mount it in another.

    Its lifespan loads the model and waits for it. Where nobody runs the lifespan (a mounted app),
    the first request does. ``settings`` are those of docs/settings.md.

    Raises:
        SettingError: a setting that does not exist or cannot have this value.
        LoadError: no package there, or no engine for it.
    """
    chosen = Settings.read(settings)
    return Application(Host(Model(open_package(path), chosen, Registry(chosen))))


class Application(Starlette):
    """The routes of one model. Predictions get past the routing, which costs as much as they do.

    Only at the app's own root and without middleware of others; elsewhere they are a route, too.
    """

    def __init__(self, host: Host) -> None:
        self.hosted, self.predict = host, Predict(host)
        self.urls = frozenset({"/", *_declared_urls(host.model.package.config)})
        super().__init__(
            routes=[
                *(Route(url, self.predict, methods=["POST"]) for url in sorted(self.urls)),
                Route("/health", self._ready),
                Route("/health/ready", self._ready),
                Route("/health/live", self._live),
            ],
            exception_handlers={HTTPException: self._no_route},
            lifespan=self._lifespan,
        )
        self.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[START] = time.monotonic()
        short = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self.urls
        app = self.predict if short and not self.user_middleware else super().__call__
        await app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            await self.hosted.start()
            yield
        finally:
            await anyio.to_thread.run_sync(self.hosted.stop)

    async def _live(self, _request: Request) -> Response:
        return JSONResponse({"status": "OK"})

    async def _ready(self, _request: Request) -> Response:
        model = self.hosted.model
        about = {"model": model.name, "engine": model.engine.name, "state": model.state.value}
        if self.hosted.is_ready:
            return JSONResponse({"status": "OK", **about})
        body = {"status": "unavailable", **about, "reason": model.reason}
        return JSONResponse(body, status_code=503, headers={"retry-after": "1"})

    async def _no_route(self, request: Request, error: Exception) -> Response:
        path, method = request.url.path, request.method
        known: NotFoundError | MethodNotAllowedError = NotFoundError(
            f"nothing is at {path}; POST to / to predict, GET /health/ready for the state"
        )
        if isinstance(error, HTTPException) and error.status_code == 405:
            allow = (error.headers or {}).get("Allow", "")
            known = MethodNotAllowedError(f"{path} takes {allow}, not {method}", allow)
        return error_response(known, request.scope, self.hosted.settings)


def _declared_urls(config: dict[str, Any]) -> list[str]:
    apis = config.get("apis")
    apis = apis if isinstance(apis, list) else []
    urls = [api.get("url") for api in apis if isinstance(api, dict)]
    return [url for url in urls if isinstance(url, str) and re.fullmatch(r"/[\w./-]*", url)]
