"""What ``apis`` of config.json declares: urls, methods, and the schema of a request.

Authors write it in many ways, none of which stops anything: each is read as what it means, as JSON
Schema draft 7 with one type more, ``file`` for an upload. What was read as something else is
remarked for the linter.
Source: ModelArts contract, "config.json" and its survey of published files.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from engineroom.config import MAX_DEPTH, read_text
from engineroom.findings import Keys, Remark

Schema: TypeAlias = dict[str, Any]

JSON, FORM = "application/json", "multipart/form-data"
CONTENT_TYPES = (JSON, FORM, "application/x-www-form-urlencoded", "text/plain")
METHODS = ("POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null", "file")
MEANT = {
    "list": "array", "tuple": "array", "ndarray": "array", "dict": "object", "map": "object",
    "float": "number", "float32": "number", "float64": "number", "double": "number",
    "int": "integer", "int32": "integer", "int64": "integer", "long": "integer",
    "str": "string", "text": "string", "bool": "boolean", "none": "null", "files": "file",
}  # fmt: skip
"""What is meant by types that JSON Schema does not have. Any other one is read as any value."""
NUMBERS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
)  # fmt: skip
LISTS = ("oneOf", "anyOf", "allOf")
AS_IT_IS = ("title", "description", "default", "example", "examples", "enum", "const", "format")
KEYWORDS = (
    "type", "properties", "items", "required", "pattern", "additionalProperties", "uniqueItems",
    "not", *NUMBERS, *LISTS, *AS_IT_IS,
)  # fmt: skip
API_KEYS = ("protocol", "url", "method", "request", "response")
BODY_KEYS = ("Content-type", "data", "required", "response")


@dataclasses.dataclass(frozen=True)
class Body:
    """A request or a response: its content type, and the schema of what it carries."""

    content_type: str = ""
    schema: Schema | None = None
    """None where nothing is declared."""

    @property
    def file_keys(self) -> list[str]:
        """The names of the properties that are files."""
        return list(_file_keys(self.schema))


@dataclasses.dataclass(frozen=True)
class Api:
    """One api of a package."""

    protocol: str = "http"
    url: str = "/"
    method: str = "POST"
    request: Body = Body()
    response: Body = Body()


def read_apis(config: Mapping[str, Any]) -> tuple[list[Api], list[Remark]]:
    """The apis of a config.json, and what in them is not as the contract has it."""
    reader, apis = _Reader(), config.get("apis")
    if isinstance(apis, dict):
        reader.remark(("apis",), '"apis" is an object; read as a list of it')
        return [reader.api(apis, ("apis",))], reader.remarks
    if not isinstance(apis, list):
        if apis is not None:
            reader.remark(("apis",), f'"apis" should be a list, not {shown(apis)}; ignored')
        return [], reader.remarks
    found = []
    for index, api in enumerate(apis):
        if isinstance(api, dict):
            found.append(reader.api(api, ("apis", index)))
        else:
            message = f"an api should be an object, not {shown(api)}; ignored"
            reader.remark(("apis", index), message)
    return found, reader.remarks


def apis_by_url(apis: Sequence[Api]) -> dict[str, Api | None]:
    """The api of each url that is answered. The root is the first api's, unless it has its own."""
    found: dict[str, Api | None] = {}
    for api in sorted(apis, key=lambda api: api.method != "POST"):
        found.setdefault(api.url, api)
    return {"/": next(iter(found.values()), None), **found}


def shown(value: Any) -> str:
    """``value`` for a message, whatever it is and however long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair


def meant(key: str, known: tuple[str, ...]) -> str | None:
    """The name among ``known`` that ``key`` is a spelling or a misspelling of."""
    plain = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(key), plain, 1, 0.75)
    return plain[near[0]] if near else None


def _plain(key: str) -> str:
    return re.sub(r"[\W_]", "", key).lower()


def _file_keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _file_keys(part)
    elif isinstance(schema, dict):
        for key, part in schema.get("properties", {}).items():
            if part.get("type") == "file":
                yield key
            yield from _file_keys(part)
        for keyword in ("items", *LISTS):
            yield from _file_keys(schema.get(keyword))


class _Reader:
    """Reads apis, and remarks what it reads as something else. ``at`` is where a value stands."""

    def __init__(self) -> None:
        self.remarks: list[Remark] = []

    def remark(self, at: Keys, message: str, level: str = "warning", key: bool = False) -> None:
        self.remarks.append(Remark(at, message, level, key))

    def named(self, node: dict[str, Any], at: Keys, known: tuple[str, ...]) -> dict[str, str]:
        """The keys of ``node`` by the names of ``known`` that they are, or that they mean."""
        found = {key: key for key in node if key in known}
        for key in node:
            name = meant(key, known) if key not in known else None
            if name and name not in found:
                found[name] = key
                if _plain(name) != _plain(key):
                    self.remark((*at, key), f'"{key}" is "{name}" misspelt; read as it', key=True)
        return found

    # --- an api

    def api(self, node: dict[str, Any], at: Keys) -> Api:
        named = self.named(node, at, API_KEYS)
        request_key = named.get("request") or next(iter(self._rest(node, named)), "")
        for key in self._rest(node, named):
            as_ = 'as "request"' if key == request_key else "no further"
            self.remark((*at, key), f'"{key}" is no part of an api; read {as_}', "note", True)
        request, response = self._body(node.get(request_key), (*at, request_key))
        if "response" in named:
            key = named["response"]
            response, _ = self._body(node[key], (*at, key))
        self._check_files(request, (*at, request_key))
        return Api(
            protocol=self._protocol(node, named, at),
            url=self._url(node, named, at),
            method=self._method(node, named, at),
            request=request,
            response=response or Body(),
        )

    @staticmethod
    def _rest(node: dict[str, Any], named: dict[str, str]) -> list[str]:
        """Keys that nobody knows; first those that could hold a request."""
        rest = [key for key in node if key not in named.values()]
        return sorted(rest, key=lambda key: not isinstance(node[key], dict | list))

    def _protocol(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> str:
        value = node.get(named.get("protocol", ""), "http")
        if isinstance(value, str) and value.lower() in ("http", "https"):
            return value.lower()
        where = (*at, named["protocol"])
        self.remark(where, f"a protocol is http or https, not {shown(value)}; read as http")
        return "http"

    def _url(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> str:
        value = node.get(named.get("url", ""), "/")
        if isinstance(value, str) and re.fullmatch(r"/[\w./-]*", value):
            return value
        url = f"/{value.strip().strip('/')}" if isinstance(value, str) else "/"
        url = url if re.fullmatch(r"/[\w./-]*", url) else "/"
        message = f"a url is a path such as /predict, not {shown(value)}; read as {url}"
        self.remark((*at, named["url"]), message)
        return url

    def _method(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> str:
        value = node.get(named.get("method", ""), "POST")
        method = value.strip().upper() if isinstance(value, str) else ""
        if method == "POST":
            return method
        where, known = (*at, named["method"]), method in METHODS
        why = "answered to POST only" if known else "not a method; read as POST"
        self.remark(where, f"{shown(value)} is {why}")
        return method if known else "POST"

    def _check_files(self, request: Body, at: Keys) -> None:
        if request.content_type == JSON and request.file_keys:
            files = " and ".join(request.file_keys)
            message = f'"{files}" is a file, which JSON cannot carry; clients send {FORM}'
            self.remark((*at, "Content-type"), message)

    # --- a body

    def _body(self, node: Any, at: Keys) -> tuple[Body, Body | None]:
        """A request or response, and the response that stands inside a request."""
        node = self._unpacked(node, at)
        if isinstance(node, list):  # input_params: [{"photo": {"type": "file"}}]
            return Body("", self._schema(node, at)), None
        if not isinstance(node, dict):
            if node is not None:
                self.remark(at, f"{shown(node)} should be an object; ignored")
            return Body(), None
        named = self.named(node, at, BODY_KEYS) if "properties" not in node else {}
        if "properties" in node or not named:
            names = {"Content-type", "response"}
            named = {n: k for n, k in self.named(node, at, BODY_KEYS).items() if n in names}
        content_type = self._content_type(node, named, at)
        response = None
        if "response" in named:
            message = f'"response" is inside "{at[-1]}"; read as that of the api'
            self.remark((*at, named["response"]), message, key=True)
            response, _ = self._body(node[named["response"]], (*at, named["response"]))
        return Body(content_type, self._declared(node, named, at)), response

    def _declared(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> Schema | None:
        """The schema of a body: that of ``data``, or what stands directly in the body."""
        rest = {key: value for key, value in node.items() if key not in named.values()}
        if "data" not in named:
            if not rest:
                return None
            message = f'the schema is directly in "{at[-1]}"; read as its "data"'
            self.remark(at, message, key=True)
            return self._schema(rest, at)
        for key in rest:
            self.remark((*at, key), f'"{key}" is no part of a body; ignored', "note", True)
        key = named["data"]
        data = self._unpacked(node[key], (*at, key))
        if data is None or data == "":
            return None
        schema = self._schema(data, (*at, key))
        if "required" in named:
            where = (*at, named["required"])
            self.remark(where, '"required" is beside "data"; read as a part of it', key=True)
            names = self._required(node[named["required"]], where, schema.get("properties", {}))
            schema["required"] = list(dict.fromkeys([*schema.get("required", []), *names]))
        return schema

    def _content_type(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> str:
        if "Content-type" not in named:
            return ""
        value, where = node[named["Content-type"]], (*at, named["Content-type"])
        kind = value.partition(";")[0].strip().lower() if isinstance(value, str) else ""
        if kind in CONTENT_TYPES:
            return kind
        near = difflib.get_close_matches(kind, CONTENT_TYPES, 1, 0.8)
        if kind.startswith("multipart"):
            near = [FORM]
        elif not near and "json" in kind:
            near = [JSON]
        if near:
            self.remark(where, f"content type {shown(value)}; read as {near[0]}")
            return near[0]
        message = f"content type {shown(value)} is none that is decoded; see docs/requests.md"
        self.remark(where, message)
        return kind

    def _unpacked(self, value: Any, at: Keys) -> Any:
        """JSON out of a string."""
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            inner = read_text(value)
            if isinstance(inner, dict | list):
                self.remark(at, "JSON in a string; read as what the string holds")
                return inner
            self.remark(at, "JSON in a string that cannot be read; ignored")
            return None
        return value

    # --- a schema

    def _schema(self, node: Any, at: Keys) -> Schema:
        if len(at) > MAX_DEPTH:  # strings that hold JSON may nest as deeply as they like
            return {}
        node = self._unpacked(node, at)
        if isinstance(node, str):  # "images": "file"
            self.remark(at, f'{shown(node)} in place of a schema; read as its "type"')
            return self._typed(node, at)
        if isinstance(node, list) and node and all(isinstance(part, dict) for part in node):
            self.remark(at, "a list in place of a schema; read as one of all its parts")
            node = {key: value for part in node for key, value in part.items()}
        if not isinstance(node, dict):
            self.remark(at, f"{shown(node)} in place of a schema; read as any value")
            return {}
        if not _is_schema(node):
            if "properties" not in at[-1:]:
                message = 'properties without "properties" around them; read as those of an object'
                self.remark(at, message)
            return self._object({"properties": node}, {"properties": "properties"}, at, at)
        return self._keywords(node, at)

    def _keywords(self, node: dict[str, Any], at: Keys) -> Schema:
        named = self.named(node, at, KEYWORDS)
        schema = {name: node[named[name]] for name in AS_IT_IS if name in named}
        for name in NUMBERS:
            if name in named:
                schema |= self._limit(name, node, (*at, named[name]))
        if "pattern" in named:
            schema |= self._pattern(node[named["pattern"]], (*at, named["pattern"]))
        for name in LISTS:
            parts = node.get(named.get(name, ""))
            if isinstance(parts, list) and parts:
                where = (*at, named[name])
                schema[name] = [self._schema(part, (*where, i)) for i, part in enumerate(parts)]
        for name in ("not", "additionalProperties"):
            part = node.get(named.get(name, ""))
            if isinstance(part, dict):
                schema[name] = self._schema(part, (*at, named[name]))
            elif isinstance(part, bool) and name != "not":
                schema[name] = part
        if node.get("uniqueItems") is True:
            schema["uniqueItems"] = True
        schema |= self._strays(node, named, at)
        schema |= self._object(node, named, at, (*at, named.get("properties", "")))
        if "items" in named:
            schema |= self._items(node[named["items"]], (*at, named["items"]))
        if "type" in named:
            schema |= self._typed(node[named["type"]], (*at, named["type"]))
        if not isinstance(schema.get("enum", []), list):
            self.remark((*at, named["enum"]), '"enum" should be a list; ignored')
            del schema["enum"]
        return schema

    def _strays(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> Schema:
        """What a schema holds besides its keywords."""
        strays = [key for key in node if key not in named.values()]
        for key in strays:
            if key in ("$ref", "definitions", "$defs"):
                message = f'"{key}": references are not followed; read as any value'
            else:
                message = f'"{key}" is no keyword of JSON Schema; ignored'
            if key not in ("$schema", "$id", "$comment", "id"):
                self.remark((*at, key), message, "note", True)
        return {}

    def _object(
        self, node: dict[str, Any], named: dict[str, str], at: Keys, inside: Keys
    ) -> Schema:
        """``properties`` and ``required``; the properties stand at ``inside``."""
        schema: Schema = {}
        properties = self._unpacked(node.get(named.get("properties", "")), inside)
        required = node.get(named.get("required", ""))
        if isinstance(properties, list):
            properties = {k: v for p in properties if isinstance(p, dict) for k, v in p.items()}
            self.remark(inside, '"properties" is a list; read as one object of all its parts')
        if isinstance(properties, dict):
            names = properties.get("required")
            if isinstance(names, list):
                where = (*inside, "required")
                message = '"required" is inside "properties"; read as beside them'
                self.remark(where, message, key=True)
                properties = {k: v for k, v in properties.items() if k != "required"}
                required = names if required is None else required
            schema["type"] = "object"
            schema["properties"] = {
                key: self._schema(part, (*inside, key)) for key, part in properties.items()
            }
        elif properties is not None:
            self.remark(
                inside, f'"properties" should be an object, not {shown(properties)}; ignored'
            )
        found = self._each_required(properties, inside) if isinstance(properties, dict) else []
        if required is not None and not isinstance(required, bool):
            where = (*at, named.get("required", "required"))
            found += self._required(required, where, properties)
        if found:
            schema["required"] = list(dict.fromkeys(found))
        return schema

    def _each_required(self, properties: dict[str, Any], at: Keys) -> list[str]:
        """Properties that say themselves that they are required, as in draft 3."""
        found = []
        for key, part in properties.items():
            if isinstance(part, dict) and isinstance(part.get("required"), bool):
                message = '"required" in the property itself; read as in a list beside "properties"'
                self.remark((*at, key, "required"), message, key=True)
                found += [key] * part["required"]
        return found

    def _required(self, value: Any, at: Keys, properties: Any) -> list[str]:
        if isinstance(value, str):
            self.remark(at, f'"required" should be a list; read as [{shown(value)}]')
            value = [value]
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.remark(at, f'"required" should be a list of names, not {shown(value)}; ignored')
            return []
        known = properties if isinstance(properties, dict) else {}
        for name in value:
            if known and name not in known:
                near = meant(name, tuple(known))
                hint = f'; did you mean "{near}"?' if near else ""
                self.remark(at, f"{shown(name)} is required and not among the properties{hint}")
        return list(value)

    def _items(self, value: Any, at: Keys) -> Schema:
        if isinstance(value, bool) or value in ([], {}, None):
            return {"type": "array"}
        if not isinstance(value, list):
            return {"type": "array", "items": self._schema(value, at)}
        parts = [self._schema(part, (*at, index)) for index, part in enumerate(value)]
        if len(parts) == 1:
            message = '"items" is a list of one schema; read as the schema of every element'
            self.remark(at, message)
            return {"type": "array", "items": parts[0]}
        self.remark(at, '"items" is a list; read as the schemas of the elements in their order')
        return {"type": "array", "items": parts}

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

    def _limit(self, name: str, node: dict[str, Any], at: Keys) -> Schema:
        value = node[str(at[-1])]
        if isinstance(value, bool) and name.startswith("exclusive"):  # as in draft 4
            limit = node.get(name.replace("exclusiveM", "m"))
            self.remark(at, f'"{name}" is true, as in draft 4; read as the limit itself')
            return {name: limit} if value and _is_number(limit) else {}
        if isinstance(value, str) and _is_number(number := read_text(value)):
            self.remark(at, f'"{name}" is text; read as {number:g}')
            return {name: number}
        if not _is_number(value) or (name.startswith(("min", "max")) and value is True):
            self.remark(at, f'"{name}" should be a number, not {shown(value)}; ignored')
            return {}
        return {name: value}

    def _pattern(self, value: Any, at: Keys) -> Schema:
        try:
            re.compile(value)
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            self.remark(at, f'"pattern" is no regular expression ({error}); ignored')
            return {}
        return {"pattern": value}


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
    others = [value for key, value in node.items() if key not in AS_IT_IS]
    return not any(isinstance(value, dict | str) for value in others)
