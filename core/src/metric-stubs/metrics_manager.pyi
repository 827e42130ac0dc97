from typing import ClassVar

from engineroom.metrics import Metric

class MetricsManager:
    metrics: ClassVar[dict[str, Metric]]
