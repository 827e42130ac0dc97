"""``import engineroom.scripts`` makes a ``customize_service.py`` importable in tests and notebooks.

From then on ``model_service.*``, ``log``, ``metric.metrics_manager`` and ``mms.*`` can be imported
as in a server, unless the process has modules of such names. A service that is made by hand runs
its own steps; :func:`engineroom.load` gives one with its model behind it.
"""

from __future__ import annotations

import sys

from engineroom.plugins import Registry
from engineroom.surface import Surface

sys.meta_path.append(Surface(Registry()))
