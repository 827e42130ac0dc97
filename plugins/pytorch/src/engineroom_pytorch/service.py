"""The parent class of PyTorch services. Imports PyTorch only where a script has done so."""

from __future__ import annotations

import sys
from typing import Any

from engineroom.service import Service


class PTServingBaseService(Service):
    """What ``model_service.pytorch_model_service`` holds.

    The default ``_inference`` returns ``{key: self.model(value)}`` for each entry of what
    ``_preprocess`` returned, without gradients, on the device that the server was given. While
    ``self.model`` is None it runs the model file, as in packages without a script.
    """

    model: Any = None
    """Any callable; the script sets it."""
    _running: Any = None

    def _inference(self, data: Any) -> Any:
        """From inputs by name to outputs by name."""
        model = self.model
        if model is None:
            return super()._inference(data)
        if not isinstance(data, dict):
            raise TypeError(
                "the default _inference takes a dict of tensors by name, got "
                f"{type(data).__name__}; return one from _preprocess"
            )
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(model, torch.nn.Module):
            return {key: model(value) for key, value in data.items()}
        running = self._running
        if running is None or running.module is not model:
            from engineroom_pytorch.running import RunningModule

            running = self._running = RunningModule(model, self._engineroom)
        return running(data)
