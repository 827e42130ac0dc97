"""The base class of an engine: what runs the models of one framework.

A subclass names what it recognises and loads a model file; the core does the rest. Nothing outside
:meth:`Engine.load` and :meth:`Engine.devices` may import the framework.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from packaging.requirements import Requirement

from engineroom.devices import Place
from engineroom.errors import (
    DeviceError,
    EngineError,
    InvalidTensorError,
    ModelFileError,
)
from engineroom.service import Service
from engineroom.values import CPU, Array, Device, TensorSpec, tensors

if TYPE_CHECKING:
    from engineroom.lending import Stage
    from engineroom.package import Package

log = logging.getLogger("engineroom")

OURS = ("onnx", "tensorflow", "pytorch", "mindspore", "sklearn", "spark")
"""Engines that are extras of the distribution, for messages that say what to install."""


class Predictor(ABC):
    """A model file, loaded on a device."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    device: Device = CPU
    example: Mapping[str, Array] | None = None
    """Inputs that it can run, where its specs leave open what it can."""
    batch_sizes: tuple[int, ...] = ()
    """Numbers of rows that it was made for, if that matters: a batch of several requests is filled
    up to the next of them."""
    backend: str = ""
    """What really runs it, where the device does not say: ``CUDAExecutionProvider``."""

    def feeds(self, data: Any, model: str) -> Mapping[str, Any]:
        """What :meth:`run` gets for ``data``: one array per declared input, checked.

        To override for models whose input no spec describes, such as rows of numbers and words.

        Raises:
            InvalidTensorError: with the name of the ``model``, what was expected and what came.
        """
        return tensors(self.inputs, data, model)

    @abstractmethod
    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Any]:
        """Outputs by name. ``feeds`` holds one array per declared input, checked against its spec.

        Called from one thread after another, and from several at once unless the engine's
        ``max_concurrency`` forbids it. Raise :meth:`refusal` for inputs that only the framework
        could find wrong.
        """

    @property
    def declared(self) -> str:
        """``"images" (N, 784) float32, …``, for messages."""
        return ", ".join(f'"{spec.name}" {spec}' for spec in self.inputs)

    def refusal(self, feeds: Mapping[str, Array], reason: object) -> InvalidTensorError:
        """The error for inputs that fit what is declared, and that the layers cannot take."""
        came = ", ".join(f'"{name}" {array.shape} {array.dtype}' for name, array in feeds.items())
        return InvalidTensorError(
            f"the model declares {self.declared} and cannot run on {came}: {reason}",
            expected=self.declared,
            got=came,
        )

    @functools.cached_property
    def has_open_sizes(self) -> bool:
        """Whether the declared inputs leave a size open, which the layers need not do."""
        shapes = [(None,) if spec.shape is None else spec.shape for spec in self.inputs]
        return not all(isinstance(size, int) for shape in shapes for size in shape)

    def warm_up(self) -> None:
        """Run once on :meth:`small_inputs`."""
        self.run(self.small_inputs())

    def small_inputs(self) -> Mapping[str, Array]:
        """The example, else the smallest inputs that the specs allow."""
        return self.example or {spec.name: spec.smallest() for spec in self.inputs}

    def close(self) -> None:  # noqa: B027
        """Give back what the garbage collector does not."""


_gates: dict[tuple[type, int], threading.BoundedSemaphore] = {}


class Engine(ABC):
    """What a plugin registers. Class attributes are declarations; see plugins/README.md."""

    name: ClassVar[str]
    """As in ``--engine`` and in the entry point: lower case."""
    parent: ClassVar[str]
    """What scripts import: ``model_service.onnx_model_service.OnnxServingBaseService``."""
    model_types: ClassVar[tuple[str, ...]] = ()
    """Values of ``model_type`` in config.json, any case."""
    model_files: ClassVar[tuple[str, ...]] = ()
    """Glob patterns of model files (or folders); one that begins with ``!`` takes files out."""
    needs_script: ClassVar[Mapping[str, str]] = {}
    """Patterns of files that cannot be served alone, and what to do about each."""
    model_path: ClassVar[Literal["file", "folder"]] = "file"
    """What ``self.model_path`` is: the model file or the folder that holds it."""
    path_alone: ClassVar[bool] = False
    """Whether services are made with ``(model_path)`` and not ``(model_name, model_path)``."""
    body: ClassVar[Literal["form", "text"]] = "form"
    """What the first step gets: the parsed JSON or form, or the body's text as it came."""
    words: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """``erno`` and ``msg`` of errors where they are not the usual ones, by the usual ``erno``."""
    frameworks: ClassVar[tuple[str, ...]] = ()
    """Requirements of which one must be installed: ``("onnxruntime>=1.17", …)``."""
    max_concurrency: ClassVar[int | None] = None
    """Predictions at once in a process, over all models of this engine; None: no limit."""
    thread_safe: ClassVar[bool] = True
    """Whether one loaded model may be called from several threads at once."""
    batches: ClassVar[bool] = False
    """Whether the parent's ``_inference`` takes the rows of several requests at once, which it then
    gets where a model's inputs have an open first dimension."""
    watches: ClassVar[tuple[str, ...]] = ()
    """Modules of the framework of whose import by a script the engine hears."""
    moved: ClassVar[Mapping[str, str]] = {}
    """Modules that the framework no longer has, and those that scripts get in their place."""

    @abstractmethod
    def load(self, path: Path, device: Device, threads: int) -> Predictor:
        """Load the model file ``path`` on ``device``, ``threads`` for one prediction.

        Raises:
            ModelFileError: not a model of this framework.
            DeviceError: the device could not be used after all.
        """

    def devices(self) -> tuple[Device, ...]:
        """The devices this engine could use now, best first. May import the framework."""
        return (CPU,)

    def is_model_file(self, path: Path) -> bool:  # noqa: ARG002
        """Whether the content of ``path``, whose name fits, is a model: for common names."""
        return True

    def files(self, package: Package) -> list[Path]:
        """The model files of ``package``."""
        return package.files(self.model_files, self.is_model_file)

    def path_for(self, package: Package) -> str:
        """``self.model_path`` of the services of ``package``, as :attr:`model_path` says."""
        files = self.files(package)
        if not files:
            return str(package.folder)
        if len(files) > 1 and self.model_path == "file":
            names = ", ".join(path.name for path in files)
            log.warning("several model files (%s): model_path is the first", names)
        return str(files[0] if self.model_path == "file" else files[0].parent)

    def code_in(self, path: Path) -> str | None:  # noqa: ARG002
        """Why to :meth:`load` ``path`` runs code that is in it: "is a pickle"; None: it does not.

        Asked before each load. Such a file is read only where the setting ``allow_pickle`` is on.

        Raises:
            ModelFileError: not a model of this framework.
        """
        return None

    def environment(self, threads: int | None) -> dict[str, str]:  # noqa: ARG002
        """Variables of a process of its own, set where the user has set none, before any import.

        Log levels, memory growth, and thread counts where ``threads`` for one prediction is given.
        """
        return {}

    def set_environment(self, threads: int | None) -> None:
        """Set :meth:`environment`; the user's own variables stay."""
        for name, value in self.environment(threads).items():
            os.environ.setdefault(name, value)

    def before_import(self, name: str, stage: Stage) -> str | None:  # noqa: ARG002
        """One of :attr:`watches` is about to be imported for the script of ``stage``.

        For what the framework reads while it is imported. Returns the name of the module that is
        to stand for it, if another is.
        """
        return None

    def after_import(self, module: ModuleType, stage: Stage) -> None:  # noqa: B027
        """One of :attr:`watches` has been imported for the script of ``stage``.

        Runs once for every script, also on a module that it has run on before. See
        :mod:`engineroom.lending` for what to do to a library for the sake of scripts only.

        Raises:
            LoadError: against the script's use of the library; its load fails when it has run.
        """

    def needs_model_file(self, service: Service) -> bool:  # noqa: ARG002
        """Whether the parent's own ``_inference`` would run the model file for ``service``.

        Asked when the script's constructor and the threads it started are done.
        """
        return True

    def blames_input(self, error: BaseException) -> bool:  # noqa: ARG002
        """Whether ``error``, which a step raised, says that the client's data do not fit."""
        return False

    def join(self, parts: Sequence[Any]) -> Any:
        """One array of the rows of several, which have the same type, dtype and other dimensions.

        To override for what ``_preprocess`` of scripts returns in place of numpy arrays.
        """
        return np.concatenate(parts)

    def end(self) -> str:
        """What has ended the framework in this process for good; empty while it works.

        Asked when a request has failed, and every second: be quick, and import nothing.
        """
        return ""

    def envelope(self, data: Any, result: Any) -> Any:  # noqa: ARG002
        """What is sent for the ``result`` of a service that was given ``data``."""
        return result

    def service_class(self) -> type[Service]:
        """The class behind :attr:`parent`. Its default steps import the framework, not itself."""
        return self._made_service_class

    @property
    def import_line(self) -> str:
        """The line that a script gets :attr:`parent` with."""
        module, _, name = self.parent.rpartition(".")
        return f"from {module} import {name}"

    def template(self) -> Path | None:
        """The folder that ``engineroom init`` copies: ``template/`` beside the plugin, or None."""
        file = sys.modules[type(self).__module__].__file__
        folder = Path(file or "").parent / "template"
        return folder if file and folder.is_dir() else None

    def has_model_type(self, kind: str) -> bool:
        """Whether ``model_type`` of config.json means this engine."""
        return kind.lower() in {self.name, *(known.lower() for known in self.model_types)}

    def why_not(self, package: Package) -> str | None:
        """Why the files of ``package`` cannot be served alone, if this engine knows them."""
        for pattern, reason in self.needs_script.items():
            for path in package.files((pattern,)):
                return f"{path.name} {reason}"
        return None

    @functools.cached_property
    def _made_service_class(self) -> type[Service]:
        module, _, name = self.parent.rpartition(".")
        doc = f"Parent of {self.name} services: _inference takes inputs and gives outputs by name."
        return type(name, (Service,), {"__module__": module, "__doc__": doc})

    @functools.cached_property
    def gate(self) -> contextlib.AbstractContextManager[Any]:
        """Held during a load, a warm-up and a request; lets ``max_concurrency`` threads in."""
        if self.max_concurrency is None:
            return contextlib.nullcontext()
        # Every engineroom.load() makes an engine anew, and the framework is the process's.
        key = (type(self), self.max_concurrency)
        return _gates.setdefault(key, threading.BoundedSemaphore(self.max_concurrency))

    def framework_version(self) -> str | None:
        """``name version`` of the framework that is installed, from metadata; None without one.

        Raises:
            EngineError: none is installed, or only one that is too old.
        """
        found = None
        for requirement in map(Requirement, self.frameworks):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                version = importlib.metadata.version(requirement.name)
                found = f"{requirement.name} {version}"
                if requirement.specifier.contains(version, prereleases=True):
                    return found
        if not self.frameworks:
            return None
        wanted = self.frameworks[0]
        command = f"pip install --upgrade '{wanted}'"
        if found is None and self.name in OURS:
            command = f"pip install 'engineroom[{self.name}]'"
        raise EngineError(
            f"engine {self.name!r} needs {wanted}, found {found or 'none'}; run: {command}"
        )


class LazyPredictor:
    """Loads the model file when the default ``_inference`` first needs it.

    A script that runs its model itself never gets here, so it does not pay for the framework.
    """

    def __init__(
        self,
        engine: Engine,
        find: Callable[[], Path],
        place: Place,
        threads: int,
        model: str,
        allow_pickle: bool = False,
    ) -> None:
        """``find()`` is the model file; it raises LoadError where there is none."""
        self.engine, self.find, self.place = engine, find, place
        self.threads, self.model, self.allow_pickle = threads, model, allow_pickle
        self.predictor: Predictor | None = None
        self.aside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        """What is held while the engine runs."""
        self._lock = threading.Lock()

    @functools.cached_property
    def devices(self) -> list[Device]:
        """The devices to try, in this order; asks the framework.

        Raises:
            EngineError: no framework, or one that is too old or broken.
            DeviceError: the device asked for is not among them.
        """
        self.engine.framework_version()
        try:
            there = self.engine.devices()
        except Exception as error:  # libraries that do not fit each other raise anything
            raise EngineError(
                f"engine {self.engine.name!r}: its framework is installed and cannot be used: "
                f"{type(error).__name__}: {error}"
            ) from error
        return self.place.choose(there)

    def chosen_device(self) -> Device:
        """Where the model runs, or would run: for a parent class that runs the script's own model.

        Raises:
            LoadError: as :attr:`devices`.
        """
        return self.predictor.device if self.predictor is not None else self.devices[0]

    def load(self) -> Predictor:
        """The predictor, loaded by the first caller, who holds the engine's gate.

        Raises:
            LoadError: no framework, device or model file, or one that cannot be used.
        """
        with self._lock:
            if self.predictor is None:
                self.predictor = self._load(self.find())
            return self.predictor

    def _load(self, path: Path) -> Predictor:
        *better, last = self.devices
        if why := self.engine.code_in(path):
            self._admit(path, why)
        for device in better:
            try:
                return self.engine.load(path, device, self.threads)
            except DeviceError as error:
                log.warning("%s; trying the next device, since none was asked for", error)
        return self.engine.load(path, last, self.threads)

    def _admit(self, path: Path, why: str) -> None:
        if not self.allow_pickle:
            raise ModelFileError(
                f"{path} {why}: reading it would run code that is in it; if you trust this file, "
                "allow it with --allow-pickle, ENGINEROOM_ALLOW_PICKLE=1 or "
                "load(…, allow_pickle=True)"
            )
        log.warning("%s %s: reading it runs code that is in it", path.name, why)

    def predict(self, data: Any) -> Any:
        """Outputs by name for inputs by name: arrays, or lists that become arrays."""
        predictor = self.predictor or self.load()
        try:
            feeds = predictor.feeds(data, self.model)
            with self.aside():
                return predictor.run(feeds)
        except InvalidTensorError as error:
            error.detail.setdefault("model", self.model)
            raise

    def close(self) -> None:
        """Give back what has been loaded, if anything has."""
        if self.predictor is not None:
            self.predictor.close()
            self.predictor = None
