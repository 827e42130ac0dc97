"""Fails when a request costs much more beside the bare server than it did.

    python benchmarks/smoke.py [--seconds 1]

The overhead is the CPU time of a request over that of ``raw.py``, less one: at 32 connections, the
median of rounds in which both have a turn. CPU time, because it is the same on a busy machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from servers import engineroom, raw
from workload import DIGIT_JSON, make_digits

KEPT = 0.60
"""What it was when this was last changed; a faster server may lower it."""
GROWTH = 1.5
ROUNDS = 5


def overhead(seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        package = make_digits(Path(folder) / "digits")
        with raw(package / "model.onnx") as floor, engineroom(package) as ours:
            return statistics.median(
                ours.drive(DIGIT_JSON, 32, seconds).server_cpu
                / floor.drive(DIGIT_JSON, 32, seconds).server_cpu
                for _ in range(ROUNDS)
            ) - 1  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=1.0, help="of load in each round")
    found = overhead(parser.parse_args().seconds)
    said = f"a request costs {found:.0%} more CPU time than in the bare server; kept: {KEPT:.0%}"
    if found > KEPT * GROWTH:
        raise SystemExit(f"{said}, and at most {KEPT * GROWTH:.0%} is allowed; see make bench")
    print(said)


if __name__ == "__main__":
    main()
