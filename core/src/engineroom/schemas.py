"""Reads the schema of a request or a response as what its author meant: JSON Schema draft 7.

It has one type more, ``file`` for an upload. What was read as something else is remarked.
Source: ModelArts contract, "config.json" and its survey of published files.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from engineroom.config import MAX_DEPTH, read_text
from engineroom.findings import Keys, Reader, meant, shown

Schema: TypeAlias = dict[str, Any]

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null", "file")
MEANT = {
    "list": "array", "tuple": "array", "ndarray": "array", "dict": "object", "map": "object",
    "float": "number", "float32": "number", "float64": "number", "double": "number",
    "int": "integer", "int32": "integer", "int64": "integer", "long": "integer",
    "str": "string", "text": "string", "bool": "boolean", "none": "null", "files": "file",
}  # fmt: skip
"""What is meant by types that JSON Schema does not have. Any other one is read as any value."""
LISTS = ("oneOf", "anyOf", "allOf")
DESCRIPTIONS = ("title", "description", "default", "example", "examples", "const", "format", "enum")
REFERENCES = ("$ref", "definitions", "$defs")
NEEDLESS = ("$schema", "$id", "$comment", "id")


def file_keys(schema: Any) -> Iterator[str]:
    """The names of the properties that are files."""
    if isinstance(schema, list):
        for part in schema:
            yield from file_keys(part)
    elif isinstance(schema, dict):
        for key, part in schema.get("properties", {}).items():
            if part.get("type") == "file":
                yield key
            yield from file_keys(part)
        for keyword in ("items", *LISTS):
            yield from file_keys(schema.get(keyword))


class SchemaReader(Reader):
    """Reads a schema; its methods give what a keyword adds to it, for ``node[at[-1]]``."""

    def unpacked(self, value: Any, at: Keys) -> Any:
        """JSON out of a string."""
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            inner = read_text(value)
            if isinstance(inner, dict | list):
                self.remark(at, "JSON in a string; read as what the string holds")
                return inner
            self.remark(at, "JSON in a string that cannot be read; ignored")
            return None
        return value

    def schema(self, node: Any, at: Keys) -> Schema:
        """``node`` as JSON Schema; an empty one takes any value."""
        if len(at) > MAX_DEPTH:  # strings that hold JSON may nest as deeply as they like
            return {}
        node = self.unpacked(node, at)
        if isinstance(node, str):  # "images": "file"
            self.remark(at, f'{shown(node)} in place of a schema; read as its "type"')
            return self._typed(node, at)
        if isinstance(node, list) and node and all(isinstance(part, dict) for part in node):
            self.remark(at, "a list in place of a schema; read as one of all its parts")
            node = _merged(node)
        if not isinstance(node, dict):
            self.remark(at, f"{shown(node)} in place of a schema; read as any value")
            return {}
        if not _is_schema(node):
            if "properties" not in at[-1:]:
                message = 'properties without "properties" around them; read as those of an object'
                self.remark(at, message)
            return self._properties(node, at, None, at)
        return self._keywords(node, at)

    def _keywords(self, node: dict[Any, Any], at: Keys) -> Schema:
        named = self.named(node, at, KEYWORDS)
        for key in node:
            if key not in named.values() and key not in NEEDLESS:
                why = "references are not followed; read as any value"
                why = f": {why}" if key in REFERENCES else " is no keyword of JSON Schema; ignored"
                self.remark((*at, key), f'"{key}"{why}', "note", True)
        inside, beside = ((*at, named.get(key, key)) for key in ("properties", "required"))
        properties, required = (node.get(where[-1]) for where in (inside, beside))
        schema = self._properties(properties, inside, required, beside)
        for name, read in KEYWORDS.items():
            if read and name in named:
                schema |= read(self, name, node, (*at, named[name]))
        return schema

    def _properties(self, properties: Any, inside: Keys, required: Any, beside: Keys) -> Schema:
        """``properties`` stand at ``inside``, ``required`` at ``beside``."""
        schema: Schema = {}
        properties = self.unpacked(properties, inside)
        if isinstance(properties, list):
            self.remark(inside, '"properties" is a list; read as one object of all its parts')
            properties = _merged(part for part in properties if isinstance(part, dict))
        if isinstance(properties, dict):
            if isinstance(properties.get("required"), list):
                message = '"required" is inside "properties"; read as beside them'
                beside = beside if required is not None else (*inside, "required")
                self.remark((*inside, "required"), message, key=True)
                properties = dict(properties)
                names = properties.pop("required")
                required = names if required is None else required
            parts = {key: self.schema(part, (*inside, key)) for key, part in properties.items()}
            schema = {"type": "object", "properties": parts}
        elif properties is not None:
            message = f'"properties" should be an object, not {shown(properties)}; ignored'
            self.remark(inside, message)
            properties = None
        names = self._each_required(properties or {}, inside)
        if required is not None and not isinstance(required, bool):
            names += self.required(required, beside, properties or {})
        return {**schema, "required": list(dict.fromkeys(names))} if names else schema

    def _each_required(self, properties: dict[str, Any], at: Keys) -> list[str]:
        """Properties that say themselves that they are required, as in draft 3."""
        found = []
        for key, part in properties.items():
            if isinstance(part, dict) and isinstance(part.get("required"), bool):
                message = '"required" in the property itself; read as in a list beside "properties"'
                self.remark((*at, key, "required"), message, key=True)
                found += [key] * part["required"]
        return found

    def required(self, value: Any, at: Keys, properties: dict[str, Any]) -> list[str]:
        """The names of the ``properties`` that must be there."""
        if isinstance(value, str):
            self.remark(at, f'"required" should be a list; read as [{shown(value)}]')
            value = [value]
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.remark(at, f'"required" should be a list of names, not {shown(value)}; ignored')
            return []
        for name in value:
            if properties and name not in properties:
                near = meant(name, properties)
                hint = f'; did you mean "{near}"?' if near else ""
                self.remark(at, f"{shown(name)} is required and not among the properties{hint}")
        return list(value)

    # --- the other keywords

    def _description(self, name: str, node: dict[Any, Any], at: Keys) -> Schema:
        value = node[at[-1]]
        if name == "enum" and not isinstance(value, list):
            self.remark(at, '"enum" should be a list; ignored')
            return {}
        return {name: value}

    def _limit(self, name: str, node: dict[Any, Any], at: Keys) -> Schema:
        value = node[at[-1]]
        if isinstance(value, bool) and name.startswith("exclusive"):  # as in draft 4
            limit = node.get(name.replace("exclusiveM", "m"))
            self.remark(at, f'"{name}" is true, as in draft 4; read as the limit itself')
            return {name: limit} if value and _is_number(limit) else {}
        if isinstance(value, str) and _is_number(number := read_text(value)):
            self.remark(at, f'"{name}" is text; read as {number:g}')
            return {name: number}
        if not _is_number(value):
            self.remark(at, f'"{name}" should be a number, not {shown(value)}; ignored')
            return {}
        return {name: value}

    def _pattern(self, name: str, node: dict[Any, Any], at: Keys) -> Schema:
        try:
            re.compile(node[at[-1]])
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            self.remark(at, f'"pattern" is no regular expression ({error}); ignored')
            return {}
        return {name: node[at[-1]]}

    def _part(self, name: str, node: dict[Any, Any], at: Keys) -> Schema:
        """A schema or, but for ``not``, a boolean; for the keywords in ``LISTS`` schemas."""
        value = node[at[-1]]
        if isinstance(value, list) and value and name in LISTS:
            return {name: [self.schema(part, (*at, i)) for i, part in enumerate(value)]}
        if isinstance(value, dict) and name not in LISTS:
            return {name: self.schema(value, at)}
        return {name: value} if isinstance(value, bool) and name == "additionalProperties" else {}

    def _unique(self, name: str, node: dict[Any, Any], at: Keys) -> Schema:
        return {name: True} if node[at[-1]] is True else {}

    def _items(self, name: str, node: dict[Any, Any], at: Keys) -> Schema:
        value = node[at[-1]]
        if isinstance(value, bool) or value in ([], {}, None):
            return {"type": "array"}
        if not isinstance(value, list):
            return {"type": "array", name: self.schema(value, at)}
        parts = [self.schema(part, (*at, index)) for index, part in enumerate(value)]
        if len(parts) == 1:
            message = '"items" is a list of one schema; read as the schema of every element'
            self.remark(at, message)
            return {"type": "array", name: parts[0]}
        self.remark(at, '"items" is a list; read as the schemas of the elements in their order')
        return {"type": "array", name: parts}

    def _types(self, _: str, node: dict[Any, Any], at: Keys) -> Schema:
        return self._typed(node[at[-1]], at)

    def _typed(self, value: Any, at: Keys) -> Schema:
        """The keyword ``type``, or nothing where any value will do."""
        if not isinstance(value, list):
            kind = self._type(value, at)
            return {"type": kind} if kind else {}
        kinds = [self._type(kind, (*at, index)) for index, kind in enumerate(value)]
        if not kinds or not all(kinds):
            return {}
        return {"type": kinds[0] if len(kinds) == 1 else list(dict.fromkeys(kinds))}

    def _type(self, value: Any, at: Keys) -> str | None:
        if value in TYPES:
            return str(value)
        word = value.strip().lower() if isinstance(value, str) else ""
        near = difflib.get_close_matches(word, TYPES, 1, 0.8)
        kind = word if word in TYPES else MEANT.get(word) or (near[0] if near else None)
        read = f'"{kind}"' if kind else "any value"
        self.remark(at, f"JSON Schema has no type {shown(value)}; read as {read}")
        return kind


Read: TypeAlias = Callable[[SchemaReader, str, dict[Any, Any], Keys], Schema]
LIMITS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
)  # fmt: skip
KEYWORDS: dict[str, Read | None] = {
    **dict.fromkeys(("properties", "required")),
    **dict.fromkeys(DESCRIPTIONS, SchemaReader._description),
    **dict.fromkeys(LIMITS, SchemaReader._limit),
    **dict.fromkeys(("not", "additionalProperties", *LISTS), SchemaReader._part),
    "pattern": SchemaReader._pattern,
    "uniqueItems": SchemaReader._unique,
    "items": SchemaReader._items,
    "type": SchemaReader._types,
}
"""How each is read; ``type`` comes last, since others imply one."""


def _merged(parts: Any) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_schema(node: dict[str, Any]) -> bool:
    """Whether ``node`` is a schema, rather than properties without ``properties`` around them."""
    if isinstance(node.get("type"), str | list):
        return True
    inner = ("properties", "items", "item", "$ref", *LISTS)
    if any(isinstance(node.get(key), dict | list | str) for key in inner):
        return True
    others = [value for key, value in node.items() if key not in DESCRIPTIONS]
    return not any(isinstance(value, dict | str) for value in others)
