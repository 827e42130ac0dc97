"""Fails when a request costs much more beside the bare server than it did.

    python benchmarks/smoke.py [--seconds 1]

What is compared is the CPU time of a request at 32 connections: for each server the least of
several rounds, in which both have a turn. A busy machine changes that least.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from servers import engineroom, raw
from workload import DIGIT_JSON, make_digits

KEPT = 0.95
"""Our CPU time over that of ``raw.py`` when this was last measured."""
GROWTH = 1.5
ROUNDS = 8


def ratio(seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        package = make_digits(Path(folder) / "digits")
        with raw(package / "model.onnx") as floor, engineroom(package) as ours:
            rounds = [
                [server.drive(DIGIT_JSON, 32, seconds).server_cpu for server in (ours, floor)]
                for _ in range(ROUNDS)
            ]
    least, floor_s = map(min, zip(*rounds, strict=True))
    return least / floor_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=0.5, help="of load in each round")
    found = ratio(parser.parse_args().seconds)
    said = f"a request takes {found:.2f} times the CPU time that it takes in the bare server"
    if found > KEPT * GROWTH:
        raise SystemExit(f"{said}; it was {KEPT}, and may be {KEPT * GROWTH:.2f}. See: make bench")
    print(said)


if __name__ == "__main__":
    main()
