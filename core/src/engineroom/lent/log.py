"""``log``, ``model_service.log`` and ``mms.log``: everything of ``logging``, and ``get_logger``."""

from __future__ import annotations

import logging

get_logger = logging.getLogger
vars().update({name: value for name, value in vars(logging).items() if name[0] != "_"})
__all__ = [name for name in vars() if name[0] != "_"]
