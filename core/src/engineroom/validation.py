"""Checks decoded requests against the schema that config.json declares for them.

Only there when ``validate_requests`` is on: the library is imported here and nowhere else.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any
from urllib.parse import parse_qsl

import jsonschema
import jsonschema.validators
from jsonschema.exceptions import ValidationError, best_match

from engineroom.apis import Api
from engineroom.errors import RequestSchemaError
from engineroom.findings import shown
from engineroom.package import CONFIG, Package
from engineroom.values import is_upload

log = logging.getLogger("engineroom")

Check = Callable[[Any, Collection[str]], None]
"""Takes a decoded request, and the keys whose values came as text."""
Decode = Callable[[str, bytes, bytes], Any]
MAX_ERRORS = 20
"""Of this many the most telling one is chosen; a batch of wrong rows has thousands."""
WORDS = {
    "object": "an object", "array": "a list", "string": "text", "number": "a number",
    "integer": "a whole number", "boolean": "true or false", "file": "an uploaded file",
}  # fmt: skip
LIMITS = {
    "minimum": "at least {}", "maximum": "at most {}", "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}", "minLength": "at least {} characters",
    "maxLength": "at most {} characters", "minItems": "at least {} elements",
    "maxItems": "at most {} elements", "multipleOf": "a multiple of {}", "const": "{}",
    "pattern": "text that matches {}", "enum": "one of {}",
    "additionalProperties": "an object with the declared keys only",
}  # fmt: skip


def make_check(package: Package, api: Api | None, mode: str) -> Check | None:
    """The check of requests to ``api``; None, and a warning, where none can be made.

    ``mode`` is the setting: ``warn`` logs what does not fit, ``reject`` raises
    :class:`~engineroom.errors.RequestSchemaError`.
    """
    place = package.folder / CONFIG
    if api is None or api.request.schema is None:
        log.warning("%s declares no schema of a request: requests are not checked", place)
        return None
    try:
        _Validator.check_schema(api.request.schema)
    except (jsonschema.SchemaError, RecursionError) as error:
        why = getattr(error, "message", error)
        log.warning("%s: requests are not checked: the schema of %s: %s", place, api.url, why)
        return None
    return functools.partial(_check, _Validator(api.request.schema), mode)


def checked(decode: Decode, check: Check) -> Decode:
    """``decode``, and then the check of what it gives."""

    def decode_and_check(content_type: str, body: bytes, query: bytes) -> Any:
        data = decode(content_type, body, query)
        keys = {key for key, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)}
        if isinstance(data, dict) and _is_form(content_type.lower(), body):
            keys.update(data)
        check(data, keys)
        return data

    return decode_and_check


def _is_form(content_type: str, body: bytes) -> bool:
    # curl -d '{…}' says urlencoded, too.
    is_json = body.lstrip()[:1] in (b"{", b"[")
    return "multipart" in content_type or ("urlencoded" in content_type and not is_json)


def _check(validator: Any, mode: str, data: Any, text_keys: Collection[str]) -> None:
    data = _typed(validator, data, text_keys)
    errors = itertools.islice(validator.iter_errors(data), MAX_ERRORS)
    error = best_match(errors)
    if error is None:
        return
    field, wanted = _field(error), _wanted(error)
    got = "nothing" if _missing(error) else _came(error.instance)
    message = f'"{field}" of the request should be {wanted}, got {got}'
    if mode == "reject":
        advice = "see apis in config.json"
        raise RequestSchemaError(f"{message}; {advice}", field=field, expected=wanted, got=got)
    log.warning("%s (config.json)", message)


# --- what came as text


def _typed(validator: Any, data: Any, text_keys: Collection[str]) -> Any:
    """``data`` with the text of forms and queries as what the schema wants, where it can be."""
    if isinstance(data, str):  # engines that take the body as it is
        return _from_text(validator, data)
    if not isinstance(data, dict):
        return data
    properties = validator.schema.get("properties", {})
    texts = {key for key in text_keys if key in properties and isinstance(data.get(key), str)}
    read = {key: _from_text(validator.evolve(schema=properties[key]), data[key]) for key in texts}
    return {**data, **read}


def _from_text(validator: Any, text: str) -> Any:
    if validator.is_valid(text) or validator.schema.get("type") == "file":
        return text
    if text.strip().lower() in ("true", "false"):  # also as Python writes them
        return text.strip().lower() == "true"
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


# --- the words


def _missing(error: ValidationError) -> str:
    """The property that is not there."""
    if error.validator != "required" or not isinstance(error.instance, dict):
        return ""
    return next((name for name in error.validator_value if name not in error.instance), "")


def _field(error: ValidationError) -> str:
    missing = _missing(error)
    return f"{error.json_path}.{missing}" if missing else error.json_path


def _wanted(error: ValidationError) -> str:
    schema = error.schema if isinstance(error.schema, dict) else {}
    if missing := _missing(error):
        return _kinds(schema.get("properties", {}).get(missing, {}).get("type"))
    if error.validator == "type":
        return _kinds(error.validator_value)
    value = json.dumps(error.validator_value, ensure_ascii=False, default=str)[:100]
    return LIMITS.get(str(error.validator), f"{error.validator}: {{}}").format(value)


def _kinds(kinds: Any) -> str:
    kinds = [kinds] if isinstance(kinds, str) else kinds or []
    return " or ".join(WORDS.get(kind, kind) for kind in kinds) or "there"


def _came(value: Any) -> str:
    if is_upload(value):
        return f"an uploaded file {shown(next(iter(value)))}"
    if isinstance(value, dict):
        return f"an object with {', '.join(map(shown, [*value][:5])) or 'nothing in it'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"text {shown(value)}" if isinstance(value, str) else shown(value)


# --- the validator


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """``items``, which for a batch of a million numbers would take the library seconds."""
    quick = {"number": (int, float), "integer": (int,), "string": (str,)}
    kinds = quick.get(items["type"]) if isinstance(items, dict) and len(items) == 1 else None
    if kinds and isinstance(instance, list) and set(map(type, instance)) <= set(kinds):
        return
    yield from jsonschema.Draft7Validator.VALIDATORS["items"](validator, items, instance, schema)


def _is_object(_checker: Any, value: Any) -> bool:
    return isinstance(value, dict) and not is_upload(value)


def _with_files(meta_schema: Any) -> dict[str, Any]:
    """The schema of schemas, with the type ``file``."""
    meta: dict[str, Any] = copy.deepcopy(meta_schema)
    del meta["$id"]  # or the one without files would be looked up
    meta["definitions"]["simpleTypes"]["enum"].append("file")
    return meta


_Validator = jsonschema.validators.create(
    _with_files(jsonschema.Draft7Validator.META_SCHEMA),
    {**jsonschema.Draft7Validator.VALIDATORS, "items": _items},
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine_many(
        {"file": lambda _checker, value: is_upload(value), "object": _is_object}
    ),
)
