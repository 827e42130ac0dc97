"""Declares the engine. Imports no framework."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from engineroom.engine import Engine, Predictor
from engineroom.errors import NotReadyError
from engineroom.hookspecs import hookimpl
from engineroom.service import Service
from engineroom.values import Device

if TYPE_CHECKING:
    from engineroom.lending import Stage
    from engineroom.model import Model
    from engineroom.package import Package

METADATA = "metadata/part-00000*"


class SparkEngine(Engine):
    """Folders that ``model.save`` of pyspark.ml has written, on Spark in this machine."""

    name = "spark"
    parent = "model_service.spark_model_service.SparkServingBaseService"
    model_types = ("Spark_MLlib", "Spark", "PySpark")
    # As the contract has it; and whatever it is called, by what is in it.
    model_files = ("spark_model", METADATA)
    path_alone = True
    body = "text"
    frameworks = ("pyspark>=3.5",)
    watches = ("pyspark", "py4j.protocol", "pyspark.errors.exceptions.captured")

    def files(self, package: Package) -> list[Path]:
        """The saved folders, also where what was found is a file in one."""
        found = super().files(package)
        return [path if path.is_dir() else path.parent.parent for path in found]

    def load(self, path: Path, device: Device, threads: int) -> Predictor:  # noqa: ARG002
        from engineroom_spark.loader import SparkPredictor

        return SparkPredictor(path, threads)

    def framework_version(self) -> str | None:
        from engineroom_spark import java

        version = super().framework_version()
        return f"{version}, {java.checked()}"

    def environment(self, threads: int | None) -> dict[str, str]:  # noqa: ARG002
        # For a session that a script makes itself, before or without self.spark.
        from engineroom_spark.session import QUIET

        options = " ".join(f"--conf {name}={value}" for name, value in QUIET.items())
        return {
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
        }

    def after_import(self, module: ModuleType, stage: Stage) -> None:
        from engineroom_spark import java, reasons

        if module.__name__ == "pyspark" and stage.engine == self.name:
            java.checked()
        elif not stage.settings.debug:
            reasons.shorten(module)

    def blames_input(self, error: BaseException) -> bool:
        from engineroom_spark.reasons import blames_input

        return blames_input(error)

    def end(self) -> str:
        from engineroom_spark import session

        return session.end()

    def service_class(self) -> type[Service]:
        from engineroom_spark.service import SparkServingBaseService

        return SparkServingBaseService


@hookimpl
def register_engine(register: Callable[[Engine], None]) -> None:
    register(SparkEngine())


@hookimpl
def before_unload(model: Model) -> None:
    """A service that used ``self.spark`` uses it no more."""
    from engineroom_spark import session

    try:
        session.release(model.service)
    except NotReadyError:  # it was never made
        return
