"""The base class of every service: preprocess, inference, postprocess, and what runs them.

Scripts subclass an engine's parent class, which subclasses :class:`Service`. Of the surveyed
scripts two in three never call ``super().__init__``, so nothing here depends on it having run.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from engineroom.errors import StepError

STEPS = ("_preprocess", "_inference", "_postprocess")


class Predicts(Protocol):
    """What stands behind the default ``_inference``: the engine with the model file loaded."""

    def predict(self, data: Any) -> Any:
        """Outputs by name for inputs by name."""
        ...


_behind: contextvars.ContextVar[Predicts | None] = contextvars.ContextVar("behind", default=None)
_clock = threading.local()


class Service:
    """A class in ``customize_service.py`` overrides the steps it needs and leaves the rest.

    Attributes:
        model_name: the name the model is served under.
        model_path: the model file, or its folder: which of them is the engine's to say.
        thread_safe: set it to True in a script whose steps keep nothing on ``self`` between them;
            only then does ``--threads`` above 1 let several requests in at once.
        max_batch_size: requests that may share one ``_inference``, which then gets their arrays
            joined along the first dimension. Set it in a script whose steps keep nothing on
            ``self`` between them; the setting ``max_batch_size`` wins.
        pad: inputs that may have another size in each request of a batch, and what the smaller ones
            are filled up with: ``{"input_ids": 0, "attention_mask": 0}``.
    """

    model_name: str = "serve"
    model_path: str = ""
    thread_safe: bool = False
    max_batch_size: int | None = None
    pad: Mapping[str, Any] = MappingProxyType({})
    _engineroom: Predicts | None = None

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:
        # Here and not in __init__, which scripts replace without calling it.
        self = object.__new__(cls)
        self._engineroom = _behind.get()
        return self

    def __init__(self, model_name: str = "", model_path: str | None = None) -> None:
        """``(model_name, model_path)``, or the path alone."""
        if model_path is None:
            model_name, model_path = "", model_name
        # What is not given stays as it is: the server sets it when the constructor is done.
        if model_name:
            self.model_name = model_name
        if model_path:
            self.model_path = model_path

    def _preprocess(self, data: Any) -> Any:
        """From the decoded request to inputs by name. As it is, unless overridden."""
        return data

    def _inference(self, data: Any) -> Any:
        """From inputs by name to outputs by name: the model file, run by the engine."""
        if self._engineroom is None:
            raise StepError(
                f"{type(self).__name__} was made outside Engineroom: no model file stands behind "
                "its default _inference; use engineroom.load(), or override _inference"
            )
        return self._engineroom.predict(data)

    def _postprocess(self, data: Any) -> Any:
        """From outputs by name to the answer. As it is, unless overridden."""
        return data

    def health(self) -> tuple[Any, int]:
        """Body and HTTP status of ``GET /health``. A service that loads on its own says when it is
        ready: with any status below 400.
        """
        return {"status": "OK"}, 200

    def inference(self, data: Any) -> Any:
        """Answer one request: the three steps in order. The server calls nothing else."""
        start = time.perf_counter()
        data = self._preprocess(data)
        preprocessed = time.perf_counter()
        data = self._inference(data)
        inferred = time.perf_counter()
        data = self._postprocess(data)
        _clock.times = (
            preprocessed - start,
            inferred - preprocessed,
            time.perf_counter() - inferred,
        )
        return data


def run_step(step: Callable[[Any], Any], data: Any) -> Any:
    """``step(data)``; its frame keeps ``data`` as it came, for whoever explains a failure."""
    return step(data)


def take_step_times() -> tuple[float, float, float] | None:
    """Seconds of each step of the last :meth:`Service.inference` in this thread, once."""
    times: tuple[float, float, float] | None = getattr(_clock, "times", None)
    _clock.times = None
    return times


@contextlib.contextmanager
def standing_behind(predicts: Predicts) -> Iterator[None]:
    """Services made inside this block run ``predicts`` as their default ``_inference``."""
    token = _behind.set(predicts)
    try:
        yield
    finally:
        _behind.reset(token)


def inherits_inference(service: Service, parent: type[Service]) -> bool:
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
