"""Declares the engine. Imports no framework."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from engineroom.devices import machine_devices
from engineroom.engine import Engine, Predictor
from engineroom.hookspecs import hookimpl
from engineroom.service import Service
from engineroom.values import Device

if TYPE_CHECKING:
    from engineroom.lending import Stage


CHECKPOINT = (
    "belongs to a checkpoint, which has weights and no signature: restore it in a script, or "
    "export a SavedModel"
)
# The modules in which Keras 2 kept its layers.
LAYERS = (
    "core convolutional pooling normalization merge embeddings recurrent wrappers local noise "
    "advanced_activations"
)
# Where Keras 2 kept its Tokenizer: imported by scripts, and named by pickles of one.
TEXTS = ("keras.preprocessing.text", "keras.src.preprocessing.text", "keras_preprocessing.text")


class TensorFlowEngine(Engine):
    """SavedModel folders, ``.keras`` files and frozen graphs on TensorFlow 2."""

    name = "tensorflow"
    parent = "model_service.tfserving_model_service.TfServingBaseService"
    model_types = ("TensorFlow", "TensorFlow2", "TF", "Keras")
    # The two taken out lie in a SavedModel's folder, beside the model.
    model_files = ("saved_model.pb", "*.keras", "*.pb", "!fingerprint.pb", "!keras_metadata.pb")
    needs_script = MappingProxyType(
        {
            "*.h5": "is HDF5, the format of Keras 2: load it in a script, or save it as .keras",
            "*.meta": CHECKPOINT,
            "*.ckpt.index": CHECKPOINT,
            "checkpoint": CHECKPOINT,
        }
    )
    model_path = "folder"
    # Builds of one library: each of them owns the package `tensorflow`.
    batches = True
    frameworks = (
        "tensorflow>=2.16",
        "tensorflow-cpu>=2.16",
        "tensorflow-rocm>=2.16",
        "tensorflow-macos>=2.16",
        "tf-nightly>=2.16",
    )
    watches = (
        *("tensorflow", "keras", "tf_keras"),
        # Imported later than the others, each with what it takes from Keras then.
        *("keras.src.saving.saving_api", "tensorflow.keras.backend"),
    )
    moved = MappingProxyType(
        {
            **{f"keras.layers.{part}": "keras.layers" for part in LAYERS.split()},
            "keras.engine": "keras.layers",
            "keras.engine.topology": "keras.layers",
            "keras.engine.training": "keras.models",
            "keras.utils.np_utils": "keras.utils",
            "keras.utils.generic_utils": "keras.utils",
            "keras.utils.vis_utils": "keras.utils",
            "keras.backend.tensorflow_backend": "keras.backend",
            **dict.fromkeys(TEXTS, "keras._tf_keras.keras.preprocessing.text"),
        }
    )

    def load(self, path: Path, device: Device, threads: int) -> Predictor:
        from engineroom_tensorflow.loader import TensorFlowPredictor

        return TensorFlowPredictor(path, device, threads)

    def devices(self) -> tuple[Device, ...]:
        import tensorflow

        from engineroom_tensorflow.device import devices

        return devices(tensorflow)

    def environment(self, threads: int | None) -> dict[str, str]:
        counts = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        return {
            # 2 hides notes and warnings, 3 errors too: with no card, that of the missing driver.
            "TF_CPP_MIN_LOG_LEVEL": "3" if machine_devices("cuda") == 0 else "2",
            # TensorFlow would take all memory of the card at once, and leave none to other workers.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            # A .keras file runs on whatever the user's keras.json says, otherwise.
            "KERAS_BACKEND": "tensorflow",
            **(dict.fromkeys(counts, str(threads)) if threads else {}),
        }

    def before_import(self, name: str, stage: Stage) -> str | None:
        from engineroom_tensorflow.keras2 import stands_in

        return stands_in(name, stage)

    def after_import(self, module: ModuleType, stage: Stage) -> None:  # noqa: ARG002
        from engineroom_tensorflow import keras2, tf1

        if module.__name__ == "tensorflow":
            tf1.lend_names(module)
        else:
            keras2.lend_names()
            keras2.explain_failures()

    def service_class(self) -> type[Service]:
        from engineroom_tensorflow.service import TfServingBaseService

        return TfServingBaseService


@hookimpl
def register_engine(register: Callable[[Engine], None]) -> None:
    register(TensorFlowEngine())
