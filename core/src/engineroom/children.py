"""The processes behind a front: each serves one package, and is started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from engineroom import __version__
from engineroom.behind import END_S, FRONT, REASON
from engineroom.errors import LOAD_FAILED, NotReadyError, SettingError
from engineroom.package import Package
from engineroom.relay import Exchange, Pool
from engineroom.settings import Settings

log = logging.getLogger("engineroom")

ASK_S = 5.0
"""How long a process may take to say how it is, unless who asks is in a hurry."""
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 60.0
"""What lived this long is started again at once, whatever came before."""
BAD_START = (2, LOAD_FAILED)
"""Exit codes that another start would not change."""


class Process:
    """One process of a child, and the connections to it."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int, pool: Pool) -> None:
        """``pipe``: the end that tells the process, when it is closed, that the front has ended."""
        self.process, self.pool, self._pipe = process, pool, pipe
        self.started_at = time.monotonic()

    async def wait(self) -> int:
        """Wait once for its end; the exit code, or the signal as a negative number."""
        code = await self.process.wait()
        os.close(self._pipe)
        return code

    async def ask(self, path: str, timeout_s: float = ASK_S) -> tuple[int, Any]:
        """The status and the decoded answer of a GET.

        Raises:
            OSError, TimeoutError: it does not answer.
        """
        request = f"GET {path} HTTP/1.1\r\nhost: front\r\n\r\n".encode()
        exchange = Exchange([request])
        self.pool.send(exchange)
        try:
            reply = await asyncio.wait_for(exchange.wait(), timeout_s)
        finally:
            exchange.cancel()
        return reply.status, json.loads(b"".join(reply.body))

    async def becomes_ready(self, timeout_s: float) -> bool:
        """Wait until it would take a request; False when that does not come."""
        limit = time.monotonic() + timeout_s
        while self.process.returncode is None and time.monotonic() < limit:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                if (await self.ask("/health/ready"))[0] == 200:
                    return True
            await asyncio.sleep(0.1)
        return False

    async def retire(self, drain_s: float) -> None:
        """End it once nobody waits for it, since nobody asks it any more."""
        limit = time.monotonic() + drain_s
        while self.pool.is_busy and time.monotonic() < limit:
            await asyncio.sleep(0.05)
        await self.stop()

    async def stop(self) -> None:
        """End it, when nobody waits for it any more."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
            self.pool.close_idle()
            try:
                await asyncio.wait_for(self.process.wait(), END_S)
            except asyncio.TimeoutError:
                self.process.kill()
                await self.process.wait()


class Child:
    """A model in a process of its own, which is started again when it ends."""

    def __init__(self, name: str, command: Sequence[str], place: str, settings: Settings) -> None:
        """``command`` serves the package; ``place`` is the path of its sockets but for a number."""
        self.name, self.settings = name, settings
        self.process: Process | None = None
        self.state, self.reason = "created", "its process is to be started"
        self.has_failed = False
        self._command, self._place = command, place
        self._starts, self._failures = 0, 0
        self._is_stopping = False
        self._processes: set[Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- requests

    def check(self) -> None:
        """Raises: NotReadyError, when there is no process."""
        if self.process is None:
            raise self.not_ready()

    def not_ready(self) -> NotReadyError:
        """The error for a request that comes while the process cannot be reached."""
        return NotReadyError(f"model {self.name!r} is {self.state}: {self.reason}")

    def send(self, exchange: Exchange) -> None:
        """Begin; the outcome is that of the exchange's future."""
        if self.process is None:
            exchange.settle(ConnectionRefusedError())
        else:
            self.process.pool.send(exchange)

    def cancel(self, exchange: Exchange) -> None:
        """Nobody waits for this one any more."""
        exchange.cancel()

    async def ask(self, path: str, timeout_s: float = ASK_S) -> tuple[int, Any]:
        """The status and the answer to a GET, or 503 and what is known when there is none."""
        reason = self.reason
        try:
            if self.process is not None:
                return await self.process.ask(path, timeout_s)
        except asyncio.TimeoutError:
            reason = f"its process does not answer within {timeout_s:g} s"
        except OSError:
            reason = self.reason
        return 503, {"state": self.state, "reason": reason}

    # --- its process

    async def start(self) -> None:
        """Start its process."""
        self.state, self.reason = "loading", "its process starts"
        try:
            self.process = await self._spawn()
        except OSError as error:
            self._try_again(f"{self._command[0]} cannot be run: {error.strerror}")

    async def _spawn(self) -> Process:
        self._starts += 1
        path = f"{self._place}.{self._starts}"
        theirs, ours = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs,),
                start_new_session=True,  # Ctrl-C is for the front
                env={**os.environ, FRONT: f"{theirs}:{path}"},
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        spawned = Process(process, ours, Pool(path, self.send))
        self._processes.add(spawned)
        self._later(self._watch(spawned))
        return spawned

    async def _watch(self, process: Process) -> None:
        code = await process.wait()
        self._processes.discard(process)
        if process is not self.process or self._is_stopping:
            return
        self.process = None
        if code in BAD_START:
            self._give_up(code, process)
        else:
            if time.monotonic() - process.started_at > HEALTHY_S:
                self._failures = 0
            self._try_again(f"its process ended ({ending(code)})")

    def _give_up(self, code: int, process: Process) -> None:
        self.has_failed, self.state = True, "failed"
        try:
            self.reason = Path(process.pool.path + REASON).read_text()
        except OSError:
            self.reason = f"its process ended with exit code {code}; the log says why"
        log.warning("%s cannot be loaded; SIGHUP tries it again", self.name)

    def _try_again(self, what: str) -> None:
        pause_s = min(LONGEST_PAUSE_S, 2.0 ** (self._failures - 1)) if self._failures else 0.0
        self._failures += 1
        self.state, self.reason = "failed", f"{what}; another is started"
        log.warning("%s: %s; starting another in %g s", self.name, what, pause_s)
        self._later(self._restart(pause_s))

    async def _restart(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        if self.process is None and not self._is_stopping:
            await self.start()

    async def replace(self) -> None:
        """Start another process, and let the present one end once that one is ready."""
        self.has_failed = False
        if self.process is None:
            return await self.start()
        try:
            new = await self._spawn()
        except OSError as error:
            return log.error("%s: %s cannot be run: %s", self.name, self._command[0], error)
        if not await new.becomes_ready(self.settings.load_timeout_s):
            log.error("%s: the new process is not ready; the old one stays", self.name)
            return await new.stop()
        old, self.process = self.process, new
        log.info("%s: a new process has taken over", self.name)
        if old is not None:
            await old.retire(self.settings.drain_s)

    async def stop(self) -> None:
        """End its processes, when nobody waits for them any more."""
        self._is_stopping = True
        await asyncio.gather(*(process.stop() for process in list(self._processes)))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def ending(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def commands(
    paths: Sequence[tuple[str, Path]],
    packages: Mapping[str, Package],
    pythons: Mapping[str, Path],
) -> dict[str, list[str]]:
    """How each package is served in a process of its own; empty where one process serves them all.

    ``paths`` are those of the packages, ``pythons`` the interpreters asked for, by model name.

    Raises:
        SettingError: an interpreter that cannot serve, or for a package that is not there.
    """
    for name, python in pythons.items():
        if name not in packages:
            known = ", ".join(packages)
            raise SettingError(f"--python {name}={python}: no package is called {name!r}: {known}")
        if len(packages) == 1:
            raise SettingError(
                f"--python is for several packages; this one: {python} -m engineroom serve …"
            )
    if len(packages) == 1 or not (pythons or any(p.script for p in packages.values())):
        return {}
    found = {name: checked_python(name, python) for name, python in pythons.items()}
    return {
        name: [
            *(found.get(name, sys.executable), "-m", "engineroom"),
            *("serve", os.path.abspath(path), "--name", name),
        ]
        for name, (_, path) in zip(packages, paths, strict=True)
    }


def checked_python(name: str, python: Path) -> str:
    """The path of an interpreter that has the engineroom that we are.

    Raises:
        SettingError: it has not, and how it gets it.
    """
    # Links stay: a virtual environment's interpreter is one, and is known by its place.
    path, given = os.path.abspath(python.expanduser()), f"--python {name}={python}"
    code = "import engineroom, engineroom.server; print(engineroom.__version__)"
    try:
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or "it does not answer"
        raise SettingError(f"{given} cannot be run: {reason}") from None
    install = f"run: {python} -m pip install engineroom=={__version__}"
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SettingError(f"{given} cannot import engineroom ({said}); {install}")
    if (version := done.stdout.strip()) != __version__:
        raise SettingError(f"{given} has engineroom {version}, we are {__version__}; {install}")
    return path
