"""The hook contract, in firing order: signatures and docstrings, nothing else.

Hooks register and observe; classes do the work. All are synchronous. HOOKS.md says the same for
plugin authors, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from engineroom.engine import Engine
    from engineroom.model import Model
    from engineroom.package import Package

NAMESPACE = "engineroom"
hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)

# --- start ---------------------------------------------------------------------------------------


@hookspec(historic=True)
def register_engine(register: Callable[[Engine], None]) -> None:
    """Hand engines over by calling ``register(engine)``.

    Fires: once per plugin, when it is loaded. Results: ignored. All implementations run.
    May raise: yes; the plugin is reported as broken, the others go on.
    """


# --- lifecycle of a model ------------------------------------------------------------------------


@hookspec
def before_load(package: Package, device: str) -> None:
    """See a package before its script and model file are loaded; ``device`` is the setting.

    Fires: once per load, in the loading thread. Results: ignored. All implementations run.
    May raise: yes, a LoadError; the load fails with it.
    """


@hookspec
def after_load(model: Model, seconds: float) -> None:
    """See a model that is loaded and not yet warm.

    Fires: once per load, in the loading thread. Results: ignored. All implementations run.
    May raise: yes, a LoadError; the load fails with it.
    """


@hookspec
def after_warm_up(model: Model, seconds: float) -> None:
    """See a model that has answered its warm-up, just before it is ready.

    Fires: once per load, in the loading thread. Results: ignored. All implementations run.
    May raise: yes, a LoadError; the load fails with it.
    """


# --- a request -----------------------------------------------------------------------------------


@hookspec(firstresult=True)
def decode_request(content_type: str, body: bytes, query: bytes) -> Any:
    """Turn a request body into the ``data`` that the service's first step gets.

    Fires: per request, on the event loop: be quick; not for engines whose services take the body
    as text. Results: the first that is not None is taken; None means "not mine". The built-in
    decoders run last.
    May raise: a RequestError, which the client gets.
    """


@hookspec(firstresult=True)
def encode_response(result: Any) -> bytes | None:
    """Turn what the service returned into a JSON body.

    Fires: per request, in the thread that predicted. Results: the first that is not None is
    taken; None means "not mine". The built-in encoder runs last.
    May raise: a RequestError, which the client gets.
    """


# --- stop ----------------------------------------------------------------------------------------


@hookspec
def before_unload(model: Model) -> None:
    """See a model that is drained, before its engine gives the memory back.

    Fires: once per model, at shutdown. Results: ignored. All implementations run.
    May raise: no; an exception is logged and the shutdown goes on.
    """
