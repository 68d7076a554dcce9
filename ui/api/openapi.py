"""OpenAPI 3.1 out of the endpoints' declarations and structs.

Source: OpenAPI Specification 3.1.0; schemas are JSON Schema 2020-12, which msgspec writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from appliance.core.limits import IDEMPOTENCY_KEY_LENGTH_MAX
from appliance.identity.bearer_secrets import API_PREFIX
from appliance.management.permissions import RULES
from ui.api.endpoint import JSON, Endpoint
from ui.api.problem_codes import codes_of
from ui.auth import COOKIE_TLS
from ui.problem import MEDIA_TYPE, TITLES, Problem

REF: Final = "#/components/schemas/{name}"
_ETAG: Final = {"description": "Names this state of it (RFC 9110 §8.8.3).", "schema": {"type": "string"}}
_HEADERS: Final = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit-Policy", "RateLimit")
}
"""Of every answer but those over the Unix socket."""


_RETRY_AFTER: Final = {
    "description": "Seconds until it is worth trying again.",
    "schema": {"type": "integer"},
}


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
            "headers": {
                "RateLimit-Policy": _header("The limits on whoever asks: q requests in w seconds."),
                "RateLimit": _header("The nearest of them: r requests are left, all are back in t seconds."),
            },
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE_TLS,
                    "description": "A signed-in browser: POST /api/v1/session. What changes something needs `csrf` too.",
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRF-Token",
                    "description": "`csrf_token` of the session's answer.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token, good for an hour.",
                },
                "apiToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": API_PREFIX + "…",
                    "description": "A token that a user made for a program; may do what both may.",
                },
            },
        },
    }


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


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
        "parameters": [
            *_path_parameters(endpoint.path),
            *_query_parameters(endpoint.query),
            *_header_parameters(endpoint),
        ],
        "responses": _responses(endpoint, schema_of),
    }
    if endpoint.access == "user":
        needed: dict[str, list[str]] = {"session": []}
        if endpoint.method != "GET":
            needed["csrf"] = []
        operation["security"] = [needed, {"bearer": []}, {"apiToken": []}]
    else:
        operation["security"] = []
    if endpoint.needs is not None:
        rule = RULES[endpoint.needs]
        operation["x-permission"] = endpoint.needs
        whole = ", and an account for the whole site" if rule.site_wide else ""
        operation["description"] = (
            f"Needs the permission `{endpoint.needs}`: the role {rule.role} or a higher one{whole}."
        )
    elif endpoint.access == "local":
        operation["description"] = "Only for programs on the box, over its Unix socket."
    if endpoint.body_media:
        operation["requestBody"] = {
            "required": True,
            "content": {endpoint.body_media: {"schema": {"type": "string"}}},
        }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[endpoint.body]}},
        }
    return operation


def _responses(endpoint: Endpoint, schema_of: dict[type[msgspec.Struct], Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    content = {JSON: {"schema": schema_of[endpoint.answer]}} if endpoint.answer else {}
    content |= {media: {"schema": {"type": "string"}} for media in endpoint.media}
    status = endpoint.status if content else 204
    success: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if content:
        success["content"] = content
    success["headers"] = _HEADERS | _answer_headers(endpoint)
    responses[str(status)] = success
    if endpoint.etag and endpoint.method == "GET":
        responses["304"] = {"description": "It is as you have it", "headers": {"ETag": _ETAG, **_HEADERS}}
    problem = {"headers": _HEADERS, "content": {MEDIA_TYPE: {"schema": schema_of[Problem]}}}
    for status, codes in codes_of(endpoint).items():
        title = TITLES[HTTPStatus(status)]
        said = f"{title}. `code`: {', '.join(codes)}." if codes else title
        responses[str(status)] = {"description": said, "x-codes": list(codes), **problem}
    return responses


def _answer_headers(endpoint: Endpoint) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if endpoint.etag:
        headers["ETag"] = _ETAG
    if endpoint.idempotent:
        headers["Idempotent-Replayed"] = {
            "description": "The request was carried out before; this is the answer of then.",
            "schema": {"const": "true"},
        }
    return headers


def _header_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[tuple[str, str, dict[str, Any]]] = []
    if endpoint.etag and endpoint.method == "GET":
        found.append(
            ("If-None-Match", "ETags that you have: 304 if it is still one of them.", {"type": "string"})
        )
    elif endpoint.etag:
        found.append(("If-Match", "ETag of what you saw: 412 if it was changed since.", {"type": "string"}))
    if endpoint.idempotent:
        key = {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX}
        found.append(
            (
                "Idempotency-Key",
                "A random UUID: the request sent again is answered, not carried out again.",
                key,
            )
        )
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
        for name, text, schema in found
    ]


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
