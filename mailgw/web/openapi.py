"""The tables as an OpenAPI 3.1 document."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import msgspec

from mailgw.web.operations import (
    EVERYWHERE,
    PREFIX,
    WITH_BODY,
    Live,
    Operation,
    Raw,
    Upload,
    body_media_type,
)
from mailgw.web.problems import MEDIA_TYPE
from mailgw.web.tokens import COOKIE

TEMPLATE: Final = "#/components/schemas/{name}"



def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """All of them; ``version`` is the gateway's."""
    shapes = [shape for one in operations for shape in _shapes(one)]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=TEMPLATE)
    of_shape = {id(shape): schema for shape, schema in zip(shapes, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, of_shape)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mailgw", "version": version, "summary": "A mail gateway, seen and steered"},
        "servers": [{"url": PREFIX}],
        "tags": [{"name": name} for name in sorted({one.topic for one in operations})],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": PROBLEM},
            "responses": {},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey", "in": "cookie", "name": COOKIE,
                    "description": "What POST /session gives; unsafe methods need the header X-Mailgw, too",
                },
            },
        },
    }


# As ``routing.STRANGE`` has it, for any regular expressions; and it is no "." or "..".
SEGMENT: Final = r"^(?!\.{1,2}$)[^/\\\x00-\x1f\x7f-\x9f]+$"
PROBLEM: Final[Mapping[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def _shapes(one: Operation) -> list[Any]:
    shapes = [_json_of(body) for body in one.bodies]
    if one.query is not None:
        shapes.append(one.query)
    if not isinstance(one.answer, Raw | Live):
        shapes.append(one.answer)
    return [shape for shape in shapes if shape is not None]


def _json_of(body: Any) -> Any:
    return body.shape if isinstance(body, Upload) else body


def _operation(one: Operation, of_shape: Mapping[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": one.operation_id,
        "summary": one.summary,
        "tags": [one.topic],
        "parameters": [*_in_path(one), *_in_query(one)],
        "responses": _responses(one, of_shape),
    }
    if one.is_open:
        found["security"] = []
    if one.scope is not None:
        found["description"] = f"Needs the scope {one.scope.value}."
        found["x-scope"] = one.scope.value
    if one.bodies:
        content = {
            body_media_type(body): {"schema": {"type": "string"} if (shape := _json_of(body)) is None
                                    else of_shape[id(shape)]}
            for body in one.bodies
        }
        found["requestBody"] = {"required": True, "content": content}
    return found


def _in_path(one: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": SEGMENT}}
        for name in re.findall(r"\{([a-z_]+)\}", one.path)
    ]


def _in_query(one: Operation) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    # What a parameter's schema refers to would have to stand among the components: queries are flat.
    _, components = msgspec.json.schema_components([one.query], ref_template=TEMPLATE)
    own = components[one.query.__name__]
    found = []
    for name, schema in own["properties"].items():
        is_needed = name in own.get("required", ())
        kinds = schema.get("anyOf")
        if kinds is not None and {"type": "null"} in kinds:  # one that is left out, not one that is null
            kinds = [kind for kind in kinds if kind != {"type": "null"}]
            rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
            schema = {**rest, **kinds[0]} if len(kinds) == 1 else {**rest, "anyOf": kinds}
        parameter = {"name": name, "in": "query", "required": is_needed, "schema": schema}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return found


def _responses(one: Operation, of_shape: Mapping[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {str(one.status): {"description": one.summary, **_content(one, of_shape)}}
    further = {**EVERYWHERE, **(WITH_BODY if one.bodies else {}), **one.statuses}
    for status, why in sorted(further.items()):
        if str(status) in found:
            continue
        if 200 <= status < 300:
            found[str(status)] = {"description": why, **_content(one, of_shape)}
        else:
            found[str(status)] = {
                "description": why, "content": {MEDIA_TYPE: {"schema": {"$ref": TEMPLATE.format(name="Problem")}}},
            }
    return found


def _content(one: Operation, of_shape: Mapping[int, Any]) -> dict[str, Any]:
    match one.answer:
        case None:
            return {}
        case Raw(media_type):
            return {"content": {media_type: {}}}
        case Live():
            return {"content": {"text/event-stream": {}}}
        case shape:
            return {"content": {"application/json": {"schema": of_shape[id(shape)]}}}


def page(operations: Sequence[Operation]) -> bytes:
    """All of them for people: a plain page, without scripts, by topics."""
    lines = ["<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
             '<meta name="viewport" content="width=device-width, initial-scale=1">',
             "<title>mailgw: the HTTP API</title>",
             '<link rel="stylesheet" href="/base.css"></head><body><main>', "<h1>The HTTP API</h1>",
             f'<p>Below <code>{PREFIX}</code>; <a href="{PREFIX}/openapi.json">openapi.json</a> has all of it.</p>']
    for topic in sorted({one.topic for one in operations}):
        lines.append(f"<h2>{escape(topic)}</h2><table><tr><th>Asked<th>What<th>Scope</tr>")
        for one in sorted((one for one in operations if one.topic == topic), key=lambda one: (one.path, one.method)):
            scope = "none" if one.is_open else "any" if one.scope is None else one.scope.value
            asked = f"<code>{one.method} {escape(one.path)}</code>"
            lines.append(f"<tr><td>{asked}<td>{escape(one.summary)}<td>{scope}</tr>")
        lines.append("</table>")
    return "\n".join([*lines, "</main></body></html>", ""]).encode()
