"""What a model answers before it is ready: its smallest inputs, and the examples of its package.

Examples are requests that go through the whole service. They are in ``examples/`` beside the model
or beside ``model/``: ``*.json`` is a JSON body; ``*.form.json`` describes a form,
``{"images": ["@7.png", "@3.png"], "threshold": "0.5"}``; any other file is an upload under the form
key of config.json's only file property, else the model's only input.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from engineroom.engine import Engine, Predictor
from engineroom.errors import WarmUpError
from engineroom.package import Package
from engineroom.values import TensorSpec

log = logging.getLogger("engineroom")

FORM = ".form.json"


def warm_up_engine(engine: Engine, predictor: Predictor, model: str, package: Package) -> None:
    """Run the ``predictor`` of ``model`` once or a few times, as its engine does, in its gate.

    Raises:
        WarmUpError: it fails on inputs that it must answer.
    """
    try:
        predictor.warm_up()
    except Exception as error:
        message = f"model {model!r} failed its warm-up on {predictor.declared}: {error}"
        if engine.end() or all(spec.is_certain for spec in predictor.inputs):
            raise WarmUpError(message) from error
        # Ones for open dimensions are a guess, and a picture of 1x1 may rightly be refused.
        log.warning("%s; put a request into %s", message, package.folder / "examples")


def examples(
    package: Package, inputs: Sequence[TensorSpec], body: Literal["form", "text"] = "form"
) -> Iterator[tuple[Path, Any]]:
    """The decoded request of each example file, in the order of their names.

    ``body`` is the engine's: where services take text, a file is the text of a body.

    Raises:
        WarmUpError: a file that cannot be read as an example.
    """
    places = dict.fromkeys(place / "examples" for place in (package.folder, package.root))
    for place in places if package.file is None else ():
        paths = sorted(place.iterdir()) if place.is_dir() else []
        # What a form uses is a part of that example, and none of its own.
        used = {file for path in paths if path.name.endswith(FORM) for file in _form_files(path)}
        for path in paths:
            if path.is_file() and path.name[0] != "." and path not in used:
                if body == "text" and not path.name.endswith(FORM):
                    yield path, path.read_text("utf-8-sig")
                else:
                    yield path, _request(path, package, inputs)


def _request(path: Path, package: Package, inputs: Sequence[TensorSpec]) -> Any:
    if path.name.endswith(FORM):
        return _form(path)
    if path.suffix == ".json":
        return _json(path)
    return {_file_key(path, package, inputs): {path.name: io.BytesIO(path.read_bytes())}}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise WarmUpError(f"{path}: the example is not JSON: {error}") from None


def _form(path: Path) -> dict[str, Any]:
    form: dict[str, Any] = {}
    for key, parts in _form_fields(path).items():
        files = [_file(path, part) for part in parts if part.startswith("@")]
        if missing := [str(file) for file in files if not file.is_file()]:
            raise WarmUpError(f"{path}: no such file: {', '.join(missing)}")
        form[key] = {file.name: io.BytesIO(file.read_bytes()) for file in files} or parts[-1]
    return form


def _form_files(path: Path) -> Iterator[Path]:
    for parts in _form_fields(path).values():
        yield from (_file(path, part) for part in parts if part.startswith("@"))


def _file(form: Path, part: str) -> Path:
    return form.parent / part[1:]


def _form_fields(path: Path) -> dict[str, list[str]]:
    """The values of each key, of which there is at least one."""
    fields = _json(path)
    if not isinstance(fields, dict):
        raise WarmUpError(f'{path}: expected an object such as {{"images": "@7.png"}}')
    values = {k: list(map(str, v if isinstance(v, list) else [v])) for k, v in fields.items()}
    if empty := [key for key, parts in values.items() if not parts]:
        raise WarmUpError(f"{path}: {empty[0]!r} has no value")
    return values


def _file_key(path: Path, package: Package, inputs: Sequence[TensorSpec]) -> str:
    declared = [key for api in package.apis for key in api.request.file_keys]
    keys = declared or [spec.name for spec in inputs]
    if len(set(keys)) == 1:
        return keys[0]
    raise WarmUpError(
        f"{path}: the form key of this example is open (known: {', '.join(keys) or 'none'}); "
        f'describe the request in {path.stem}{FORM}: {{"<key>": "@{path.name}"}}'
    )
