"""``engineroom engines``: what is installed, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engineroom.errors import EngineError, PluginError
from engineroom.plugins import Registry
from engineroom.settings import Settings
from engineroom.tools.probe import probe

COLUMNS = ("name", "version", "framework", "model_files", "devices", "state")
USABLE = "usable"


def inventory(settings: Settings, devices: bool) -> list[dict[str, Any]]:
    """One row per installed engine. With ``devices`` their frameworks are asked, elsewhere."""
    registry = Registry(settings)
    rows = [_row(registry, name) for name in registry.names()]
    if devices:
        _add_devices([row for row in rows if row["state"] == USABLE])
    others = registry.broken.keys() - {row["name"] for row in rows}
    broken = [{"name": name, "state": f"plugin: {registry.broken[name]}"} for name in others]
    return rows + [dict.fromkeys(COLUMNS) | row for row in broken]


def _add_devices(rows: Sequence[dict[str, Any]]) -> None:
    found = probe([row["name"] for row in rows])
    for row in rows:
        answer = found[row["name"]]
        if isinstance(answer, EngineError):
            row["state"] = str(answer)
        else:
            row["devices"] = answer


def _row(registry: Registry, name: str) -> dict[str, Any]:
    distribution = registry.distribution(name)
    version = distribution.version if distribution else None
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"name": name, "version": version, "state": USABLE}
    try:
        engine = registry.engine(name)
        row["model_files"] = [name for name in engine.model_files if name[0] != "!"]
        row["framework"] = engine.framework_version()
    except (EngineError, PluginError) as error:
        row["state"] = str(error)
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text with aligned columns."""
    if not rows:
        return "no engine is installed; run: pip install 'engineroom[onnx]'"
    lines = [[column.replace("_", " ") for column in COLUMNS]]
    lines += [[_cell(row[column]) for column in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(value) if isinstance(value, list) else str(value)
