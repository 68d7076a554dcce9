"""OpenAPI 3.1 out of the endpoints' declarations and structs.

Source: OpenAPI Specification 3.1.0; schemas are JSON Schema 2020-12, which msgspec writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ui.api.endpoint import Endpoint
from ui.auth import COOKIE_TLS
from ui.problem import MEDIA_TYPE, TITLES, Problem

REF: Final = "#/components/schemas/{name}"


def document(endpoints: Sequence[Endpoint], *, version: str) -> dict[str, Any]:
    """The whole document.

    Args:
        version: Of the program.
    """
    kinds = _kinds(endpoints)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, schema_of)
        paths.setdefault(f"/api/v1{endpoint.path}", {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Homeport",
            "version": version,
            "description": "The API of one Homeport node. Errors are problem details (RFC 9457) with `code` and `hint`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE_TLS},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
            },
        },
    }


def _kinds(endpoints: Sequence[Endpoint]) -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {Problem: None}
    for endpoint in endpoints:
        for kind in (endpoint.body, endpoint.answer):
            if kind is not None:
                found[kind] = None
    return list(found)


def _operation(endpoint: Endpoint, schema_of: dict[type[msgspec.Struct], Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.operation_id,
        "summary": endpoint.summary,
        "tags": list(endpoint.tags),
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(endpoint.query)],
        "responses": _responses(endpoint, schema_of),
    }
    if endpoint.access == "session":
        needed: dict[str, list[str]] = {"session": []}
        if endpoint.method != "GET":
            needed["csrf"] = []
        operation["security"] = [needed]
    else:
        operation["security"] = []
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[endpoint.body]}},
        }
    return operation


def _responses(endpoint: Endpoint, schema_of: dict[type[msgspec.Struct], Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if endpoint.answer is None:
        responses["204"] = {"description": "Done"}
    else:
        responses[str(endpoint.status)] = {
            "description": HTTPStatus(endpoint.status).phrase,
            "content": {"application/json": {"schema": schema_of[endpoint.answer]}},
        }
    problem = {"content": {MEDIA_TYPE: {"schema": schema_of[Problem]}}}
    for status in endpoint.all_errors():
        responses[str(status)] = {"description": TITLES[HTTPStatus(status)], **problem}
    return responses


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _query_parameters(kind: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    if kind is None:
        return []
    # Inline: a parameter's schema stands by its name, and queries share no types that would need a name.
    (reference,), components = msgspec.json.schema_components([kind], ref_template=REF)
    schema = components[reference["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": value,
            **({"style": "form", "explode": True} if value.get("type") == "array" else {}),
        }
        for name, value in schema["properties"].items()
    ]
