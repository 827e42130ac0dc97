"""Every setting once: name, type, default, help and environment variable.

The command line, ``create_app(**settings)`` and docs/settings.md derive from :class:`Settings`.
A value comes from, in this order: the caller, ``ENGINEROOM_<NAME>``, the default.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Mapping
from typing import Any

import click

from engineroom.errors import SettingError

ENV_PREFIX = "ENGINEROOM_"
LOADING = ("serve", "predict", "check")
SERVING = ("serve",)
PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(1)
SECONDS = click.FloatRange(0, min_open=True)


def _setting(default: Any, kind: click.ParamType[Any], text: str, commands: tuple[str, ...]) -> Any:
    return dataclasses.field(
        default=default, metadata={"type": kind, "help": text, "commands": commands}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Names end in their unit: ``_s`` seconds, ``_ms`` milliseconds, ``_bytes`` bytes."""

    host: str = _setting("127.0.0.1", click.STRING, "Address to listen on.", SERVING)
    port: int = _setting(8080, PORT, "Port to listen on; 0 takes a free one.", SERVING)
    device: str = _setting(
        "auto",
        click.STRING,
        "auto, cpu, mps, cuda[:N] or npu[:N]; for several workers a list with commas.",
        LOADING,
    )
    engine: str | None = _setting(
        None, click.STRING, "Engine, when the package leaves it open.", LOADING
    )
    name: str | None = _setting(
        None, click.STRING, "Model name; the folder's name by default.", LOADING
    )
    workers: int = _setting(1, COUNT, "Server processes that share the port.", SERVING)
    # One, because a second thread waits for the interpreter lock more often than it helps. Measured
    # with ONNX models on two cores, 32 connections, requests/s with 1, 2, 4 threads: a small model
    # 4300, 3100, 3300 alone and 6400, 6400, 5500 in batches; a wide one, which uses both cores by
    # itself, 860, 780, 880 and 2500, 2500, 2700. Threads are for services that wait: for a disk, a
    # database, a device.
    threads: int = _setting(
        1, COUNT, "Predictions at once in a process, for services that are thread-safe.", SERVING
    )
    max_batch_size: int | None = _setting(
        None,
        COUNT,
        "Requests that may share one inference; by default 16 without a script, 1 with one.",
        SERVING,
    )
    batch_wait_ms: float = _setting(
        0.0,
        click.FloatRange(0),
        "Time for a batch to fill; 0 takes what is there.",
        SERVING,
    )
    engine_threads: int | None = _setting(
        None,
        COUNT,
        "Threads inside one prediction; OMP_NUM_THREADS, else cores / workers.",
        LOADING,
    )
    timeout_s: float = _setting(
        40.0, SECONDS, "Time for one request, from its first byte, the queue included.", SERVING
    )
    hang_s: float | None = _setting(
        None,
        SECONDS,
        "Time after which a run of the engine counts as hung; 5 times timeout_s, at least 60.",
        SERVING,
    )
    load_timeout_s: float = _setting(
        600.0, SECONDS, "Time for threads that a script starts to load its model.", LOADING
    )
    drain_s: float = _setting(
        30.0, SECONDS, "Time to finish running requests at shutdown.", SERVING
    )
    max_body_bytes: int = _setting(12_000_000, COUNT, "Largest request body.", SERVING)
    max_queue_size: int = _setting(256, COUNT, "Requests that may wait for a model.", SERVING)
    validate_requests: str = _setting(
        "off",
        click.Choice(["off", "warn", "reject"]),
        "Check requests against the schema that config.json declares.",
        ("serve", "predict"),
    )
    access_log: bool = _setting(True, click.BOOL, "Log a line for each request.", SERVING)
    log_format: str = _setting(
        "text", click.Choice(["text", "json"]), "Format of the log.", SERVING
    )
    debug: bool = _setting(False, click.BOOL, "Add tracebacks to error answers; log more.", LOADING)
    reload: bool = _setting(
        False, click.BOOL, "Start again when a .py file or config.json changes.", SERVING
    )
    allow_pickle: bool = _setting(
        False,
        click.BOOL,
        "Read pickled files, which runs code in them. On for a package named on the command line.",
        LOADING,
    )
    lent_names: bool = _setting(
        True, click.BOOL, "Lend scripts the names that their libraries no longer have.", LOADING
    )
    platform_paths: bool = _setting(
        False,
        click.BOOL,
        "Let /home/mind/model and its like in a script mean the package's folder.",
        LOADING,
    )
    block_plugins: str = _setting("", click.STRING, "Plugins not to load, with commas between.", ())
    trace_hooks: bool = _setting(False, click.BOOL, "Log every hook call.", ())

    @classmethod
    def read(
        cls, given: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None
    ) -> Settings:
        """Settings from ``given`` (None counts as not given), the environment, the defaults.

        ``defaults`` are the caller's own, before those of the fields.

        Raises:
            SettingError: an unknown name, or a value of the wrong type or range.
        """
        given = dict(given or {})
        values: dict[str, Any] = dict(defaults or {})
        for field in dataclasses.fields(cls):
            value, source = given.pop(field.name, None), field.name
            if value is None:
                source = env_name(field.name)
                value = os.environ.get(source)
            if value is not None and value != "":
                values[field.name] = _converted(field.metadata["type"], value, source)
        if given:
            unknown = next(iter(given))
            near = difflib.get_close_matches(unknown, field_names(), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(field_names())}"
            raise SettingError(f"no setting is called {unknown!r}; {hint}")
        return cls(**values)

    @property
    def hang_limit_s(self) -> float:
        """``hang_s``, or what stands in for it."""
        return self.hang_s or max(60.0, 5 * self.timeout_s)

    def environment(self) -> dict[str, str]:
        """The variables that make a spawned process read these same settings."""
        values = dataclasses.asdict(self)
        return {env_name(k): str(v) for k, v in values.items() if v is not None}


def env_name(name: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + name.upper()


def field_names() -> list[str]:
    """The names of all settings."""
    return [field.name for field in dataclasses.fields(Settings)]


def _converted(kind: click.ParamType[Any], value: Any, source: str) -> Any:
    try:
        converted = kind.convert(value, None, None)
    except click.BadParameter as error:
        raise SettingError(f"{source}: {error.message}") from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise SettingError(f"{source}: {value} is not a finite number")
    return converted
