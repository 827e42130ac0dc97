"""Names of Keras 2 that Keras 3 lacks, or has for ``tf.keras`` only; and model files of Keras 2.

Keras 3 reads some of those: tf-keras reads all, where it is there.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import os
import re
import sys
from pathlib import Path
from typing import Any

from engineroom.lending import Stage, lend, lend_call, lend_method
from engineroom.package import Package

SWITCH = "TF_USE_LEGACY_KERAS"
"""Read when TensorFlow is imported: ``tf.keras`` is tf-keras then."""
HOLDERS = re.compile(r"(keras|tensorflow\.keras)\.(.*\.)?(models|saving|saving_api)")
"""The modules that have ``load_model``."""
MARKS = (b"_tf_keras_model", b"_tf_keras_sequential", b"_tf_keras_network")
"""Kinds of object in a SavedModel that ``model.save(folder)`` of Keras 2 has written."""


def stands_in(name: str, stage: Stage) -> str | None:
    """The module that is to stand for ``name``, which the script of ``stage`` is importing.

    Also tells TensorFlow, which has not been imported yet.
    """
    if name not in ("tensorflow", "keras") or not stage.settings.lent_names or not is_installed():
        return None
    if _is_for_keras_2(stage.package):
        os.environ.setdefault(SWITCH, "1")
        stage.note("Keras 2", "tf_keras")
    return "tf_keras" if name == "keras" and os.environ.get(SWITCH) == "1" else None


def is_installed() -> bool:
    """Whether tf-keras is."""
    return importlib.machinery.PathFinder.find_spec("tf_keras") is not None


def _is_for_keras_2(package: Package) -> bool:
    return any(map(written_by, package.files(("*.h5", "*.hdf5", "saved_model.pb"))))


def written_by(path: Path) -> str | None:
    """The version of Keras 2 that wrote a model file, or the folder of one; None: another did."""
    if path.is_dir() and (path / "saved_model.pb").is_file():
        path /= "saved_model.pb"
    if path.name == "saved_model.pb":
        content = path.read_bytes()
        return "2" if any(mark in content for mark in MARKS) else None
    import h5py  # type: ignore[import-untyped]

    if not path.is_file() or not h5py.is_hdf5(path):
        return None
    with h5py.File(path) as file:
        places = [file, file.get("model_weights")]
        found = [place.attrs.get("keras_version") for place in places if place is not None]
    version = next((v.decode() if isinstance(v, bytes) else str(v) for v in found if v), "")
    return version if version.partition(".")[0] in ("1", "2") else None


def explain_failures() -> None:
    """Let ``load_model`` of Keras 3 say what a script's file is that it cannot read."""
    for name in filter(HOLDERS.fullmatch, list(sys.modules)):
        if "load_model" in vars(sys.modules[name]):
            lend_call(sys.modules[name], "load_model", _load_model)


def _load_model(_stage: Stage, original: Any, filepath: Any, *args: Any, **options: Any) -> Any:
    try:
        return original(filepath, *args, **options)
    except Exception as error:
        version = written_by(Path(filepath)) if isinstance(filepath, str | os.PathLike) else None
        if version is None:
            raise
        advice = "run: pip install tf-keras, and it will be used"
        if is_installed():
            advice = f"set {SWITCH}=1 before TensorFlow is imported"
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"{filepath} was written by Keras {version}, and Keras 3 cannot read it "
            f"({type(error).__name__}: {reason[:200]}); {advice}"
        ) from error


# --- names


def lend_names() -> None:
    """For the namespaces of Keras, under each name of it: what scripts of Keras 2 find there."""
    for keras in ("keras", "keras._tf_keras.keras", "tensorflow.keras", "tf_keras"):
        for part in ("backend", "utils", "layers", "losses", "metrics", "preprocessing.image"):
            if (module := sys.modules.get(f"{keras}.{part}")) is not None:
                is_old = module.__name__.startswith("tf_keras.") and part == "backend"
                find = _find_old if is_old else functools.partial(_find, part)
                lend(module, find, f"keras.{part}")
    if model := getattr(sys.modules.get("keras"), "Model", None):
        _lend_methods(model)


def _find(part: str, name: str) -> tuple[Any, str] | None:
    if part == "backend" and name == "get_session":
        return sys.modules["tensorflow"].compat.v1.Session, "no session"
    if f"{part}.{name}" in IDLE:
        return IDLE[f"{part}.{name}"], "nothing"
    if "keras._tf_keras" not in sys.modules:  # Keras 3 itself
        return None
    found = vars(importlib.import_module(f"keras._tf_keras.keras.{part}")).get(name)
    return None if found is None else (found, f"tf.keras.{part}.{name}")


def _find_old(name: str) -> tuple[Any, str] | None:
    """What tf-keras keeps to itself; whoever asks for its session means graphs."""
    tf: Any = sys.modules["tensorflow"]
    if name == "get_session" and tf.executing_eagerly():
        tf.compat.v1.disable_eager_execution()
    found = getattr(importlib.import_module("tf_keras.src.backend"), name, None)
    return None if found is None else (found, f"tf.compat.v1.keras.backend.{name}")


IDLE = {
    "backend.set_session": lambda _session: None,
    "backend.learning_phase": lambda: 0,
    "backend.set_learning_phase": lambda _value: None,
    "utils.multi_gpu_model": lambda model, *_args, **_options: model,
}
"""What has nothing to do any more, at least for one model on one device."""


def _lend_methods(model: type) -> None:
    """Gone since TensorFlow 2.6, and what scripts with threads called until 2.0."""
    made = "make_predict_function"
    lend_method(model, f"_{made}", lambda it: getattr(it, made)(), f"{made}()")
    lend_method(model, "predict_proba", lambda it, *a, **o: it.predict(*a, **o), "predict")
    lend_method(model, "predict_classes", _predict_classes, "predict and argmax")


def _predict_classes(model: Any, *args: Any, **options: Any) -> Any:
    scores = model.predict(*args, **options)
    return scores.argmax(-1) if scores.shape[-1] > 1 else (scores > 0.5).astype("int32")
