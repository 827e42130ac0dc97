"""Declares the engine. Imports no framework."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from engineroom.engine import Engine, Predictor
from engineroom.hookspecs import hookimpl
from engineroom.lending import Stage, lend
from engineroom.service import Service
from engineroom.values import Device


class PyTorchEngine(Engine):
    """Scripts around an ``nn.Module``; TorchScript and ``torch.export`` files without a script."""

    name = "pytorch"
    parent = "model_service.pytorch_model_service.PTServingBaseService"
    model_types = ("PyTorch", "Torch")
    model_files = ("*.pt2", "*.pt", "*.pth")
    batches = True
    # The first in which torch.load runs no code from a file unless it is told to.
    frameworks = ("torch>=2.6",)
    watches = ("torch", "torchvision.transforms")
    moved = MappingProxyType(
        {
            "torch._six": "engineroom_pytorch.six",
            "torchvision.models.utils": "torch.hub",
            "torchvision.transforms.functional_tensor": "torchvision.transforms.functional",
        }
    )

    def load(self, path: Path, device: Device, threads: int) -> Predictor:
        from engineroom_pytorch.loader import load

        return load(path, device, threads)

    def devices(self) -> tuple[Device, ...]:
        import torch

        from engineroom_pytorch.device import devices

        return devices(torch)

    def environment(self, threads: int | None) -> dict[str, str]:
        # Read when torch is imported: the start value of every thread, also of a script's own.
        return {"OMP_NUM_THREADS": str(threads)} if threads else {}

    def after_import(self, module: ModuleType, stage: Stage) -> None:  # noqa: ARG002
        from engineroom_pytorch.checkpoints import adapt

        if module.__name__ == "torch":
            adapt(module)
        else:  # gone since torchvision 0.14
            names = {"Scale": "Resize", "RandomSizedCrop": "RandomResizedCrop"}
            lend(
                module,
                {old: (vars(module)[new], f"transforms.{new}") for old, new in names.items()}.get,
            )

    def join(self, parts: Sequence[Any]) -> Any:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(parts[0], torch.Tensor):
            return torch.cat(list(parts))
        return super().join(parts)

    def needs_model_file(self, service: Service) -> bool:
        return getattr(service, "model", None) is None

    def service_class(self) -> type[Service]:
        from engineroom_pytorch.service import PTServingBaseService

        return PTServingBaseService


@hookimpl
def register_engine(register: Callable[[Engine], None]) -> None:
    register(PyTorchEngine())
