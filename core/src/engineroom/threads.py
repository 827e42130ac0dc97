"""Waits for what a script starts in other threads to load its model, and reports its failures.

Published scripts load in the background so as not to be timed out; on the platform their early
requests then crash. Source: ModelArts contract, "Loading environment".
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from engineroom.errors import ScriptError
from engineroom.failures import load_failure, script_frames
from engineroom.package import Package

log = logging.getLogger("engineroom")

DAEMON_WAIT_S = 60.0
"""A daemon thread that still runs after this long is taken for a worker, not for a loader."""


@contextlib.contextmanager
def watched_threads(package: Package, timeout_s: float) -> Iterator[None]:
    """At the end of this block, wait for the threads that the package has started in it.

    Raises:
        ScriptError: one of them failed, or does not end.
    """
    watch = _Watch(package)
    hook, submit = threading.excepthook, concurrent.futures.ThreadPoolExecutor.submit
    threading.excepthook = functools.partial(watch.catch, hook)
    # A pool's threads outlive their work, so it is the work that is waited for.
    pool: Any = concurrent.futures.ThreadPoolExecutor
    pool.submit = watch.submitting(submit)
    try:
        yield
        watch.wait(timeout_s)
    finally:
        threading.excepthook, pool.submit = hook, submit
    watch.raise_failure()


class _Watch:
    def __init__(self, package: Package) -> None:
        self.package = package
        self.before = set(threading.enumerate())
        self.futures: list[concurrent.futures.Future[Any]] = []
        self.failures: list[tuple[str, BaseException]] = []

    def catch(self, previous: Callable[[Any], Any], args: threading.ExceptHookArgs) -> None:
        thread, error = args.thread, args.exc_value
        new = thread is not None and thread not in self.before
        if _is_end(error):
            return
        if thread and error and new and script_frames(error, self.package):
            self.failures.append((f"the thread {thread.name}", error))
        else:
            previous(args)

    def submitting(self, submit: Callable[..., Any]) -> Callable[..., Any]:
        def submit_and_note(pool: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            future = submit(pool, function, *args, **kwargs)
            if self._owns(function):
                self.futures.append(future)
                future.add_done_callback(self._note_failure)
            return future

        return submit_and_note

    def _note_failure(self, future: concurrent.futures.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and not _is_end(error):
            self.failures.append(("a thread pool", error))

    def wait(self, timeout_s: float) -> None:
        start, told = time.monotonic(), False
        while not self.failures and (running := self._running(time.monotonic() - start)):
            seconds = time.monotonic() - start
            if seconds > timeout_s:
                raise ScriptError(
                    f"{self.package.script}: {running[0]}, started to load the model, still runs "
                    f"after {timeout_s:g} s; raise --load-timeout-s, or make it a daemon thread if "
                    "it is meant to run for ever"
                )
            if seconds > 2 and not told:
                told = True
                log.info("waiting for %s of the script to end", running[0])
            time.sleep(0.01)

    def _running(self, seconds: float) -> list[str]:
        threads = [
            thread
            for thread in threading.enumerate()
            if thread not in self.before
            and (seconds < DAEMON_WAIT_S or not thread.daemon)
            and self._owns(_target(thread))
        ]
        pools = ["a thread pool"] if any(not future.done() for future in self.futures) else []
        return [f"the thread {thread.name}" for thread in threads] + pools

    def _owns(self, function: Any) -> bool:
        """Whether ``function`` is the package's own code, and not some library's helper."""
        while isinstance(function, functools.partial):
            function = function.func
        code = getattr(inspect.unwrap(function), "__code__", None)
        return code is not None and self.package.owns(code.co_filename)

    def raise_failure(self) -> None:
        if self.failures:
            who, error = self.failures[0]
            what = f"{who}, which the service starts to load its model, failed"
            raise load_failure(what, error, self.package) from error


def _target(thread: threading.Thread) -> Any:
    """The function that ``thread`` runs; a Timer keeps its own elsewhere."""
    if isinstance(thread, threading.Timer):
        return thread.function
    return getattr(thread, "_target", None) or type(thread).run


def _is_end(error: BaseException | None) -> bool:
    """Whether a thread has left without an error: ``sys.exit()`` ends it, as in Python itself."""
    return isinstance(error, SystemExit) and error.code in (None, 0)
