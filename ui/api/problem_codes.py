"""Which codes of problem details an endpoint can answer with, beside those of its own (`Endpoint.codes`).

They follow from its declaration, as its statuses do. A code that isn't listed can still come: a client falls back on the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ui.api.endpoint import Endpoint


def codes_of(endpoint: Endpoint) -> dict[int, tuple[str, ...]]:
    """Codes by status, in order; of each status that `Endpoint.all_errors` names."""
    is_write = endpoint.method != "GET"
    has_body = endpoint.body is not None or bool(endpoint.body_media)
    found: dict[int, set[str]] = {status: set() for status in endpoint.all_errors()}

    def add(status: int, *codes: str, when: bool = True) -> None:
        if when:
            found[status].update(codes)

    add(400, "query_invalid", when=endpoint.query is not None)
    add(400, "body_invalid", when=has_body)
    add(400, "etag_invalid", when=endpoint.etag)
    add(400, "header_not_taken", when=is_write)
    add(400, "idempotency_key_invalid", when=endpoint.idempotent)
    add(401, "sign_in_required", when=endpoint.access == "user")
    add(403, "csrf_failed", when=is_write)
    add(403, "role_too_low", "scope_too_narrow", when=endpoint.access == "user")
    add(403, "forbidden", when=endpoint.access == "local")
    add(408, "body_too_slow", when=has_body or endpoint.idempotent)
    add(409, "idempotency_key_in_use", "idempotency_answer_lost", when=endpoint.idempotent)
    add(412, "version_differs", when=endpoint.etag and is_write)
    add(413, "body_too_large", when=has_body or endpoint.idempotent)
    add(415, "body_type", when=has_body)
    add(422, "body_unusable", when=has_body)
    add(422, "idempotency_key_reused", when=endpoint.idempotent)
    add(429, "too_many_requests")
    add(503, "catalog_busy", "catalog_locked", "catalog_timeout")
    for status, codes in endpoint.codes.items():
        add(status, *codes)
    return {status: tuple(sorted(codes)) for status, codes in found.items()}
