"""The parent class of MindSpore services."""

from __future__ import annotations

from engineroom.service import Service


class SingleNodeService(Service):
    """What ``model_service.model_service`` holds.

    Scripts with a checkpoint build their network, load it from the folder ``self.model_path`` and
    override ``_inference``. The default one runs the package's ``.mindir`` file: it takes ``{input
    name: array or nested list}`` and returns ``{output name: numpy array}``.
    """
