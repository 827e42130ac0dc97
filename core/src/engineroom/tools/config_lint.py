"""What is wrong with a config.json, where, and what it is read as. None of it stops a package.

Source: ModelArts contract, "config.json" and its survey of published files.
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator, Sequence
from typing import Any

from engineroom.apis import read_apis
from engineroom.dependencies import declared
from engineroom.distributions import PYTHON
from engineroom.engine import Engine
from engineroom.errors import EngineError, ScriptError
from engineroom.findings import Finding, Remark, meant, shown, unknown
from engineroom.package import Package
from engineroom.plugins import CONTAINERS, Registry
from engineroom.scripting import imported_parent

KEYS = (
    "model_algorithm", "model_type", "runtime", "swr_location", "metrics", "apis", "dependencies",
    "health",
)  # fmt: skip
TYPES = (
    "TensorFlow", "PyTorch", "MindSpore", "Caffe", "MXNet", "Spark_MLlib", "Scikit_Learn",
    "XGBoost", "Image", "Custom", "Template", "AutoModel",
)  # fmt: skip
METRICS = ("f1", "recall", "precision", "accuracy")
HEALTH = (
    "url", "protocol", "initial_delay_seconds", "timeout_seconds", "check_method", "command",
    "period_seconds", "failure_threshold",
)  # fmt: skip
PYTHONS = re.compile(r"(?:python|py)[-_]?(\d+(?:\.\d+)*)", re.IGNORECASE)
FRAMEWORK = re.compile(
    r"(?<![a-z])(tensorflow|tf|pytorch|torch|mindspore|xgboost|sklearn|scikit[-_]learn|spark|"
    r"mxnet|caffe)[-_]?(\d+(?:\.\d+)*)",
    re.IGNORECASE,
)
ENGINES = {
    "tf": "tensorflow", "torch": "pytorch", "xgboost": "sklearn", "scikit-learn": "sklearn",
    "scikit_learn": "sklearn",
}  # fmt: skip
"""The engine of a framework, where it is called something else."""
PLACES = re.compile(r"(cuda|cann)[-_]?(\d+(?:\.\d+)*)|(gpu)|(aarch64|x86_64)", re.IGNORECASE)


def lint_config(package: Package, registry: Registry) -> list[Finding]:
    """The findings in the config.json of ``package``, in the order of its lines."""
    document = package.document
    if not document.value:
        return list(document.findings)
    remarks = [
        *_top(document.value),
        *_model_type(package, registry),
        *_runtime(document.value.get("runtime"), registry),
        *_metrics(document.value.get("metrics")),
        *read_apis(document.value)[1],
        *declared(package)[1],
        *_image(document.value),
    ]
    found = [*document.findings, *map(document.locate, remarks)]
    return sorted(found, key=lambda finding: (finding.line or 0, finding.column or 0))


def _top(config: dict[str, Any]) -> Iterator[Remark]:
    yield from unknown(config, (), KEYS)
    algorithm = config.get("model_algorithm")
    if algorithm is not None and not isinstance(algorithm, str):
        message = f'"model_algorithm" should be text, not {shown(algorithm)}; ignored'
        yield Remark(("model_algorithm",), message)
    for key in ("model_type", "model_algorithm"):
        if key not in config:
            yield Remark((), f'there is no "{key}", which the platform wants', "note")


# --- model_type


def _model_type(package: Package, registry: Registry) -> Iterator[Remark]:
    value, kind = package.config.get("model_type"), package.model_type
    if value is None:
        return
    if kind is None:
        message = f'"model_type" should be text such as "PyTorch", not {shown(value)}; ignored'
        yield Remark(("model_type",), message)
        return
    parent = _parent_engine(package, registry)
    engines = list(registry.usable())
    named = next((engine for engine in engines if engine.has_model_type(kind)), None)
    with_files = [engine for engine in engines if engine.files(package)]
    if named is None:
        yield _unknown_type(kind, parent or next(iter(with_files), None), engines)
    elif parent is not None and parent.name != named.name:
        message = (
            f'"model_type" is {shown(value)}, and the script\'s parent class is that of engine '
            f"{parent.name}; read as {parent.name}"
        )
        yield Remark(("model_type",), message)
    elif with_files and named not in with_files:
        yield _other_files(package, named, with_files)


def _parent_engine(package: Package, registry: Registry) -> Engine | None:
    with contextlib.suppress(ScriptError, EngineError):
        if parent := imported_parent(package):
            return registry.engine_with_parent(parent)
    return None


def _unknown_type(kind: str, instead: Engine | None, engines: Sequence[Engine]) -> Remark:
    known = tuple(dict.fromkeys([*TYPES, *(t for e in engines for t in e.model_types)]))
    is_known = kind.lower() in map(str.lower, known)
    if kind.lower() in CONTAINERS:
        why = "names no framework"
    elif is_known:
        why = "is that of no installed engine"
    else:
        near = meant(kind, known)
        why = "is none of the contract" + (f"; did you mean {shown(near)}?" if near else "")
    read = f"read as {instead.name}" if instead else "ignored"
    level = "note" if is_known and instead else "warning"
    return Remark(("model_type",), f'"model_type" {shown(kind)} {why}; {read}', level)


def _other_files(package: Package, named: Engine, with_files: Sequence[Engine]) -> Remark:
    wanted = " or ".join(pattern for pattern in named.model_files if pattern[0] != "!")
    there = " and ".join(f"{e.files(package)[0].name} ({e.name})" for e in with_files)
    message = (
        f'"model_type" is {shown(package.model_type)}, whose model files ({wanted}) are not here; '
        f"there is {there}"
    )
    if package.script is None:
        return Remark(("model_type",), f"{message}: choose with --engine {with_files[0].name}")
    return Remark(("model_type",), f"{message}, for the script to read", "note")


# --- runtime


def _runtime(value: Any, registry: Registry) -> Iterator[Remark]:
    if value is None or value == "":
        return
    if not isinstance(value, str):
        message = f'"runtime" should be text such as "python3.7", not {shown(value)}; ignored'
        yield Remark(("runtime",), message)
        return
    gaps = [*_python_gap(value), *_framework_gaps(value, registry), *_place_gaps(value)]
    if gaps:
        message = f'"runtime" {shown(value)} is not what runs here: {"; ".join(gaps)}'
        yield Remark(("runtime",), message, "note")
    elif not PYTHONS.search(value) and not FRAMEWORK.search(value):
        message = f'"runtime" {shown(value)} names no version that is known; {PYTHON} runs'
        yield Remark(("runtime",), message)


def _python_gap(runtime: str) -> Iterator[str]:
    match = PYTHONS.search(runtime)
    if match is None:
        return
    asked = match[1] if "." in match[1] or len(match[1]) == 1 else f"{match[1][0]}.{match[1][1:]}"
    if not _is_version(asked, platform.python_version()):
        yield f"Python {asked} is asked for, and {PYTHON} runs"


def _framework_gaps(runtime: str, registry: Registry) -> Iterator[str]:
    for match in FRAMEWORK.finditer(runtime):
        name = match[1].lower()
        try:
            here = registry.engine(ENGINES.get(name, name)).framework_version() or ""
        except EngineError:
            here = ""
        if not here:
            yield f"{match[1]} {match[2]} is asked for, and no engine for it is here"
        elif not _is_version(match[2], here.rpartition(" ")[2]):
            yield f"{match[1]} {match[2]} is asked for, and {here} runs"


def _place_gaps(runtime: str) -> Iterator[str]:
    for match in PLACES.finditer(runtime):
        if match[1]:
            yield f"{match[1]} {match[2]} is asked for, and the framework's own runs"
        elif match[3]:
            yield "a GPU is asked for, and --device chooses"
        elif match[4].lower() != platform.machine().lower():
            yield f"{match[4]} is asked for, and {platform.machine()} runs"


def _is_version(asked: str, here: str) -> bool:
    return f"{here}.".startswith(f"{asked}.")


# --- metrics


def _metrics(value: Any) -> Iterator[Remark]:
    if value is None:
        return
    if not isinstance(value, dict):
        yield Remark(("metrics",), f'"metrics" should be an object, not {shown(value)}; ignored')
        return
    yield from unknown(value, ("metrics",), METRICS)
    for key, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            message = f"{shown(key)} should be a number, not {shown(number)}; ignored"
            yield Remark(("metrics", key), message)
        elif not 0 <= number <= 1 and key in METRICS:
            message = f"{shown(key)} is {number}; the platform shows shares from 0 to 1"
            yield Remark(("metrics", key), message, "note")


# --- what only container images have


def _image(config: dict[str, Any]) -> Iterator[Remark]:
    kind, health = str(config.get("model_type", "")).lower(), config.get("health")
    if isinstance(health, dict):
        yield from unknown(health, ("health",), HEALTH)
    for key in ("health", "swr_location"):
        if config.get(key) not in (None, "") and kind not in ("image", "custom"):
            message = f'"{key}" is of container images only; ignored'
            yield Remark((key,), message, "note", of_key=True)
