"""Declares the engine. Imported whenever engines are listed, so it imports no framework."""

from collections.abc import Callable
from pathlib import Path

from engineroom import Device, Engine, Predictor, hookimpl


class CentroidEngine(Engine):
    """``.npz`` files with ``centroids`` (K, D) and ``labels`` (K,)."""

    name = "centroid"
    parent = "model_service.centroid_model_service.CentroidServingBaseService"
    model_types = ("Centroid",)
    model_files = ("*.npz",)
    frameworks = ("numpy>=1.24",)

    def load(self, path: Path, device: Device, threads: int) -> Predictor:
        # numpy runs on the CPU, in one thread: neither `device` nor `threads` is needed.
        from engineroom_centroid.loader import CentroidPredictor

        return CentroidPredictor(path)


@hookimpl
def register_engine(register: Callable[[Engine], None]) -> None:
    register(CentroidEngine())
