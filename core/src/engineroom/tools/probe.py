"""Asks engines for their devices, each in a process: ``python -m engineroom.tools.probe NAME``.

A framework may print, hang on a sick driver or crash when it is imported; none of it then harms
who asks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from engineroom.errors import EngineError
from engineroom.plugins import Registry

TIMEOUT_S = 60.0
MARK = "engineroom devices: "


def probe(names: Sequence[str]) -> dict[str, list[str] | EngineError]:
    """The devices that each engine sees, best first, or why it cannot tell."""
    command = [sys.executable, "-m", __name__]
    running = {
        name: subprocess.Popen(
            [*command, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # drivers write in the encoding of their country
            start_new_session=True,
        )
        for name in names
    }
    return {name: _answer(process) for name, process in running.items()}


def _answer(process: subprocess.Popen[str]) -> list[str] | EngineError:
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its children, who hold the pipes
        process.communicate()
        return EngineError(f"its framework did not list its devices within {TIMEOUT_S:g} s")
    for line in output.splitlines():
        if line.startswith(MARK):
            devices: list[str] = json.loads(line[len(MARK) :])
            return devices
    why = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return EngineError(f"its framework is broken: {why}")


def main(name: str) -> None:
    """Print the devices of one engine."""
    engine = Registry().engine(name)
    engine.set_environment(None)
    print("\n" + MARK + json.dumps([str(device) for device in engine.devices()]))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
