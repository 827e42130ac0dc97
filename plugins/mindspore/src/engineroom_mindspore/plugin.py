"""Declares the engine. Imports no framework."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, ModuleType

from engineroom.engine import Engine, Predictor
from engineroom.hookspecs import hookimpl
from engineroom.lending import Stage
from engineroom.values import Device


class MindSporeEngine(Engine):
    """``.mindir`` files, and scripts around a network and its ``.ckpt`` file."""

    name = "mindspore"
    parent = "model_service.model_service.SingleNodeService"
    model_types = ("MindSpore",)
    model_files = ("*.mindir", "*.ckpt")
    # Scripts write self.model_path + "/lenet.ckpt".
    model_path = "folder"
    batches = True
    frameworks = ("mindspore>=2.7",)
    watches = ("mindspore",)
    moved = MappingProxyType(
        {
            "mindspore.dataset.vision.c_transforms": "mindspore.dataset.vision",
            "mindspore.dataset.vision.py_transforms": "engineroom_mindspore.py_transforms",
            "mindspore.dataset.transforms.c_transforms": "mindspore.dataset.transforms",
            "mindspore.dataset.transforms.py_transforms": "mindspore.dataset.transforms",
        }
    )
    # Two threads in MindSpore at once crash or hang the process, even with a model each.
    max_concurrency = 1
    thread_safe = False

    def load(self, path: Path, device: Device, threads: int) -> Predictor:
        from engineroom_mindspore.loader import MindSporePredictor

        return MindSporePredictor(path, device, threads)

    def devices(self) -> tuple[Device, ...]:
        import mindspore

        from engineroom_mindspore.device import devices

        return devices(mindspore)

    def environment(self, threads: int | None) -> dict[str, str]:
        # 3 is ERROR: at import it warns of every Ascend library that the machine lacks.
        variables = {"GLOG_v": "3"}
        if threads:
            variables["OMP_NUM_THREADS"] = str(threads)
        return variables

    def after_import(self, module: ModuleType, stage: Stage) -> None:
        from engineroom_mindspore.device import adapt, meet_numpy

        adapt(module, stage)
        meet_numpy(module)


@hookimpl
def register_engine(register: Callable[[Engine], None]) -> None:
    register(MindSporeEngine())
