"""The Spark of this process: one Java process with one session, for as long as somebody uses it."""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from engineroom.errors import EngineError
from engineroom.workplace import SCRATCH
from engineroom_spark import java

log = logging.getLogger("engineroom")

QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Nothing of it is for other machines.
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
"""What every session of a server should have, a script's own too."""
STOP_S = 10.0

_users: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_running: Spark | None = None
_lock = threading.RLock()


def shared(user: object, threads: int) -> Any:
    """The session of this process, started for its first ``user`` with ``threads`` at work.

    A session that the script has made itself is taken as it is.

    Raises:
        EngineError: no Java, or it does not start, or has died under those who use it.
    """
    global _running
    with _lock:
        _users[id(user)] = user
        if _running is not None and not _running.is_told and (end := _running.end()):
            raise EngineError(f"engine 'spark': {end}")
        # The models know that Java has died, or a script has called stop().
        if _running is not None and (
            _running.is_told or _running.session.sparkContext._jsc is None
        ):
            _running.stop()
            _running = None
        if _running is None:
            _running = Spark(threads)
        return _running.session


def release(user: object) -> None:
    """``user`` needs the session no more; the last one ends the Java process."""
    global _running
    with _lock:
        _users.pop(id(user), None)
        if _users or _running is None:
            return
        ending, _running = _running, None
    ending.stop()


def end() -> str:
    """How the Java process has ended, when it has ended by itself; empty while it runs."""
    running = _running
    if running is None or not (end := running.end()):
        return ""
    running.is_told = True
    return end


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    """False for what Py4J logs to the root logger, past its own."""
    return f"{os.sep}py4j{os.sep}" not in record.pathname


class Spark:
    """A Java process and the session in it."""

    def __init__(self, threads: int) -> None:
        java.checked()
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        # Each connection that a lost Java process breaks would be reported, beside the one error.
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        logging.getLogger().addFilter(_is_not_of_py4j)
        self.said: collections.deque[str] = collections.deque(maxlen=20)
        self.is_told = False
        """Whether its users know that it has died: a new one would hide that from them."""
        self.folder: Path | None = None
        self.is_ours = SparkContext._active_spark_context is None
        if self.is_ours:
            self._start(threads)
        self.session = SparkSession.builder.getOrCreate()
        context = self.session.sparkContext
        # It would print the traceback of the connection that a lost Java process breaks, too.
        context._accumulatorServer.handle_error = lambda *_: None
        self.process: Any = getattr(context._gateway, "proc", None)

    def _start(self, threads: int) -> None:
        from pyspark import SparkConf, SparkContext

        self.folder = Path(tempfile.mkdtemp("", "engineroom-spark-", os.environ.get(SCRATCH)))
        conf = SparkConf().setMaster(f"local[{threads}]").setAppName("engineroom")
        conf.setAll(
            {
                **QUIET,
                # 200 by default, for data of another size.
                "spark.sql.shuffle.partitions": str(threads),
                "spark.pyspark.python": sys.executable,
                "spark.sql.warehouse.dir": str(self.folder / "warehouse"),
                # Java removes its own files, unless it is killed.
                "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={self.folder} "
                f"-Dderby.system.home={self.folder}",
            }.items()
        )
        try:
            SparkContext(conf=conf, gateway=SparkContext._gateway or self._launched(conf))
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        atexit.register(self.stop)

    def _launched(self, conf: Any) -> Any:
        """A gateway to a new Java process, which ends when the pipe to its standard input does.

        In a session of its own, so that no signal for the server's terminal or group reaches it.
        """
        from pyspark.java_gateway import launch_gateway

        reading, writing = os.pipe()
        listener = threading.Thread(target=self._listen, args=(reading,), daemon=True)
        listener.start()
        try:
            options = {"stdout": writing, "stderr": writing, "start_new_session": True}
            gateway = launch_gateway(conf, options)
        except Exception as error:
            os.close(writing)
            listener.join(1)
            # Spark's own shell script stumbles over it, too.
            told = [line for line in self.said if "spark-class" not in line]
            said = " / ".join(told) or f"{type(error).__name__}: {error}"
            raise EngineError(f"engine 'spark': {java.checked()} did not start: {said}") from error
        os.close(writing)
        return gateway

    def _listen(self, reading: int) -> None:
        with os.fdopen(reading, errors="replace") as lines:
            for line in lines:
                self.said.append(line.strip())
                log.debug("spark: %s", line.rstrip())

    def end(self) -> str:
        """How the process has ended; empty while it runs, or where another has started it."""
        code = self.process.poll() if self.process is not None else None
        if code is None:
            return ""
        # What Java says when it has to give up.
        cause = next((line for line in self.said if "OutOfMemory" in line or "fatal" in line), "")
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return f"the Java process of Spark has ended {how}" + (f": {cause}" if cause else "")

    def stop(self) -> None:
        """End what has been started here, and remove its files."""
        if not self.is_ours:
            return
        self.is_ours = False
        atexit.unregister(self.stop)
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        context = self.session.sparkContext
        with contextlib.suppress(Exception):  # it may be gone already
            self.session.stop()
        # PySpark means these to last as long as Python; the next session would be asked of them.
        if SparkContext._gateway is context._gateway:
            SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
            SparkSession._instantiatedSession = None
        with contextlib.suppress(Exception):
            context._gateway.shutdown()
        self._end_process()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end_process(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except Exception:
            self.process.kill()
            self.process.wait()
