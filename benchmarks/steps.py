"""Where the time of one request goes, from the socket to the socket.

    python benchmarks/steps.py [--seconds 3] [--json]

A server in this process notes the time at the places named below, for one connection whose client
is another process. What is shown is the median of each part; a note itself takes a part of a
microsecond, which is measured and taken off.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from load import drive
from report import plain
from report import steps as table
from servers import client
from workload import DIGIT_FORM, DIGIT_JSON, make_digits

from engineroom import endpoint
from engineroom.app import Application
from engineroom.protocol import JoinedWrites, Protocol
from engineroom.server import prepared_hosts
from engineroom.settings import Settings

PARTS = {
    "received": "HTTP: parse the request",
    "asgi": "route, headers, deadline",
    "decode": "decoding",
    "decoded": "queue and hand-over to the thread",
    "taken": "locks and clocks of the model",
    "preprocess": "preprocess (the script)",
    "inference": "inference (checks, the engine)",
    "postprocess": "postprocess (the script)",
    "done": "locks and clocks of the model",
    "encode": "encoding",
    "encoded": "hand-back to the event loop",
    "back": "response headers, send",
}
"""What is between the mark of a name and the next one."""

marks: list[tuple[str, float]] = []


def mark(name: str) -> None:
    marks.append((name, time.perf_counter()))


def marked(owner: Any, attribute: str, before: str = "", after: str = "") -> None:
    """Let calls of ``owner.attribute`` leave a mark when they begin, or when they end."""
    inner: Callable[..., Any] = getattr(owner, attribute)

    def outer(*args: Any, **kwargs: Any) -> Any:
        if before:
            mark(before)
        result = inner(*args, **kwargs)
        if after:
            mark(after)
        return result

    setattr(owner, attribute, outer)


def instrument(app: Any) -> None:
    """Place the marks. The model is loaded."""
    (host,) = app.hosts
    service, model = host.model.service, host.model
    marked(Protocol, "data_received", before="received")
    for predict in set(app.predicts.values()):
        marked(predict, "begin", before="asgi")
        marked(predict, "decode", before="decode", after="decoded")
    marked(host.runner, "_work", before="taken")
    for step in ("preprocess", "inference", "postprocess"):
        marked(service, f"_{step}", before=step)
    marked(service, "_postprocess", after="done")
    marked(model.registry, "encode", before="encode", after="encoded")
    marked(endpoint, "server_timing", before="back")
    marked(JoinedWrites, "_flush", after="sent")


def medians() -> dict[str, float]:
    """Median microseconds of each part."""
    times = collections.defaultdict(list)
    names = [*PARTS, "sent"]
    for at in range(len(marks) - len(names)):
        one = marks[at : at + len(names)]
        if [name for name, _ in one] == names:
            spans = collections.Counter[str]()
            for (name, start), (_, end) in itertools.pairwise(one):
                spans[PARTS[name]] += end - start  # type: ignore[assignment]
            for part, seconds in spans.items():
                times[part].append(seconds)
    marks.clear()
    for _ in range(10_000):
        mark("")
    note = (marks[-1][1] - marks[0][1]) / len(marks)
    marks.clear()
    return {part: max(0.0, statistics.median(found) - note) * 1e6 for part, found in times.items()}


def measure(seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        package = make_digits(Path(folder) / "digits")
        settings = Settings.read({"access_log": False, "engine_threads": 1})
        app = Application(prepared_hosts([("", package)], settings))
        # As `engineroom serve` has it, in a thread.
        config = uvicorn.Config(app, port=0, http=Protocol, ws="none", log_config=None,
                                access_log=False, server_header=False,
                                proxy_headers=False)  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not (server.started and app.hosts[0].is_ready):
            time.sleep(0.01)
        instrument(app)
        port = server.servers[0].sockets[0].getsockname()[1]
        found: dict[str, Any] = {}
        for name, request in (("JSON", DIGIT_JSON), ("multipart", DIGIT_FORM)):
            row = client().apply(drive, (os.getpid(), port, request, 1, seconds))
            found[name] = {**medians(), "client": row.p50}
        server.should_exit = True
        thread.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true", help="for bench.py")
    arguments = parser.parse_args()
    found = measure(arguments.seconds)
    if arguments.json:
        print(json.dumps(found))
        return
    print(plain(table(found)))


if __name__ == "__main__":
    main()
