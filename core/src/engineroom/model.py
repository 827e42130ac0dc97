"""A service that the server holds: its load, its warm-up, its answers, its end."""

from __future__ import annotations

import contextlib
import enum
import functools
import gc
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from engineroom.batching import Batcher, Member, make_batcher
from engineroom.decoding import decode_text
from engineroom.devices import Place, engine_threads, unsettled
from engineroom.engine import LazyPredictor
from engineroom.errors import (
    EngineEndError,
    LoadError,
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
from engineroom.service import Service, inherits_inference, standing_behind, take_step_times
from engineroom.settings import Settings
from engineroom.uploads import default_service
from engineroom.values import TensorSpec
from engineroom.warm_up import examples, warm_up_engine

log = logging.getLogger("engineroom")

HEALTH_WAIT_S = 0.05
"""Between two looks at a script's own ``health()`` while it loads."""


class State(enum.Enum):
    """Where a model is in its life."""

    CREATED = "created"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    STUCK = "stuck"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


REASONS = {
    State.CREATED: "nobody has asked for it yet",
    State.LOADING: "its script and model file are being loaded",
    State.WARMING: "it is loaded and answers its warm-up",
    State.STUCK: "the requests that run are long past their deadline, and others would only wait",
    State.DRAINING: "the server finishes what it has and then stops",
    State.STOPPED: "the server has stopped",
}


class Answer(NamedTuple):
    """An encoded result, the seconds that each step took as far as they are known, and how many
    requests the inference answered.
    """

    body: bytes
    step_times: dict[str, float]
    batch_size: int = 1


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
        self.surroundings = Surroundings(registry, self.stage)
        self.metrics = Metrics()
        # A script's constructor has not always been told the model's name yet.
        self._lend_metrics(self.name, Service.model_name)
        # Without a script nothing looks at the working directory: no need to queue for it.
        self._on_stage = self.surroundings if package.script else contextlib.nullcontext()
        self.predictor = LazyPredictor(
            self.engine,
            functools.partial(registry.model_file, self.engine, package),
            place,
            engine_threads(settings),
            self.name,
            settings.allow_pickle,
        )
        self.decode = decode_text if self.engine.body == "text" else registry.decode
        self.state = State.CREATED
        self.error: LoadError | None = None
        self.batcher: Batcher | None = None
        self._service: Service | None = None
        self._one_at_a_time: contextlib.AbstractContextManager[Any] = threading.Lock()
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
        predictor = self.predictor.predictor
        if predictor is None:
            return f"engine {self.engine.name}; the script runs its model itself"
        framework = self.engine.framework_version()
        version = f" ({framework})" if framework else ""
        backend = f", {predictor.backend}" if predictor.backend else ""
        return f"engine {self.engine.name}{version} on {predictor.device}{backend}"

    def _is_thread_safe(self) -> bool:
        return self.engine.thread_safe and self.service.thread_safe

    # --- load

    def load(self, in_threads: Callable[[Callable[[], None]], None] | None = None) -> None:
        """Load the script and the model file, wait for the script's threads, warm up.

        ``in_threads(warm_up)`` calls ``warm_up`` in each thread that is going to predict, during
        its :meth:`turn`; without it this thread warms up.

        Raises:
            LoadError: with a message that a person can act on; the state is then FAILED.
        """
        self.state = State.LOADING
        try:
            self._timed(self._load, self.registry.hook.after_load)
            self._wait_until_healthy()
            if self.own_process:
                # What has been loaded stays. Going through it would cost the requests of that time
                # 40 ms and more, every second under load, and find nothing.
                gc.collect()
                gc.freeze()
            self._advance(State.LOADING, State.WARMING)
            self._is_warm = False
            work = functools.partial(in_threads or self._in_this_thread, self._warm_up)
            self._timed(work, self.registry.hook.after_warm_up)
            self.metrics.clear()
        except BaseException as error:
            reraise_interrupt(error)
            failed = self._load_error(error)
            self._fail(failed)
            if failed is error:
                raise
            raise failed from error
        self._advance(State.WARMING, State.READY)

    def _load_error(self, error: BaseException) -> LoadError:
        """What to say of ``error``; the end of the framework explains whatever came of it."""
        if end := self.engine.end():
            return EngineEndError(f"{end} while model {self.name!r} was {self.state.value}")
        if isinstance(error, LoadError):
            words = self.package.pointers_in_words()
            if words not in str(error):
                error.args = (f"{error}; {words}",)
            return error
        return LoadError(f"{self.package.root}: unforeseen {type(error).__name__}: {error}")

    def _wait_until_healthy(self) -> None:
        limit = time.monotonic() + self.settings.load_timeout_s
        while self.has_own_health and (status := self.health()[1]) >= 400:
            if self.state is not State.LOADING:
                return  # the server has begun to stop meanwhile
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
        if self.state is state:  # else likewise
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
            is_shared = self.settings.engine_threads or self.settings.workers > 1
            # A script may run any framework, whatever its parent class.
            for engine in self.registry.usable() if self.package.script else [self.engine]:
                engine.set_environment(self.predictor.threads if is_shared else None)
            if self.package.script:
                self.surroundings.stay()
        try:
            with self._on_stage, self.engine.gate:
                self._service = self.make_service()
                self._load_behind(self._service)
        finally:
            revive()
            self.stage.tell()
        if self._is_thread_safe():
            self._one_at_a_time = contextlib.nullcontext()
        elif (wanted := self.settings.threads) > 1:
            why = "the service does not say thread_safe = True"
            log.warning("one thread instead of %d: %s", wanted, why)

    def make_service(self) -> Service:
        """The service, before anything that it does not ask for is loaded. Call it on stage.

        Raises:
            LoadError: the script fails; without one, the model file, whose inputs it needs.
        """
        path = self.engine.path_for(self.package)
        with standing_behind(self.predictor):
            if self.package.script is None:
                inputs = self.predictor.load().inputs
                return default_service(self.engine.service_class(), inputs)(self.name, path)
            service = make_service(self.surroundings, self.name, path, self.engine)
        self._lend_metrics(service.model_name)
        return service

    def _load_behind(self, service: Service) -> None:
        """Load what the script leaves to its parent class."""
        if isinstance(self.engine, NoEngine) and self.engine.warning:
            self.stage.warn(self.engine.warning)
        parent = self.engine.service_class()
        if inherits_inference(service, parent) and self.engine.needs_model_file(service):
            self.predictor.load()
        elif not self.predictor.place.is_sure:
            _ = self.predictor.devices  # or the script would run elsewhere, and nobody would know

    def _lend_metrics(self, *names: str) -> None:
        self.surroundings.surface.metrics.update(self.metrics.by_key(names))

    # --- warm-up

    def _warm_up(self) -> None:
        """In the first thread everything, in the others what frameworks prepare for each thread."""
        with self._warming:
            if self._is_warm and self.predictor.predictor is not None:
                self.predictor.predictor.warm_up()
            elif not self._is_warm:
                self._warm_up_all()
                self.batcher = make_batcher(
                    self.service, self.package, self.engine, self.predictor, self.settings
                )
                self._is_warm = True

    def _in_this_thread(self, warm_up: Callable[[], None]) -> None:
        with self.turn():
            warm_up()

    def _warm_up_all(self) -> None:
        if self.predictor.predictor is not None:
            warm_up_engine(self.engine, self.predictor.predictor, self.name, self.package)
        for path, data in examples(self.package, self.inputs, self.engine.body):
            try:
                self._run(data)
            except RequestError as error:
                raise WarmUpError(
                    f"{path}: the example failed: {error}{aside(error.detail)}"
                ) from error

    # --- answer

    def __call__(self, data: Any) -> Any:
        """The service's result for one decoded request, such as ``{"images": {"7.png": file}}``.

        Raises:
            RequestError: with the step and the line where it happened.
        """
        with self.turn():
            return self._run(data)[0]

    def answer(self, data: Any) -> Answer:
        """The encoded result for one decoded request.

        Raises:
            RequestError: likewise.
        """
        with self.turn():
            return self._answer(data)

    def _answer(self, data: Any) -> Answer:
        return self._encoded(data, *self._run(data))

    def answers(self, requests: Sequence[Any]) -> list[Answer | BaseException]:
        """The encoded result of each of the decoded ``requests``, at most ``max_batch_size``.

        What one of them would raise, a :class:`~engineroom.errors.RequestError`, stands in the
        place of its answer. The caller has his :meth:`turn`.
        """
        if self.batcher is None or len(requests) == 1:
            return [self._settled(self._answer, data) for data in requests]
        self.metrics.begin()
        members = self.batcher.run(requests)
        return [
            self._settled(self._answer_of, *both) for both in zip(requests, members, strict=True)
        ]

    def _answer_of(self, data: Any, member: Member) -> Answer:
        if member.error is not None:
            self._refuse(member.error)
        before, during, after = member.times
        times = self.metrics.end((before, during, after), before + during + after)
        return self._encoded(data, member.value, times, member.shared_with)

    def _encoded(
        self, data: Any, result: Any, times: dict[str, float], batch_size: int = 1
    ) -> Answer:
        body = self.registry.encode(self.engine.envelope(data, result))
        return Answer(body, times, batch_size)

    @staticmethod
    def _settled(work: Callable[..., Answer], *args: Any) -> Answer | BaseException:
        try:
            return work(*args)
        except BaseException as error:
            return error

    @property
    def max_batch_size(self) -> int:
        """Requests that :meth:`answers` takes at once."""
        return self.batcher.max_rows if self.batcher else 1

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Held while requests run, so that a deadline that passes before it begins is seen.

        One at a time, unless the service is thread-safe; on stage; as many as the engine allows.
        Everywhere in this order, or two threads wait for each other.
        """
        with self._one_at_a_time, self._on_stage, self.engine.gate:
            yield

    def _run(self, data: Any) -> tuple[Any, dict[str, float]]:
        """The result, and the seconds that each step took, as far as they are known."""
        service = self.service
        take_step_times()
        self.metrics.begin()
        try:
            start = time.perf_counter()
            result = service.inference(data)
            seconds = time.perf_counter() - start
            return result, self.metrics.end(take_step_times(), seconds)
        except BaseException as error:
            self._refuse(error)

    def _refuse(self, error: BaseException) -> NoReturn:
        """Raise what the client is told of an exception in a step."""
        reraise_interrupt(error)
        self.check_engine()
        if self.state is State.FAILED:
            raise self.not_ready() from error
        blamed = self.engine.blames_input(error)
        failure = request_error(error, self.service, self.package, blamed)
        if failure is error:
            raise failure  # an error from itself would be a chain without an end
        raise failure from error

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
