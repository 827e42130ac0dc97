"""Model files of Keras 2, of which Keras 3 reads some: tf-keras reads all, where it is there."""

from __future__ import annotations

import importlib.machinery
import os
import re
import sys
from pathlib import Path
from typing import Any

from engineroom.lending import Stage, lend_call
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
