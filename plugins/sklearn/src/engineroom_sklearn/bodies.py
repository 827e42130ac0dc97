"""The JSON of the contract: ``{"meta": …, "data": {"req_data": […]}}`` in, ``resp_data`` out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from engineroom.errors import InvalidTensorError
from engineroom_sklearn.tables import Features


def enveloped(data: Any, result: Any) -> dict[str, Any]:
    """``result`` as it is sent, after the ``meta`` of the request's body ``data`` if it has one."""
    answer = {"data": {"resp_data": result}}
    if isinstance(data, str) and '"meta"' in data:
        try:
            request = json.loads(data)
        except (ValueError, RecursionError):
            return answer
        if isinstance(request, dict) and "meta" in request:
            return {"meta": request["meta"], **answer}
    return answer


def rows_of(request: Any, features: Features) -> Any:
    """The rows of ``data.req_data``, each as a list of its values.

    Their order is that of ``features.names`` where the keys are those, else that of the first row's
    keys. Rows that are lists already stay, as does a request without ``data``.

    Raises:
        InvalidTensorError: no ``req_data``, or rows whose keys do not fit.
    """
    if not isinstance(request, Mapping) or "data" not in request:
        return _listed(request, features) if isinstance(request, list) else request
    data = request["data"]
    if not isinstance(data, Mapping) or not isinstance(data.get("req_data"), list):
        raise InvalidTensorError(
            f'the request has no list "req_data" in "data"; send {features.example()}',
            expected=features.example(),
        )
    return _listed(data["req_data"], features)


def _listed(rows: list[Any], features: Features) -> list[Any]:
    if not rows or not isinstance(rows[0], Mapping):
        return rows
    keys = _keys(rows[0], features)
    return list(_values(rows, keys))


def _keys(first: Mapping[str, Any], features: Features) -> list[str]:
    """The keys of a row, in the order of the model's columns."""
    names = features.names or ()
    if not set(first) & set(names):
        return list(first)
    if set(first) != set(names):
        raise _misfit(0, first, list(names), "the model's columns are")
    return list(names)


def _values(rows: list[Any], keys: list[str]) -> Iterator[list[Any]]:
    wanted = set(keys)
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or set(row) != wanted:
            raise _misfit(index, row, keys, "row 0 has")
        yield [row[key] for key in keys]


def _misfit(index: int, row: Any, wanted: list[str], whose: str) -> InvalidTensorError:
    expected = f"{whose} {', '.join(wanted)}"
    if not isinstance(row, Mapping):
        return InvalidTensorError(f"row {index} of req_data is no object; {expected}")
    missing = [repr(key) for key in wanted if key not in row]
    unknown = [repr(key) for key in row if key not in wanted]
    problem = " and ".join(
        f"{what} {', '.join(which)}"
        for what, which in (("lacks", missing), ("has the unknown", unknown))
        if which
    )
    return InvalidTensorError(
        f"row {index} of req_data {problem}; {expected}", expected=wanted, got=list(row)
    )
