"""How long the steps of a model take: what scripts find in ``MetricsManager``, and our own figures.

Source: ModelArts contract, "Parent classes": scripts that override ``inference`` report their steps
with ``MetricsManager.metrics["<model_name>_LatencyInference"].update(milliseconds)``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

STEPS = ("preprocess", "inference", "postprocess", "overall")
REPORTED = ("preprocess", "inference", "overall")
"""What scripts can report."""

_request = threading.local()


class Metric:
    """Milliseconds of one step: how many, their mean, the last."""

    def __init__(self, step: str, lock: threading.Lock) -> None:
        """``lock`` is held while it changes; those of one model share it."""
        self.step, self._lock = step, lock
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.count, self.total, self.last = 0, 0.0, 0.0

    def add(self, ms: float) -> None:
        """Count a step that took ``ms``. The caller holds the lock."""
        self.count += 1
        self.total += ms
        self.last = ms

    def update(self, value: Any) -> None:
        """Count a step of the script's own, in milliseconds, as one of the present request."""
        ms = float(value)
        with self._lock:
            self.add(ms)
        reported = _request.__dict__.setdefault("reported", {})
        reported[self.step] = reported.get(self.step, 0.0) + ms / 1e3

    def figures(self) -> dict[str, float]:
        """``count``, ``mean`` and ``last``."""
        with self._lock:
            mean = self.total / self.count if self.count else 0.0
            return {"count": self.count, "mean": round(mean, 3), "last": round(self.last, 3)}


class Metrics:
    """The metrics of one model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of = {step: Metric(step, self._lock) for step in STEPS}

    def by_key(self, model_names: Iterable[str]) -> dict[str, Metric]:
        """For ``MetricsManager.metrics``: the same objects under each name the model may have."""
        return {f"{n}_Latency{s.title()}": self._of[s] for n in model_names for s in REPORTED}

    def begin(self) -> None:
        """A request begins in this thread."""
        _request.__dict__.pop("reported", None)

    def end(self, steps: tuple[float, float, float] | None, seconds: float) -> dict[str, float]:
        """The request has been answered within ``seconds``: those of each step, where known.

        ``steps`` are those of a service that ran all three the usual way; otherwise what the
        script reported, if it has, is all that is known.
        """
        reported: dict[str, float] = _request.__dict__.pop("reported", {})
        times = dict(zip(STEPS, steps, strict=False)) if steps is not None else {}
        with self._lock:
            for step, took in (*times.items(), ("overall", seconds)):
                if step not in reported:
                    self._of[step].add(took * 1e3)
        return reported if steps is None else times

    def clear(self) -> None:
        """Forget what was so far: warm-ups."""
        for metric in self._of.values():
            metric.clear()

    def figures(self) -> dict[str, dict[str, float]]:
        """``count``, ``mean`` and ``last`` in milliseconds, of each step that was ever timed."""
        return {step: metric.figures() for step, metric in self._of.items() if metric.count}
