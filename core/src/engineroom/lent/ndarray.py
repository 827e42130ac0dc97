"""``mms.utils.mxnet.ndarray`` on numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["top_probability"]


class NDArray(np.ndarray[Any, np.dtype[Any]]):
    """A numpy array with the methods that scripts call on MXNet's."""

    def asnumpy(self) -> Any:
        """The plain array."""
        return np.asarray(self)

    def asscalar(self) -> Any:
        """The only value."""
        return self.item()

    def as_in_context(self, _context: Any) -> NDArray:
        """Itself: there is one context."""
        return self


def as_nd(array: Any) -> NDArray:
    """``array`` as an :class:`NDArray`, contiguous."""
    return np.ascontiguousarray(array).view(NDArray)


def top_probability(data: Any, labels: Sequence[str], top: int = 5) -> list[dict[str, Any]]:
    """The ``top`` best classes of the first row of ``data``, as probability and class."""
    array = data.asnumpy() if hasattr(data, "asnumpy") else data
    row = np.asarray(array, np.float64)
    row = row.reshape(row.shape[0], -1)[0]
    best = np.argsort(-row, kind="stable")[:top]
    return [{"probability": float(row[i]), "class": labels[i]} for i in best]
