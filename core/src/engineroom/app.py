"""The Starlette application: routes, start and stop."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from engineroom.apis import apis_by_url
from engineroom.encoding import encode_response
from engineroom.endpoint import Predict
from engineroom.errors import MethodNotAllowedError, NotFoundError
from engineroom.hosting import Host, in_url, make_hosts, open_packages
from engineroom.responses import START, error_response
from engineroom.settings import Settings
from engineroom.values import TensorSpec

INFERS = "/v1/infers/"
"""Where the platform's gateway puts its services."""
WATCH_S = 1.0
"""Between two looks at the engines."""


def create_app(
    path: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]], **settings: Any
) -> Starlette:
    """An app that serves the package at ``path``: run it, or mount it in another.

    For several models without scripts, ``path`` is a dict of paths by name. The app's lifespan
    loads them and waits for it. Where nobody runs the lifespan (a mounted app), the first request
    does. ``settings`` are those of docs/settings.md.

    Raises:
        SettingError: a setting that does not exist or cannot have this value.
        LoadError: no package there, or no engine for it.
    """
    chosen = Settings.read(settings)
    paths = path if isinstance(path, Mapping) else {"": path}
    packages = open_packages([(name, Path(place)) for name, place in paths.items()], chosen)
    return Application(make_hosts(packages, chosen))


class Site(Starlette):
    """The routes of all models. Predictions get past the routing, which costs as much as they do.

    Only at the app's own root and without middleware of others; elsewhere they are a route, too.
    """

    def __init__(self, models: Mapping[str, Mapping[str, ASGIApp]], settings: Settings) -> None:
        """``models``: by the name of each, the endpoint of each of its urls."""
        self.names, self.settings = list(models), settings
        self.predicts = _predictions(models)
        super().__init__(
            routes=[
                *(Route(url, end, methods=["POST"]) for url, end in self.predicts.items()),
                Route("/health", self._ready),
                Route("/health/ready", self._ready),
                Route("/health/live", self._live),
                Route("/v1/models", self._models),
            ],
            exception_handlers={HTTPException: self._no_route},
            lifespan=self._lifespan,
        )
        self.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[START] = time.monotonic()
        app: ASGIApp = super().__call__
        if scope["type"] == "http" and scope["method"] == "POST" and not self.user_middleware:
            app = self.endpoint_at(scope["path"]) or app
        await app(scope, receive, send)

    def predict_at(self, path: str) -> Predict | None:
        """What answers a POST to ``path`` with a model of this process and with nothing else."""
        endpoint = None if self.user_middleware else self.endpoint_at(path)
        return endpoint if isinstance(endpoint, Predict) else None

    def endpoint_at(self, path: str) -> ASGIApp | None:
        """What answers a POST to ``path``."""
        return self.predicts.get(path)

    def _lifespan(self, _app: Starlette) -> AbstractAsyncContextManager[None]:
        """Start and stop of what answers."""
        raise NotImplementedError

    async def _states(self) -> list[tuple[bool, dict[str, Any]]]:
        """Of each model, whether it would take a request now, and what there is to say of it."""
        raise NotImplementedError

    async def _abouts(self) -> list[dict[str, Any]]:
        """What each model is."""
        raise NotImplementedError

    def _workers(self) -> dict[str, Any]:
        """How many processes share the work, where there are others."""
        return {}

    async def _live(self, _request: Request) -> Response:
        return JSONResponse({"status": "OK"})

    async def _ready(self, _request: Request) -> Response:
        states = await self._states()
        ready = sum(is_ready for is_ready, _ in states)
        body: dict[str, Any] = {"status": "OK" if ready == len(states) else "unavailable"}
        if len(states) == 1:
            body |= states[0][1]
        else:
            body |= {"ready": ready, "of": len(states), "models": [state for _, state in states]}
        body |= self._workers()
        if ready == len(states):
            return JSONResponse(body)
        return JSONResponse(body, status_code=503, headers={"retry-after": "1"})

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"models": await self._abouts()})

    async def _no_route(self, request: Request, error: Exception) -> Response:
        path, method = request.url.path, request.method
        names = ", ".join(map(url_of, self.names))
        known: NotFoundError | MethodNotAllowedError = NotFoundError(
            f"nothing is at {path}; POST to / or {names} to predict, GET /health/ready for the "
            "state, GET /v1/models for what is served"
        )
        if isinstance(error, HTTPException) and error.status_code == 405:
            allow = (error.headers or {}).get("Allow", "")
            known = MethodNotAllowedError(f"{path} takes {allow}, not {method}", allow)
        return error_response(known, request.scope, self.settings)


class Application(Site):
    """Models in this process."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        super().__init__({h.model.name: _endpoints(h) for h in hosts}, hosts[0].settings)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            for host in self.hosts:
                await host.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                yield
                tasks.cancel_scope.cancel()
        finally:
            for host in self.hosts:
                host.model.drain()
            for host in self.hosts:
                await anyio.to_thread.run_sync(host.stop)

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(WATCH_S)
            for host in self.hosts:
                host.look()

    async def _ready(self, request: Request) -> Response:
        first = self.hosts[0]
        if len(self.hosts) == 1 and first.is_ready and first.model.has_own_health:
            said, code = await anyio.to_thread.run_sync(first.model.health)
            return Response(encode_response(said), code, media_type="application/json")
        return await super()._ready(request)

    async def _states(self) -> list[tuple[bool, dict[str, Any]]]:
        return [(host.is_ready, _state(host)) for host in self.hosts]

    async def _abouts(self) -> list[dict[str, Any]]:
        return [_about(host) for host in self.hosts]


def url_of(name: str) -> str:
    """Where the model of this name is."""
    return INFERS + in_url(name)


def _predictions(models: Mapping[str, Mapping[str, ASGIApp]]) -> dict[str, ASGIApp]:
    """The endpoint of each path. The first model is also at the root."""
    paths: dict[str, ASGIApp] = {}
    for i, (name, urls) in enumerate(models.items()):
        own = {url_of(name): urls["/"], **{url_of(name) + url: end for url, end in urls.items()}}
        for path, endpoint in (own if i else {**urls, **own}).items():
            paths.setdefault(path, endpoint)
    return paths


def _endpoints(host: Host) -> dict[str, Predict]:
    """The endpoint of each url of a model, ``/`` among them."""
    package, decode = host.model.package, host.model.decode
    apis, mode = apis_by_url(package.apis), host.settings.validate_requests
    if mode == "off":
        return dict.fromkeys(apis, Predict(host, decode))
    from engineroom.validation import checked, make_check

    checks = {url: make_check(package, api, mode) for url, api in apis.items()}
    return {
        url: Predict(host, checked(decode, check) if check else decode)
        for url, check in checks.items()
    }


def _state(host: Host) -> dict[str, Any]:
    model = host.model
    state = {"model": model.name, "engine": model.engine.name, "state": model.state.value}
    return state if host.is_ready else {**state, "reason": model.reason}


def _about(host: Host) -> dict[str, Any]:
    model = host.model

    def shown(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
        return [{"name": s.name, "shape": s.shape, "dtype": s.dtype} for s in specs]

    return {
        "name": model.name,
        "url": url_of(model.name),
        "engine": model.engine.name,
        "device": model.device or None,
        "state": model.state.value,
        "inputs": shown(model.inputs),
        "outputs": shown(model.outputs),
        "latency_ms": model.metrics.figures(),
    }
