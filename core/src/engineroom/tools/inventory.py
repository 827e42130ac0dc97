"""``engineroom engines``: what is installed, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engineroom.errors import EngineError, PluginError
from engineroom.plugins import Registry
from engineroom.settings import Settings

COLUMNS = ("name", "version", "framework", "model_files", "devices", "state")


def inventory(settings: Settings, devices: bool) -> list[dict[str, Any]]:
    """One row per installed engine. Imports no framework unless ``devices`` are asked for."""
    registry = Registry(settings)
    rows = [_row(registry, name, devices) for name in registry.names()]
    others = registry.broken.keys() - {row["name"] for row in rows}
    broken = [{"name": name, "state": f"plugin: {registry.broken[name]}"} for name in others]
    return rows + [dict.fromkeys(COLUMNS) | row for row in broken]


def _row(registry: Registry, name: str, devices: bool) -> dict[str, Any]:
    distribution = registry.distribution(name)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "name": name,
        "version": distribution.version if distribution else None,
        "state": "usable",
    }
    try:
        engine = registry.engine(name)
        row["model_files"] = list(engine.model_files)
        row["framework"] = engine.framework_version()
        if devices:
            row["devices"] = [str(device) for device in engine.devices()]
    except (EngineError, PluginError) as error:
        row["state"] = str(error)
    except Exception as error:  # a framework that cannot be imported is what this command is for
        row["state"] = f"its framework is broken: {type(error).__name__}: {error}"
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text with aligned columns."""
    if not rows:
        return "no engine is installed; run: pip install 'engineroom[onnx]'"
    lines = [[column.replace("_", " ") for column in COLUMNS]]
    lines += [[_cell(row[column]) for column in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        )
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(value) if isinstance(value, list) else str(value)
