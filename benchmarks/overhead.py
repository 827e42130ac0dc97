"""What the server costs beside the engine called directly, on the digits example.

    python benchmarks/overhead.py [--seconds 3]

Prints the time of one prediction by ONNX Runtime itself, by the model called in this process, and
over HTTP with one connection and with 32, each from the same run. The client is a second process
of this script, so on two cores it takes one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from engineroom import load

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits-onnx"
PICTURE = (EXAMPLE / "samples" / "7.png").read_bytes()
BODY = (
    b'--e\r\nContent-Disposition: form-data; name="images"; filename="7.png"\r\n\r\n'
    + PICTURE
    + b"\r\n--e--\r\n"
)
HEAD = (
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=e\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()


def timed(call: Callable[[], object], seconds: float) -> float:
    """Median seconds of one call."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def directly(seconds: float) -> tuple[float, float]:
    """Median seconds of the engine alone, and of the same with the picture read first."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(EXAMPLE / "model" / "model.onnx", options)
    pixels = np.zeros((1, 1, 8, 8), np.float32)

    def whole() -> str:
        picture = np.asarray(Image.open(io.BytesIO(PICTURE)), np.float32).reshape(1, 1, 8, 8) / 255
        return json.dumps(int(np.argmax(session.run(None, {"images": picture})[0])))

    return timed(lambda: session.run(None, {"images": pixels}), seconds), timed(whole, seconds)


def in_process(seconds: float) -> float:
    """Median seconds of ``engineroom.load(...)`` called with an upload."""
    model = load(EXAMPLE, engine_threads=1)
    return timed(lambda: model({"images": {"7.png": io.BytesIO(PICTURE)}}), seconds)


async def _client(port: int, end: float, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end:
        start = time.perf_counter()
        writer.write(HEAD + BODY)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server answered {head!r}")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
        times.append(time.perf_counter() - start)
    writer.close()


async def _clients(port: int, connections: int, seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    await asyncio.gather(*(_client(port, end, times) for _ in range(connections)))
    return times


def drive(port: int, connections: int, seconds: float) -> tuple[float, float, float]:
    """Requests per second, median and 99th percentile in seconds."""
    asyncio.run(_clients(port, connections, min(1.0, seconds)))  # warm
    times = sorted(asyncio.run(_clients(port, connections, seconds)))
    return len(times) / seconds, times[len(times) // 2], times[len(times) * 99 // 100]


def over_http(seconds: float) -> list[tuple[int, float, float, float]]:
    """Connections, requests per second, median and 99th percentile in seconds."""
    command = [sys.executable, "-m", "engineroom", "serve", str(EXAMPLE), "--port", "0"]
    with subprocess.Popen(
        [*command, "--no-access-log", "--engine-threads", "1"], stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        port = next(
            int(found[1]) for line in lines if (found := re.search(r"http://.*:(\d+)", line))
        )
        next(line for line in lines if "is ready" in line)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows = [(n, *pool.apply(drive, (port, n, seconds))) for n in (1, 32)]
        server.terminate()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line of the table")
    seconds = parser.parse_args().seconds
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
          f"onnxruntime {ort.__version__}, {EXAMPLE.name}")  # fmt: skip
    engine, whole = directly(seconds)
    print(f"{'engine alone':40}{engine * 1e6:8.0f} us")
    print(f"{'engine, picture read, answer as JSON':40}{whole * 1e6:8.0f} us")
    print(f"{'engineroom.load(...)(request)':40}{in_process(seconds) * 1e6:8.0f} us")
    for connections, rate, p50, p99 in over_http(seconds):
        name = f"HTTP, {connections} connection{'s' * (connections > 1)}"
        print(f"{name:40}{p50 * 1e6:8.0f} us   p99 {p99 * 1e6:.0f} us, {rate:.0f} requests/s")


if __name__ == "__main__":
    main()
