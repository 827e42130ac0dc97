"""Finds the Java that PySpark would start, and says what is wrong with it before PySpark does."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys

from engineroom.errors import EngineError

# Source: "Downloading" in the overview of each release, https://spark.apache.org/docs/latest/
# Hadoop below 3.4.2 asks Java for a security manager, which Java 24 no longer has.
FITTING = {3: range(8, 24)}
TODAY = range(17, sys.maxsize)
ADVICE = (
    "install one (apt install openjdk-17-jre-headless, or conda install -c conda-forge openjdk=17) "
    "or point JAVA_HOME to it"
)


def checked() -> str:
    """``Java 17.0.15``: the one that Spark will run on.

    Raises:
        EngineError: there is none, or one that this PySpark does not run on.
    """
    spark = importlib.metadata.version("pyspark")
    fitting = FITTING.get(int(spark.partition(".")[0]), TODAY)
    command = _command()
    version = _version(command) if command else None
    if version and int(version.partition(".")[0]) in fitting:
        return f"Java {version}"
    wanted = f"{fitting[0]} or newer" if fitting is TODAY else f"{fitting[0]} to {fitting[-1]}"
    if version:
        got = f"found Java {version} ({command})"
    elif command:
        got = f"{command} does not say which it is when it is run with -version"
    elif home := os.environ.get("JAVA_HOME"):
        got = f"no bin/java in JAVA_HOME={home}"
    else:
        got = "no java in PATH, and no JAVA_HOME"
    raise EngineError(f"engine 'spark' needs Java {wanted} for pyspark {spark}: {got}; {ADVICE}")


def _command() -> str | None:
    """As ``bin/spark-class`` of Spark chooses it."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(os.path.join(home, "bin", "java")) if home else shutil.which("java")


@functools.cache
def _version(command: str) -> str | None:
    """``17.0.15``, and ``8.0_402`` for what calls itself 1.8."""
    try:
        done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d[^"]*)"', done.stderr + done.stdout)
    return found[1] if found and done.returncode == 0 else None
