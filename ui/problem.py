"""The one place where an error becomes an HTTP answer: problem details, RFC 9457.

`type` is `urn:homeport:problem:{code}`, stable like the code itself; `hint` is the operator's next step and
`trace_id` is what to look for in the log.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from appliance.core import logs
from appliance.core.errors import (
    Conflict,
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    Unavailable,
    UsageError,
)
from storage.telemetry.database import StoreUnavailable

PASSING: Final = (
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS,
    # A disk that is full: it goes on by itself once there is space.
    HTTPStatus.INSUFFICIENT_STORAGE,
)
"""What goes away by itself: the answer says when to try again."""
MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
"""What a client is told to wait when a dependency is away."""

STATUS_OF_CLASS: Final[tuple[tuple[type[HomeportError], HTTPStatus], ...]] = (
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (NotAuthorized, HTTPStatus.UNAUTHORIZED),
    (LimitExceeded, HTTPStatus.TOO_MANY_REQUESTS),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
STATUS_OF_CODE: Final[dict[str, HTTPStatus]] = {
    "body_invalid": HTTPStatus.BAD_REQUEST,
    "body_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "body_too_slow": HTTPStatus.REQUEST_TIMEOUT,
    "query_invalid": HTTPStatus.BAD_REQUEST,
    "csrf_failed": HTTPStatus.FORBIDDEN,
    "forbidden": HTTPStatus.FORBIDDEN,
    "role_too_low": HTTPStatus.FORBIDDEN,
    "scope_too_narrow": HTTPStatus.FORBIDDEN,
    "groups_out_of_scope": HTTPStatus.FORBIDDEN,
    "password_wrong": HTTPStatus.FORBIDDEN,
    "own_account": HTTPStatus.FORBIDDEN,
    "own_rollout": HTTPStatus.FORBIDDEN,
    "api_token_count": HTTPStatus.CONFLICT,
    "setup_code_wrong": HTTPStatus.FORBIDDEN,
    "setup_code_expired": HTTPStatus.FORBIDDEN,
    "setup_code_used": HTTPStatus.FORBIDDEN,
    "setup_code_locked": HTTPStatus.FORBIDDEN,
    "setup_code_missing": HTTPStatus.FORBIDDEN,
    "recovery_kit_of_another_site": HTTPStatus.FORBIDDEN,
    "csr_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "etag_invalid": HTTPStatus.BAD_REQUEST,
    "header_not_taken": HTTPStatus.BAD_REQUEST,
    "idempotency_key_invalid": HTTPStatus.BAD_REQUEST,
    "version_differs": HTTPStatus.PRECONDITION_FAILED,
    "device_count": HTTPStatus.CONFLICT,
    "rollouts_live": HTTPStatus.CONFLICT,
    "rollout_devices": HTTPStatus.CONFLICT,
    "group_count": HTTPStatus.CONFLICT,
    "user_count": HTTPStatus.CONFLICT,
    "setting_size": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "twin_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "twin_count": HTTPStatus.CONFLICT,
    "disk_full": HTTPStatus.INSUFFICIENT_STORAGE,
    "artifact_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "upload_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "artifact_quota": HTTPStatus.INSUFFICIENT_STORAGE,
    "artifact_count": HTTPStatus.CONFLICT,
    "upload_count": HTTPStatus.CONFLICT,
    "artifact_disk_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "artifact_damaged": HTTPStatus.CONFLICT,
    "passphrase_wrong": HTTPStatus.FORBIDDEN,
    "backup_header_forged": HTTPStatus.FORBIDDEN,
    "backup_damaged": HTTPStatus.CONFLICT,
    "backup_unsafe": HTTPStatus.CONFLICT,
    "backup_too_new": HTTPStatus.CONFLICT,
    "backup_disk_full": HTTPStatus.INSUFFICIENT_STORAGE,
    "backup_disk_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "backup_disk_refuses": HTTPStatus.SERVICE_UNAVAILABLE,
    "fleet_key_missing": HTTPStatus.FORBIDDEN,
    "invitation_count": HTTPStatus.CONFLICT,
    "epoch_not_needed": HTTPStatus.CONFLICT,
    "instance_moved": HTTPStatus.CONFLICT,
    "reading_not_allowed": HTTPStatus.FORBIDDEN,
    "reading_answer_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "reading_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "node_no_cloud": HTTPStatus.CONFLICT,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
}
TITLES: Final[dict[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "The request can't be read",
    HTTPStatus.UNAUTHORIZED: "Sign in first",
    HTTPStatus.FORBIDDEN: "Not allowed",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to arrive",
    HTTPStatus.CONFLICT: "It does not fit what is there",
    HTTPStatus.PRECONDITION_FAILED: "It is not as you saw it",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "This kind of content is not taken",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request makes no sense as it is",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Homeport failed",
    HTTPStatus.INSUFFICIENT_STORAGE: "The disk is full",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available right now",
}


class Problem(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457) with Homeport's members."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    trace_id: str = ""


class Retryable(LimitExceeded):
    """A limit of so many in a time.

    Args:
        retry_after_s: When it is worth trying again, whole seconds, at least 1.
    """

    def __init__(self, message: str, *, hint: str, code: str, retry_after_s: int) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s = max(1, retry_after_s)


def status_of(error: HomeportError) -> HTTPStatus:
    """The HTTP status of an error: by its code where one is named, else by its class, else 500."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    for kind, status in STATUS_OF_CLASS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of(error: HomeportError) -> Problem:
    """The problem details of an error."""
    status = status_of(error)
    return Problem(
        type=f"urn:homeport:problem:{error.code}",
        title=TITLES[status],
        status=int(status),
        detail=error.message,
        code=error.code,
        hint=error.hint,
        trace_id=logs.current_trace_id() or "",
    )


def challenge_of(error: HomeportError) -> str:
    """What a 401 must say of how to sign in (RFC 9110 §11.6.1, RFC 6750 §3). Browsers ask nobody for this scheme."""
    is_of_token = error.code.startswith(("access_token_", "api_token_"))
    return 'Bearer realm="homeport", error="invalid_token"' if is_of_token else 'Bearer realm="homeport"'


def response_of(error: HomeportError) -> Response:
    """The whole answer, with Retry-After where waiting helps (RFC 9110 §10.2.3)."""
    problem = problem_of(error)
    headers = {"cache-control": "no-store"}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = challenge_of(error)
    if isinstance(error, Retryable):
        headers["retry-after"] = str(error.retry_after_s)
    elif problem.status in PASSING:
        headers["retry-after"] = str(RETRY_AFTER_S)
    return Response(
        msgspec.json.encode(problem), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers
    )
