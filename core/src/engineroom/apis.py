"""What ``apis`` of config.json declares: urls, methods, and the schema of a request.

Authors write it in many ways, none of which stops anything: each is read as what it means. What was
read as something else is remarked for the linter.
Source: ModelArts contract, "config.json" and its survey of published files.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from engineroom.findings import Keys, Remark, shown
from engineroom.schemas import Schema, SchemaReader, file_keys

JSON, FORM = "application/json", "multipart/form-data"
CONTENT_TYPES = (JSON, FORM, "application/x-www-form-urlencoded", "text/plain")
METHODS = ("POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
API_KEYS = ("protocol", "url", "method", "request", "response")
AROUND_SCHEMA = ("Content-type", "response")
BODY_KEYS = (*AROUND_SCHEMA, "data", "required")
URL = re.compile(r"/[\w./-]*")


@dataclasses.dataclass(frozen=True)
class Body:
    """A request or a response: its content type, and the schema of what it carries."""

    content_type: str = ""
    schema: Schema | None = None
    """None where nothing is declared."""

    @property
    def file_keys(self) -> list[str]:
        """The names of the properties that are files."""
        return list(file_keys(self.schema))


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


class _Reader(SchemaReader):
    """Reads apis."""

    def api(self, node: dict[str, Any], at: Keys) -> Api:
        named = self.named(node, at, API_KEYS)
        rest = [key for key in node if key not in named.values()]
        holders = [key for key in rest if isinstance(node[key], dict | list)]
        request_key = named.get("request") or next(iter([*holders, *rest]), "")
        for key in rest:
            as_ = 'as "request"' if key == request_key else "no further"
            self.remark((*at, key), f'"{key}" is no part of an api; read {as_}', "note", True)
        request, response = self._body(node.get(request_key), (*at, request_key))
        if "response" in named:
            key = named["response"]
            response, _ = self._body(node[key], (*at, key))
        if request.content_type == JSON and request.file_keys:
            files = " and ".join(request.file_keys)
            message = f'"{files}" is a file, which JSON cannot carry; clients send {FORM}'
            self.remark((*at, request_key, "Content-type"), message)
        return Api(
            protocol=self._protocol(node, named, at),
            url=self._url(node, named, at),
            method=self._method(node, named, at),
            request=request,
            response=response or Body(),
        )

    def _protocol(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> str:
        value = node.get(named.get("protocol", ""), "http")
        if isinstance(value, str) and value.lower() in ("http", "https"):
            return value.lower()
        where = (*at, named["protocol"])
        self.remark(where, f"a protocol is http or https, not {shown(value)}; read as http")
        return "http"

    def _url(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> str:
        value = node.get(named.get("url", ""), "/")
        if isinstance(value, str) and URL.fullmatch(value):
            return value
        url = f"/{value.strip().strip('/')}" if isinstance(value, str) else "/"
        url = url if URL.fullmatch(url) else "/"
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

    # --- a body

    def _body(self, node: Any, at: Keys) -> tuple[Body, Body | None]:
        """A request or response, and the response that stands inside a request."""
        node = self.unpacked(node, at)
        if isinstance(node, list):  # input_params: [{"photo": {"type": "file"}}]
            return Body("", self.schema(node, at)), None
        if not isinstance(node, dict):
            if node is not None:
                self.remark(at, f"{shown(node)} should be an object; ignored")
            return Body(), None
        known = AROUND_SCHEMA if "properties" in node else BODY_KEYS
        named = self.named(node, at, known)
        content_type = self._content_type(node, named, at)
        response = None
        if "response" in named:
            key = named["response"]
            message = f'"response" is inside "{at[-1]}"; read as that of the api'
            self.remark((*at, key), message, key=True)
            response, _ = self._body(node[key], (*at, key))
        return Body(content_type, self._declared(node, named, at)), response

    def _declared(self, node: dict[str, Any], named: dict[str, str], at: Keys) -> Schema | None:
        """The schema of a body: that of ``data``, or what stands directly in the body."""
        rest = {key: value for key, value in node.items() if key not in named.values()}
        if "data" not in named:
            if not rest:
                return None
            message = f'the schema is directly in "{at[-1]}"; read as its "data"'
            self.remark(at, message, key=True)
            return self.schema(rest, at)
        for key in rest:
            self.remark((*at, key), f'"{key}" is no part of a body; ignored', "note", True)
        key = named["data"]
        data = self.unpacked(node[key], (*at, key))
        if data is None or data == "":
            return None
        schema = self.schema(data, (*at, key))
        if "required" in named:
            where = (*at, named["required"])
            self.remark(where, '"required" is beside "data"; read as a part of it', key=True)
            names = self.required(node[named["required"]], where, schema.get("properties", {}))
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
        read = f"; read as {near[0]}" if near else " is none that is decoded; see docs/requests.md"
        self.remark(where, f"content type {shown(value)}{read}")
        return near[0] if near else kind
