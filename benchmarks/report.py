"""The tables of docs/performance.md, between its marks, and its plot, from what bench.py has found.

python benchmarks/report.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PLOT = DOCS / "performance.md", DOCS / "performance.png"
RESULTS = Path(__file__).with_name("results.json")
Table = list[list[str]]


def concurrency(found: Any) -> Table:
    head = ["connections"]
    for name in found:
        head += [f"{name}: requests/s", "p50 ms", "p99 ms", "CPU µs"]
    rows = [head]
    for each in zip(*found.values(), strict=True):
        cells = [f"{each[0]['connections']:.0f}"]
        for row in each:
            p50, p99 = row["p50"] / 1e3, row["p99"] / 1e3
            cells += [f"{row['rate']:,.0f}", f"{p50:.2f}", f"{p99:.1f}", f"{row['server_cpu']:.0f}"]
        rows.append(cells)
    clients = [row["client_cpu"] for rows in found.values() for row in rows]
    return [
        *rows,
        [f"The client took {min(clients):.0f} to {max(clients):.0f} µs of CPU a request."],
    ]


def settings(found: Any) -> Table:
    rows = [["setting", "requests/s", "p50 ms", "p99 ms", "CPU µs"]]
    return rows + [
        [
            name if name == "none" else f"`{name}`", f"{row['rate']:,.0f}",
            f"{row['p50'] / 1e3:.1f}", f"{row['p99'] / 1e3:.1f}", f"{row['server_cpu']:.0f}",
        ]
        for name, row in found.items()
    ]  # fmt: skip


def bodies(found: Any) -> Table:
    sizes = [f"{size // 1000:,} KB" for size in found["sizes"]]
    rows = [["body", *(f"{size}, ms" for size in sizes)]]
    return rows + [
        [kind, *(f"{ms:.2f}" if ms < 10 else f"{ms:.0f}" for ms in times)]
        for kind, times in found.items()
        if kind != "sizes"
    ]


def workers(found: Any) -> Table:
    rows = [["server", "from start to ready, s", "memory of a worker, MB"]]
    return rows + [
        [name, f"{row['start_s']:.1f}", f"{row['mb']:.0f}"] for name, row in found.items()
    ]


def engines(found: Any) -> Table:
    rows = [
        ["engine, model", "called directly, µs", "`engineroom.load`, µs", "HTTP, 1 connection, µs",
         "directly, 16 rows: µs a row", "HTTP, 32 connections: µs a request", "CPU µs"],
    ]  # fmt: skip
    for name, row in found.items():
        direct, many = row["direct"], row["many"]
        batched = f"{direct['batched'] / 16:.0f}" if "batched" in direct else "–"
        rows.append([
            name, f"{direct['direct']:.0f}", f"{direct['through']:.0f}", f"{row['one']['p50']:.0f}",
            batched, f"{1e6 / many['rate']:.0f}", f"{many['server_cpu']:.0f}",
        ])  # fmt: skip
    return rows


def starts(found: Any) -> Table:
    rows = [["engine, model", "the engine alone, s", "MB", "the server, s", "MB"]]
    for name, row in found.items():
        alone, served = row["direct"], row["http"]
        rows.append([
            name, f"{alone['load_s']:.1f}", f"{alone['mb']:.0f}",
            f"{served['start_s']:.1f}", f"{served['mb']:.0f}",
        ])  # fmt: skip
    return rows


def steps(found: Any) -> Table:
    """The parts, their sum, and what is left of the client's time."""
    kinds = list(found)
    rows = [["part", *(f"{kind}, µs" for kind in kinds)]]
    parts = [part for part in found[kinds[0]] if part != "client"]
    rows += [[part, *(f"{found[kind][part]:.0f}" for kind in kinds)] for part in parts]
    sums = {kind: sum(found[kind][part] for part in parts) for kind in kinds}
    rows.append(["**in the server**", *(f"{sums[kind]:.0f}" for kind in kinds)])
    rest = {kind: found[kind]["client"] - sums[kind] for kind in kinds}
    return [*rows, ["client, sockets, waking up", *(f"{rest[kind]:.0f}" for kind in kinds)]]


TABLES: dict[str, tuple[str, Callable[[Any], Table]]] = {
    "steps": ("steps", steps),
    "concurrency": ("concurrency", concurrency),
    "settings": ("settings", settings),
    "bodies": ("bodies", bodies),
    "workers": ("workers", workers),
    "engines": ("engines", engines),
    "starts": ("engines", starts),
}
"""What is between two marks of the page: the section of the results, and the table."""


def markdown(table: Table) -> str:
    """Rows of one cell are sentences below the table."""
    (head, *rows), last = [row for row in table if len(row) > 1], table[-1]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{last[0]}" if len(last) == 1 else text


def plain(table: Table) -> str:
    widths = [0] * max(map(len, table))
    for row in table:
        if len(row) > 1:
            widths = [max(had, len(cell)) for had, cell in zip(widths, row, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                  for i, (cell, w) in enumerate(zip(row, widths, strict=False)))
        for row in table
    )  # fmt: skip


def write(results: Any, sections: Sequence[str], keep: bool) -> None:
    """Print the tables of ``sections``; ``keep``: write all of ``results`` into the page."""
    page = PAGE.read_text()
    for name, (section, table) in TABLES.items():
        if section not in results:
            continue
        machine, rows = results[section]["machine"], table(results[section]["found"])
        if section in sections:
            print(f"\n{name} ({machine})\n\n{plain(rows)}")
        before, mark, after = page.partition(f"<!-- {name} -->")
        after = after.partition(mark)[2]
        page = f"{before}{mark}\n\n{markdown(rows)}\n\nOn {machine}.\n\n{mark}{after}"
    if not keep:
        return
    PAGE.write_text(page)
    if results.keys() >= {"concurrency", "bodies"}:
        draw(results)


def draw(results: Any) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), dpi=110, layout="constrained")
    for name, rows in results["concurrency"]["found"].items():
        counts = [row["connections"] for row in rows]
        left.plot(counts, [row["rate"] for row in rows], marker="o", label=name)
    left.set(title="requests/s", xlabel="connections", xscale="log", ylim=(0, None))
    left.set_xticks(counts, [f"{count:.0f}" for count in counts])
    found = results["bodies"]["found"]
    for kind, times in found.items():
        if kind != "sizes":
            right.plot(found["sizes"], times, marker="o", label=kind)
    right.set(title="p50, ms", xlabel="bytes of the body", xscale="log", yscale="log")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(results["concurrency"]["machine"], fontsize=7)
    figure.savefig(PLOT)
    print(f"\n{PLOT}")


if __name__ == "__main__":
    known = json.loads(RESULTS.read_text())
    write(known, list(known), keep=True)
