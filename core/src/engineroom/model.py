"""A service that the server holds: its load, its warm-up, its answers, its end."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import inspect
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engineroom.decoding import decode_text
from engineroom.devices import Place, unsettled
from engineroom.engine import LazyPredictor, Predictor
from engineroom.errors import (
    EngineEndError,
    LoadError,
    ModelFileError,
    NotReadyError,
    RequestError,
    ScriptError,
    WarmUpError,
)
from engineroom.failures import aside, place_of, request_error, reraise_interrupt
from engineroom.lending import Stage
from engineroom.logs import revive
from engineroom.metrics import Metrics
from engineroom.package import Package
from engineroom.parents import NoEngine
from engineroom.plugins import Registry
from engineroom.scripting import Surroundings, imported_parent, make_service
from engineroom.service import Service, standing_behind, take_step_times
from engineroom.settings import Settings
from engineroom.uploads import default_service
from engineroom.values import STRING, TensorSpec
from engineroom.warm_up import examples

log = logging.getLogger("engineroom")

HEALTH_WAIT_S = 0.05
"""Between two looks at a script's own ``health()`` while it loads."""


class State(enum.Enum):
    """Where a model is in its life."""

    CREATED = "created"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


REASONS = {
    State.CREATED: "nobody has asked for it yet",
    State.LOADING: "its script and model file are being loaded",
    State.WARMING: "it is loaded and answers its warm-up",
    State.DRAINING: "the server finishes what it has and then stops",
    State.STOPPED: "the server has stopped",
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """An encoded result, and the seconds that each step took as far as they are known."""

    body: bytes
    step_times: dict[str, float]


class Model:
    """One package, loaded and answering.

    Making one reads the package and imports one plugin; :meth:`load` does the heavy work.
    """

    def __init__(
        self,
        package: Package,
        settings: Settings,
        registry: Registry,
        own_process: Place | None = None,
        name: str = "",
    ) -> None:
        """``own_process``: the process belongs to this package, and this is its place. Then a
        script stays on stage, and the framework's variables are set.

        Raises:
            LoadError: no engine for the package, or a script that is not Python.
        """
        self.package, self.settings, self.registry = package, settings, registry
        self.own_process = own_process is not None
        place = own_process or unsettled(settings)
        self.name = name or settings.name or package.name
        self.engine = registry.engine_for(package, settings.engine, imported_parent(package))
        self.stage = Stage(package, settings, place.wanted, self.engine.name)
        self.surroundings = Surroundings(package, registry, self.stage)
        self.metrics = Metrics()
        # A script's constructor has not always been told the model's name yet.
        self._lend_metrics(self.name, Service.model_name)
        # Without a script nothing looks at the working directory: no need to queue for it.
        self._on_stage = self.surroundings if package.script else contextlib.nullcontext()
        self.predictor = LazyPredictor(
            self.engine,
            self._model_file(),
            place,
            self._engine_threads(),
            self.name,
            settings.allow_pickle,
        )
        self.decode = decode_text if self.engine.body == "text" else registry.decode
        self.state = State.CREATED
        self.error: LoadError | None = None
        self._service: Service | None = None
        self._turn: contextlib.AbstractContextManager[Any] = threading.Lock()
        self._warming, self._is_warm = threading.Lock(), False

    # --- what it is

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Declared inputs of the model file; empty while no default step has loaded it."""
        return self.predictor.predictor.inputs if self.predictor.predictor else ()

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Declared outputs, likewise."""
        return self.predictor.predictor.outputs if self.predictor.predictor else ()

    @property
    def device(self) -> str:
        """Where the engine runs it; empty while no default step has loaded it."""
        return str(self.predictor.predictor.device) if self.predictor.predictor else ""

    @property
    def service(self) -> Service:
        """The service object.

        Raises:
            NotReadyError: not loaded.
        """
        if self._service is None:
            raise self.not_ready()
        return self._service

    @property
    def threads(self) -> int:
        """Predictions at once: the setting, or 1 for a service that is not thread-safe."""
        return self.settings.threads if self._is_thread_safe() else 1

    def runs_on(self) -> str:
        """``engine onnx (onnxruntime 1.32.0) on cpu``, for the log and for reports."""
        if self.predictor.predictor is None:
            return f"engine {self.engine.name}; the script runs its model itself"
        framework = self.engine.framework_version()
        version = f" ({framework})" if framework else ""
        predictor = self.predictor.predictor
        backend = f", {predictor.backend}" if predictor.backend else ""
        return f"engine {self.engine.name}{version} on {predictor.device}{backend}"

    def _is_thread_safe(self) -> bool:
        return self.engine.thread_safe and self.service.thread_safe

    # --- load

    def load(self, in_threads: Callable[[Callable[[], None]], None] | None = None) -> None:
        """Load the script and the model file, wait for the script's threads, warm up.

        ``in_threads(warm_up)`` calls ``warm_up`` in each thread that is going to predict; without
        it this thread warms up.

        Raises:
            LoadError: with a message that a person can act on; the state is then FAILED.
        """
        self.state = State.LOADING
        try:
            self._timed(self._load, self.registry.hook.after_load)
            self._wait_until_healthy()
            self._advance(State.LOADING, State.WARMING)
            self._is_warm = False

            def warm_up() -> None:
                in_threads(self._warm_up) if in_threads is not None else self._warm_up()

            self._timed(warm_up, self.registry.hook.after_warm_up)
            self.metrics.clear()
        except LoadError as error:
            words = self.package.pointers_in_words()
            if words not in str(error):
                error.args = (f"{error}; {words}",)
            self._fail(error)
            raise
        except BaseException as error:
            reraise_interrupt(error)
            self._fail(
                LoadError(f"{self.package.root}: unforeseen {type(error).__name__}: {error}")
            )
            raise self.error or error from error
        self._advance(State.WARMING, State.READY)

    def _wait_until_healthy(self) -> None:
        limit = time.monotonic() + self.settings.load_timeout_s
        while self.has_own_health and (status := self.health()[1]) >= 400:
            if time.monotonic() > limit:
                raise ScriptError(
                    f"{self.package.script}: health() still answers {status} after "
                    f"{self.settings.load_timeout_s:g} s; raise --load-timeout-s"
                )
            time.sleep(HEALTH_WAIT_S)

    @property
    def has_own_health(self) -> bool:
        """Whether the script says itself how it is."""
        return self._service is not None and type(self._service).health is not Service.health

    def health(self) -> tuple[Any, int]:
        """What the script's own ``health()`` says: body and HTTP status."""
        service = self.service
        try:
            with self._on_stage:
                said: Any = service.health()
            body, status = said if isinstance(said, tuple) else (said, 200)
            return body, int(status)
        except BaseException as error:
            reraise_interrupt(error)
            failed = f"health() raised {type(error).__name__}: {error}"
            place = place_of(error, self.package) or self.package.script
            return {"status": "unavailable", "reason": f"{place}: {failed}"}, 503

    def _advance(self, state: State, following: State) -> None:
        if self.state is state:  # else the server has begun to stop meanwhile
            self.state = following

    def _fail(self, error: LoadError) -> None:
        self.predictor.close()
        self.surroundings.close()
        self.error, self.state = error, State.FAILED

    def _timed(self, work: Callable[[], None], hook: Callable[..., Any]) -> None:
        start = time.perf_counter()
        work()
        hook(model=self, seconds=time.perf_counter() - start)

    def _load(self) -> None:
        self.registry.hook.before_load(package=self.package, device=self.settings.device)
        if self.own_process:
            # Pillow only warns up to twice its limit, and then decodes a gigabyte all the same.
            warnings.filterwarnings("error", message=".*decompression bomb")
            self._set_environment()
            if self.package.script:
                self.surroundings.stay()
        try:
            # The stage first and then the gate, everywhere, or two threads wait for each other.
            with self._on_stage, self.engine.gate, standing_behind(self.predictor):
                self._service = self._make_service()
        finally:
            revive()
            self.stage.tell()
        if self._is_thread_safe():
            self._turn = contextlib.nullcontext()
        elif self.settings.threads > 1:
            log.warning(
                "one thread instead of %d: the service does not say thread_safe = True",
                self.settings.threads,
            )

    def _make_service(self) -> Service:
        if self.package.script is None:
            inputs = self.predictor.load().inputs
            return default_service(self.engine.service_class(), inputs)(self.name, self._path())
        service = self.scripted_service()
        if isinstance(self.engine, NoEngine) and self.engine.warning:
            self.stage.warn(self.engine.warning)
        parent = self.engine.service_class()
        if _inherits_inference(service, parent) and self.engine.needs_model_file(service):
            self.predictor.load()
        elif not self.predictor.place.is_sure:
            _ = self.predictor.devices  # or the script would run elsewhere, and nobody would know
        return service

    def scripted_service(self) -> Service:
        """What the script makes, before anything is loaded or asked of it. Call it on stage.

        Raises:
            ScriptError: as :func:`~engineroom.scripting.make_service`.
        """
        with standing_behind(self.predictor):
            service = make_service(
                self.package,
                self.surroundings,
                self.name,
                self._path(),
                self.settings.load_timeout_s,
                self.engine,
            )
        self._lend_metrics(service.model_name)
        return service

    def _lend_metrics(self, *names: str) -> None:
        self.surroundings.surface.metrics.update(self.metrics.by_key(names))

    def _set_environment(self) -> None:
        """What the frameworks read when they are imported; the user's own variables stay."""
        threads = self.settings.engine_threads
        if threads is None and self.settings.workers > 1:
            threads = self._engine_threads()
        # A script may run any framework, whatever its parent class.
        engines = self.registry.usable() if self.package.script else [self.engine]
        for engine in engines:
            for name, value in engine.environment(threads).items():
                os.environ.setdefault(name, value)

    def _model_file(self) -> Path | LoadError:
        """The model file, or the error for whoever needs one."""
        if isinstance(self.engine, NoEngine):
            return self.engine.refusal
        patterns = self.engine.model_files
        found = self.engine.files(self.package)
        if len(found) == 1:
            return found[0]
        package, engine = self.package, self.engine
        wanted = " or ".join(pattern for pattern in patterns if pattern[0] != "!")
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
        for other in self.registry.usable() if not found else ():
            if files := other.files(package):
                way = other.import_line if package.script else f"use --engine {other.name}"
                message += f"; {other.name} reads {files[0].name}: {way}"
        return ModelFileError(message)

    def _path(self) -> str:
        """``model_path``, as the engine's contract has it."""
        files = self.engine.files(self.package)
        if not files:
            return str(self.package.folder)
        if len(files) > 1 and self.engine.model_path == "file":
            names = ", ".join(path.name for path in files)
            log.warning("several model files (%s): model_path is the first", names)
        return str(files[0] if self.engine.model_path == "file" else files[0].parent)

    def _engine_threads(self) -> int:
        if self.settings.engine_threads:
            return self.settings.engine_threads
        told = os.environ.get("OMP_NUM_THREADS", "")
        if told.isdigit() and int(told):
            return int(told)
        return max(1, _cores() // self.settings.workers)

    # --- warm-up

    def _warm_up(self) -> None:
        """In the first thread everything, in the others what frameworks prepare for each thread."""
        with self._warming:
            if self._is_warm and self.predictor.predictor is not None:
                with self.engine.gate:
                    self.predictor.predictor.warm_up()
            elif not self._is_warm:
                self._warm_up_all()
                self._is_warm = True

    def _warm_up_all(self) -> None:
        if self.predictor.predictor is not None:
            self._warm_up_engine(self.predictor.predictor)
        for path, data in examples(self.package, self.inputs, self.engine.body):
            try:
                self.call(data)
            except RequestError as error:
                raise WarmUpError(
                    f"{path}: the example failed: {error}{aside(error.detail)}"
                ) from error

    def _warm_up_engine(self, predictor: Predictor) -> None:
        try:
            with self.engine.gate:
                predictor.warm_up()
        except Exception as error:
            shapes = ", ".join(f'"{spec.name}" {spec}' for spec in predictor.inputs)
            message = f"model {self.name!r} failed its warm-up on {shapes}: {error}"
            if all(_is_certain(spec) for spec in predictor.inputs):
                raise WarmUpError(message) from error
            # Ones for open dimensions are a guess, and a picture of 1x1 may rightly be refused.
            log.warning("%s; put a request into %s", message, self.package.folder / "examples")

    # --- answer

    def __call__(self, data: Any) -> Any:
        """The service's result for one decoded request, such as ``{"images": {"7.png": file}}``.

        Raises:
            RequestError: with the step and the line where it happened.
        """
        with self._turn:
            return self.call(data)

    def answer(self, data: Any) -> Answer:
        """The encoded result for one decoded request. The caller holds :attr:`turn`.

        Raises:
            RequestError: likewise.
        """
        result, times = self._run(data)
        return Answer(self.registry.encode(self.engine.envelope(data, result)), times)

    @property
    def turn(self) -> contextlib.AbstractContextManager[Any]:
        """Held during a request: one at a time, unless the service is thread-safe."""
        return self._turn

    def call(self, data: Any) -> Any:
        """As :meth:`__call__`, for a caller that holds :attr:`turn`."""
        return self._run(data)[0]

    def _run(self, data: Any) -> tuple[Any, dict[str, float]]:
        """The result, and the seconds that each step took, as far as they are known."""
        service = self.service
        take_step_times()
        self.metrics.begin()
        try:
            with self._on_stage, self.engine.gate:
                start = time.perf_counter()
                result = service.inference(data)
                seconds = time.perf_counter() - start
            return result, self.metrics.end(take_step_times(), seconds)
        except BaseException as error:
            reraise_interrupt(error)
            self.check_engine()
            if self.state is State.FAILED:
                raise self.not_ready() from error
            blamed = self.engine.blames_input(error)
            raise request_error(error, service, self.package, blamed) from error

    # --- state and end

    def check_engine(self) -> None:
        """Fail a ready model whose framework has ended in this process."""
        if self.state is State.READY and (end := self.engine.end()):
            log.error("%s; model %r answers no more", end, self.name)
            self._fail(EngineEndError(end))

    def not_ready(self) -> NotReadyError:
        """The error for a request that comes while the model is not ready."""
        return NotReadyError(f"model {self.name!r} is {self.state.value}: {self.reason}")

    @property
    def reason(self) -> str:
        """Why the model is not ready, in words; empty when it is."""
        return str(self.error) if self.error else REASONS.get(self.state, "")

    def drain(self) -> None:
        """Take no new requests."""
        if self.state not in (State.FAILED, State.STOPPED):
            self.state = State.DRAINING

    def unload(self) -> None:
        """Give back what the engine holds. No prediction may be running."""
        try:
            self.registry.hook.before_unload(model=self)
        except Exception:
            log.exception("a before_unload hook failed")
        self.predictor.close()
        self.surroundings.close()
        if self.state is not State.FAILED:
            self.state = State.STOPPED


def _is_certain(spec: TensorSpec) -> bool:
    """Whether a model must answer the smallest input of ``spec``: only its batch may be open."""
    shape, certain = spec.shape or (None,), spec.dtype != STRING
    fixed = [isinstance(size, int) for size in shape]
    return certain and (all(fixed) or (len(fixed) > 1 and all(fixed[1:])))


def _inherits_inference(service: Service, parent: type[Service]) -> bool:
    """Whether ``parent``'s ``_inference`` answers requests: inherited, or called by another."""
    cls = type(service)
    if not vars(service).keys().isdisjoint({"inference", "_inference"}):
        return False  # its constructor has set one
    owner = next(base for base in cls.__mro__ if "_inference" in vars(base))
    if not issubclass(parent, owner):
        return _calls_inference(cls._inference)  # super()._inference(data)
    return cls.inference is Service.inference or _calls_inference(cls.inference)


def _calls_inference(function: Callable[..., Any]) -> bool:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and "_inference" in code.co_names


def _cores() -> int:
    # The cores this process may use; not every platform can tell them from those of the machine.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
