"""Lists plugins from metadata, imports only those asked for, isolates a broken one, reports.

Two groups of entry points: ``engineroom.engines`` (the entry's name is the engine's; imported when
that engine is asked for) and ``engineroom.plugins`` (all imported at start).
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pluggy

from engineroom import decoding, encoding, hookspecs, startup_log
from engineroom.engine import OURS, Engine
from engineroom.errors import EngineError, ModelFileError, PluginError
from engineroom.package import Package
from engineroom.parents import NoEngine, parent_named, parent_of_type
from engineroom.settings import Settings, env_name

log = logging.getLogger("engineroom")

ENGINES = "engineroom.engines"
PLUGINS = "engineroom.plugins"
CONTAINERS = {
    "image": "the model is in a container image, which cannot be served here",
    "custom": "the model is in a container image, which cannot be served here",
    "template": "the model comes from a template of the platform, which is not here",
    "automodel": "the model was trained by the platform, and its container is not here",
}
"""Values of ``model_type`` that name no framework."""
BUILT_IN = (decoding, encoding, startup_log)


class Registry:
    """The plugins and engines of this environment."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings.read()
        self.blocked = {name.strip() for name in settings.block_plugins.split(",") if name.strip()}
        self.broken: dict[str, str] = {}
        self._engines: dict[str, Engine] = {}
        self._without: dict[str, NoEngine] = {}
        self._entries: dict[str, list[importlib.metadata.EntryPoint]] = {}
        self.manager = pluggy.PluginManager(hookspecs.NAMESPACE)
        self.manager.add_hookspecs(hookspecs)
        self.manager.hook.register_engine.call_historic(kwargs={"register": self.register})
        self.tracing = settings.trace_hooks
        if self.tracing:
            # A hook's arguments may be whole request bodies.
            self.manager.trace.root.setwriter(lambda line: log.info("hook %.300s", line.rstrip()))
            self.manager.enable_tracing()
        for module in BUILT_IN:
            self.manager.register(module)
        for entry in importlib.metadata.entry_points(group=ENGINES):
            self._entries.setdefault(entry.name, []).append(entry)
        for entry in importlib.metadata.entry_points(group=PLUGINS):
            self._load(entry)

    def register(self, engine: Engine) -> None:
        """Add an engine: what ``register_engine`` implementations call.

        Raises:
            PluginError: another engine has this name.
        """
        if engine.name in self._engines:
            raise PluginError(f"two plugins register an engine called {engine.name!r}")
        self._engines[engine.name] = engine

    @functools.cached_property
    def decode(self) -> Callable[[str, bytes, bytes], Any]:
        """``decode_request``, without pluggy's cost when only the built-in one is there."""
        hook = self.manager.hook.decode_request
        if self._only_built_in(hook):
            return decoding.decode_request
        return lambda content_type, body, query: hook(
            content_type=content_type, body=body, query=query
        )

    @functools.cached_property
    def encode(self) -> Callable[[Any], bytes]:
        """``encode_response``, likewise."""
        hook = self.manager.hook.encode_response
        if self._only_built_in(hook):
            return encoding.encode_response
        return lambda result: hook(result=result)

    def _only_built_in(self, hook: pluggy.HookCaller) -> bool:
        return len(hook.get_hookimpls()) == 1 and not self.tracing

    @property
    def hook(self) -> Any:
        """Calls every implementation of a hook: ``registry.hook.before_load(...)``."""
        return self.manager.hook

    def names(self) -> list[str]:
        """The names of all installed engines, broken and blocked ones too."""
        return sorted({*self._entries, *self._engines})

    def distribution(self, name: str) -> importlib.metadata.Distribution | None:
        """The installed distribution that an engine comes from."""
        entries = self._entries.get(name)
        return entries[0].dist if entries else None

    def engine(self, name: str) -> Engine:
        """The engine called ``name``, imported if need be.

        Raises:
            EngineError: not installed, blocked or broken, and what to do about it.
        """
        if name not in self._engines and name not in self.broken:
            entries = self._entries.get(name, [])
            if len(entries) > 1:
                owners = " and ".join(str(entry.dist and entry.dist.name) for entry in entries)
                self.broken[name] = f"{owners} both register it; uninstall one"
            for entry in entries[:1]:
                if name not in self.broken:
                    self._load(entry)
        if name in self._engines:
            return self._engines[name]
        if name in self.blocked or name in self.broken:
            raise EngineError(self._advice(name))
        if name in self._entries:
            raise EngineError(f"engine {name!r}: its plugin registers no engine of that name")
        raise EngineError(f"no engine is called {name!r}; {self._advice(name)}")

    def usable(self, first: str = "") -> Iterator[Engine]:
        """All engines that can be imported; the one called ``first`` before the others."""
        for name in sorted(self.names(), key=lambda name: name != first):
            try:
                yield self.engine(name)
            except EngineError as error:
                log.debug("%s", error)

    def engine_for(self, package: Package, wanted: str | None, parent: str | None) -> Engine:
        """The engine of a package: named by the user, by the script's ``parent`` class, by
        config.json, or by the model files, in this order.

        Raises:
            EngineError: none fits, or the one that does cannot be used.
        """
        if wanted:
            return self.engine(wanted)
        if parent:
            return self.engine_with_parent(parent)
        kind = (package.model_type or "").lower()
        for engine in self.usable(kind) if kind else ():
            if engine.has_model_type(kind):
                return engine
        fits = [engine for engine in self.usable() if engine.files(package)]
        if len(fits) != 1:
            files = [f"{fit.name} ({fit.files(package)[0].name})" for fit in fits]
            raise EngineError(self._no_fit(package, files))
        if kind:
            log.warning("%s; engine %s reads its files", self._no_such_type(package), fits[0].name)
        return fits[0]

    def engine_with_parent(self, parent: str) -> Engine:
        """The engine whose parent class, or the module of it, has the dotted name ``parent``.

        Where none is usable, one that serves scripts which run their model themselves.

        Raises:
            EngineError: nobody knows such a class.
        """
        known = parent_named(parent)
        for engine in self.usable(known.engine if known else ""):
            if parent in (engine.parent, engine.parent.rpartition(".")[0]):
                return engine
        if known is None:
            raise EngineError(
                f"the script needs {parent}, which no usable engine has; {self._advice()}"
            )
        if known.name not in self._without:
            advice = self._advice(known.engine) if known.engine else known.instead
            self._without[known.name] = NoEngine(known, advice)
        return self._without[known.name]

    def model_file(self, engine: Engine, package: Package) -> Path:
        """The model file that ``engine`` runs.

        Raises:
            EngineError: its parent class has no engine here.
            ModelFileError: there is none, or more than one.
        """
        if isinstance(engine, NoEngine):
            raise engine.refusal
        found = engine.files(package)
        if len(found) == 1:
            return found[0]
        wanted = " or ".join(pattern for pattern in engine.model_files if pattern[0] != "!")
        got = ", ".join(str(path.relative_to(package.folder)) for path in found) or "none"
        message = (
            f"{package.file or package.folder}: engine {engine.name!r} expected one model file "
            f"({wanted}), found {got}"
        )
        if why := engine.why_not(package):
            message += f"; {why}"
        if package.script:
            parent = engine.parent.rpartition(".")[2]
            message += (
                f"; the script leaves _inference to {parent}, which needs one: override _inference "
                "to run the model yourself"
            )
        for other in self.usable() if not found else ():
            if files := other.files(package):
                way = other.import_line if package.script else f"use --engine {other.name}"
                message += f"; {other.name} reads {files[0].name}: {way}"
        raise ModelFileError(message)

    def _no_such_type(self, package: Package) -> str:
        return (
            f'{package.folder / "config.json"}: "model_type" is {package.model_type!r}, which no '
            "usable engine recognises"
        )

    def _in_container(self, package: Package) -> str | None:
        """Why a ``model_type`` without a framework cannot be served, if nothing else tells it."""
        what = CONTAINERS.get((package.model_type or "").lower())
        if what is None or package.script is not None:
            return None
        image = package.config.get("swr_location")
        image = f" ({image})" if isinstance(image, str) and image else ""
        place, kind = package.folder / "config.json", package.model_type
        return (
            f'{place}: "model_type" is {kind!r}: {what}{image}, and here is '
            "neither a script nor a model file that an engine knows; put the model's "
            f"files into {package.folder} and name their framework; {self._advice()}"
        )

    def _no_fit(self, package: Package, fits: list[str]) -> str:
        if fits:
            return (
                f"{package.folder}: engines {' and '.join(fits)} both fit; choose one with --engine"
            )
        if why := self._in_container(package):
            return why
        if package.model_type:
            known = parent_of_type(package.model_type)
            if known is not None and not known.engine:
                return f"{self._no_such_type(package)}; {known.instead}"
            advice = self._advice(known.engine if known else package.model_type.lower())
            return f"{self._no_such_type(package)}; {advice}"
        for engine in self.usable():
            if why := engine.why_not(package):
                return f"{package.file or package.folder}: {why}"
        if package.file:
            return f"{package.file}: no engine reads this file; {self._advice()}"
        if words := package.pointers_in_words():
            return f"{package.folder}: {words}"
        if near := " or ".join(map(str, package.inside() or package.around())):
            return f"{package.folder} is no package; did you mean {near}?"
        there = ", ".join(sorted(p.name for p in package.folder.iterdir())[:8]) or "nothing"
        script = "a script that imports no parent class" if package.script else "no script"
        return (
            f"{package.folder}: nothing says which engine: no model file that one knows, no "
            f"model_type in a config.json, {script}; found {there}; {self._advice()}"
        )

    def _advice(self, name: str = "") -> str:
        if name in self.blocked:
            return f"engine {name!r} is blocked by {env_name('block_plugins')}"
        if name in self.broken:
            return f"engine {name!r} is installed and broken: {self.broken[name]}"
        if name in OURS:
            return f"run: pip install 'engineroom[{name}]'"
        why = {name: f" (broken: {reason})" for name, reason in self.broken.items()}
        why |= dict.fromkeys(self.blocked, " (blocked)")
        found = ", ".join(name + why.get(name, "") for name in self.names())
        return f"installed engines: {found or 'none; run pip install engineroom[onnx]'}"

    def _load(self, entry: importlib.metadata.EntryPoint) -> None:
        """Import and register one plugin. One that fails is reported and harms no other.

        Raises:
            PluginError: it implements a hook that does not exist.
        """
        if entry.name in self.blocked:
            return
        name = f"{entry.group}:{entry.name}"
        try:
            plugin = entry.load()
            self.manager.register(plugin, name=name)
        except (Exception, SystemExit) as error:
            self._drop(name)
            self.broken[entry.name] = f"{type(error).__name__}: {error}"
            log.warning("plugin %s is broken: %s", entry.name, self.broken[entry.name])
            return
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            self._drop(name)  # or the next plugin would be blamed for it
            raise PluginError(
                f"plugin {entry.name!r}: {error}; see HOOKS.md for the names"
            ) from None

    def _drop(self, name: str) -> None:
        if self.manager.has_plugin(name):
            self.manager.unregister(name=name)
