"""Finds the Java that PySpark would start, and says what is wrong with it before PySpark does."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess

from engineroom.errors import EngineError

# Source: "Downloading" in the overview of each release, https://spark.apache.org/docs/latest/
OLDEST = {3: 8}
OLDEST_TODAY = 17
# Hadoop below 3.4.2 asks Java for a security manager, which Java 24 no longer has.
NEWEST = {3: 23}
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
    wanted = _wanted(spark)
    home, found = os.environ.get("JAVA_HOME"), _command()
    where = f"no bin/java in JAVA_HOME={home}" if home else "no java in PATH, and no JAVA_HOME"
    if found is None:
        raise EngineError(f"engine 'spark' needs {wanted} for pyspark {spark}: {where}; {ADVICE}")
    version = _version(found)
    if version is None:
        raise EngineError(
            f"engine 'spark' needs {wanted} for pyspark {spark}: {found} does not say which it is "
            f"when it is run with -version; {ADVICE}"
        )
    if not _fits(int(version.partition(".")[0]), spark):
        raise EngineError(
            f"engine 'spark' needs {wanted} for pyspark {spark}, found Java {version} ({found}); "
            f"{ADVICE}"
        )
    return f"Java {version}"


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


def _limits(spark: str) -> tuple[int, int | None]:
    major = int(spark.partition(".")[0])
    return OLDEST.get(major, OLDEST_TODAY), NEWEST.get(major)


def _fits(java: int, spark: str) -> bool:
    oldest, newest = _limits(spark)
    return oldest <= java and (newest is None or java <= newest)


def _wanted(spark: str) -> str:
    oldest, newest = _limits(spark)
    return f"Java {oldest} to {newest}" if newest else f"Java {oldest} or newer"
