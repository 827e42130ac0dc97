"""What the server costs, measured on this machine and written into docs/performance.md.

    python benchmarks/bench.py [SECTION ...] [--seconds 1] [--no-write]

Sections: steps, concurrency, settings, bodies, workers, engines; all of them, if none is named.
Each figure rests on ``--seconds`` of load, after a warm-up.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from frameworks import BATCH, FRAMEWORKS, SIZES, rows_of
from load import request
from report import RESULTS, write
from servers import Server, engineroom, raw
from workload import (
    DIGIT_JSON,
    EDGE,
    SIZES_OF_BODIES,
    body_of,
    form,
    make_counting,
    make_digits,
    make_largest,
    npy,
)  # fmt: skip

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROUNDS = 3
HERE = Path(__file__).parent
NEEDS = {"onnx": "onnxruntime", "pytorch": "torch"}
OPTIONS = {
    "none": (),
    "--access-log": ("--access-log",),
    "--access-log --log-format json": ("--access-log", "--log-format", "json"),
    "--validate-requests reject": ("--validate-requests", "reject"),
    "--workers 2": ("--workers", "2"),
    "--max-batch-size 16": ("--max-batch-size", "16"),
    "--max-batch-size 16 --batch-wait-ms 2": ("--max-batch-size", "16", "--batch-wait-ms", "2"),
    "--workers 2 --max-batch-size 16": ("--workers", "2", "--max-batch-size", "16"),
}
BATCHES = ("--max-batch-size", str(BATCH))


def concurrency(folder: Path, seconds: float) -> Any:
    """Each server at each number of connections: medians of rounds, in which all have a turn."""
    package = make_digits(folder / "digits")
    with contextlib.ExitStack() as running:
        servers = {
            "raw": running.enter_context(raw(package / "model.onnx")),
            "engineroom": running.enter_context(engineroom(package)),
            "engineroom, batches": running.enter_context(engineroom(package, *BATCHES)),
        }
        found: dict[str, list[Any]] = {name: [] for name in servers}
        for count in CONNECTIONS:
            rounds = [
                {
                    name: each.drive(DIGIT_JSON, count, seconds / ROUNDS)
                    for name, each in servers.items()
                }
                for _ in range(ROUNDS)
            ]
            for name, rows in found.items():
                rows.append(_median([dataclasses.asdict(each[name]) for each in rounds]))
    return found


def settings(folder: Path, seconds: float) -> Any:
    """What a setting changes at 32 connections, beside the server with defaults and no log."""
    package = make_digits(folder / "digits")
    found = {}
    for name, options in OPTIONS.items():
        with engineroom(package, *options) as server:
            time.sleep(1)  # ready is said by the first of several workers
            found[name] = dataclasses.asdict(server.drive(DIGIT_JSON, 32, seconds))
    return found


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def bodies(folder: Path, seconds: float) -> Any:
    """Median milliseconds of one request at a time, for each kind and size of body."""
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as running:
        largest = running.enter_context(engineroom(make_largest(folder / "largest.onnx")))
        counting = running.enter_context(engineroom(make_counting(folder / "counting")))
        for kind, server in (("JSON", largest), ("multipart", counting), (".npy", largest)):
            rows = [server.drive(body_of(kind, size), 1, seconds) for size in SIZES_OF_BODIES]
            found[kind] = [row.p50 / 1e3 for row in rows]
    return {"sizes": SIZES_OF_BODIES, **found}


def workers(folder: Path, _seconds: float) -> Any:
    """Memory of each worker, and the time from the start to the first answer."""
    package = make_digits(folder / "digits")
    servers: dict[str, Callable[[], contextlib.AbstractContextManager[Server]]] = {
        "raw": functools.partial(raw, package / "model.onnx"),
        "1 worker": functools.partial(engineroom, package),
        "2 workers": functools.partial(engineroom, package, "--workers", "2"),
    }
    found = {}
    for name, start in servers.items():
        with start() as server:
            for _ in range(3):
                server.drive(DIGIT_JSON, 8, 0.2)
            found[name] = {"start_s": server.start_s, "mb": server.memory()}
    return found


def engines(folder: Path, seconds: float) -> Any:
    """Each installed engine directly, in process, and over HTTP."""
    found = {}
    for engine in FRAMEWORKS:
        if importlib.util.find_spec(NEEDS.get(engine, engine)) is None:
            continue
        for size in SIZES:
            place = folder / f"{engine}-{size}"
            place.mkdir()
            path = _apart(engine, size, str(place), "0")
            direct = json.loads(_apart(engine, size, path, str(seconds)))
            body = request(form(direct["key"], "x.npy", npy(rows_of(size))), EDGE)
            with engineroom(Path(path), "--engine", engine) as server:
                one, many = (server.drive(body, count, seconds) for count in (1, 32))
                over = {"start_s": server.start_s, "mb": server.memory()}
            found[f"{engine}, {size}"] = {
                "direct": direct, "http": over,
                "one": dataclasses.asdict(one), "many": dataclasses.asdict(many),
            }  # fmt: skip
    return found


def _apart(*arguments: str) -> str:
    """The last line of ``frameworks.py``, which prints what it has found."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_v": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "frameworks.py"), *arguments],
        env={**os.environ, **quiet}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def steps(_folder: Path, seconds: float) -> Any:
    """The parts of one request, from ``steps.py``."""
    command = [sys.executable, str(HERE / "steps.py"), "--json", "--seconds", str(seconds)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


SECTIONS = {
    made.__name__: made for made in (steps, concurrency, settings, bodies, workers, engines)
}


def machine() -> str:
    """What the figures were taken on, for the reader of the tables."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = (re.findall(r"model name\s*: (.*)", info.read_text()) or [cpu])[0]
    memory = round(psutil.virtual_memory().total / 2**30)
    names = ("onnxruntime", "uvicorn", "uvloop", "httptools")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    load = os.getloadavg()[0]
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory} GB, {platform.system()}; Python "
        f"{platform.python_version()}, {versions}; {time.strftime('%Y-%m-%d')}, load before the "
        f"start {load:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION")
    parser.add_argument("--seconds", type=float, default=1.5, help="of load for each figure")
    parser.add_argument("--no-write", action="store_true", help="print, and leave docs/ as it is")
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    about = machine()
    for section in arguments.sections or SECTIONS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = SECTIONS[section](Path(folder), arguments.seconds)
        results[section] = {"machine": about, "found": found}
        print(f"{section}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        if not arguments.no_write:
            lines = (f'"{name}": {json.dumps(result)}' for name, result in results.items())
            RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    write(results, arguments.sections or list(SECTIONS), keep=not arguments.no_write)


if __name__ == "__main__":
    main()
