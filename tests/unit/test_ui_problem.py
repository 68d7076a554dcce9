"""Errors become problem details in one place, each with a title and a sensible status."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
import pytest

from appliance.core import errors
from appliance.core.errors import HomeportError
from storage.telemetry.database import StoreUnavailable
from ui.problem import STATUS_OF_CODE, TITLES, Retryable, problem_of, response_of, status_of


def _all(kind: type[HomeportError]) -> list[type[HomeportError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _all(child))]


@pytest.mark.parametrize("kind", [k for k in _all(HomeportError) if k.__module__ == errors.__name__])
def test_every_error_has_a_status_with_a_title(kind: type[HomeportError]) -> None:
    status = status_of(kind("It failed.", hint="Do this."))
    assert status >= 400
    assert TITLES[status]


def test_every_code_with_its_own_status_has_a_title() -> None:
    assert all(status in TITLES for status in STATUS_OF_CODE.values())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError("x"), 422),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.NotAuthorized("x"), 401),
        (errors.NotAuthorized("x", code="csrf_failed"), 403),
        (errors.LimitExceeded("x"), 429),
        (errors.LimitExceeded("x", code="body_too_large"), 413),
        (errors.Unavailable("x"), 503),
        (errors.StorageError("x", code="disk_full"), 507),
        (errors.StorageError("x"), 500),
        (HomeportError("x"), 500),
    ],
)
def test_statuses(error: HomeportError, status: int) -> None:
    response = response_of(error)
    assert response.status_code == status
    assert response.media_type == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem = msgspec.json.decode(bytes(response.body))
    assert problem["status"] == status
    assert problem["title"] == TITLES[HTTPStatus(status)]


def test_details_hint_and_code_are_the_errors_own() -> None:
    problem = problem_of(errors.NotFound("There is no device.", hint="Look again.", code="device_unknown"))
    assert (problem.detail, problem.hint, problem.code) == (
        "There is no device.",
        "Look again.",
        "device_unknown",
    )
    assert problem.type == "urn:homeport:problem:device_unknown"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Retryable("x", hint="", code="too_many_attempts", retry_after_s=17), "17"),
        (Retryable("x", hint="", code="too_many_attempts", retry_after_s=0), "1"),
        (errors.Unavailable("x"), "2"),
        (errors.StorageError("x", code="disk_full"), "2"),
        (errors.NotFound("x"), None),
    ],
)
def test_retry_after_where_waiting_helps(error: HomeportError, seconds: str | None) -> None:
    assert response_of(error).headers.get("retry-after") == seconds


def test_a_store_that_is_away_for_a_moment_is_asked_again() -> None:
    response = response_of(StoreUnavailable("The store is being opened anew.", hint="Ask again in a moment."))
    assert response.status_code == 503
    assert response.headers["retry-after"]
