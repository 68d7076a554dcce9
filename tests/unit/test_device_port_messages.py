"""Routes and how errors are answered."""

from __future__ import annotations

import pytest

from appliance.core.errors import (
    Conflict,
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    StorageError,
    Unavailable,
    UsageError,
)
from appliance.device_port.messages import Request, Response, Route, Routes, error_response


async def handler(request: Request) -> Response:
    return Response(body=request.path.encode())


ROUTES = Routes(
    [
        Route(name="a", method="GET", path="/a", handler=handler),
        Route(name="b", method="POST", path="/x/{label}/b", handler=handler, body_bytes_max=5),
        Route(name="dot", method="GET", path="/.well-known", handler=handler),
    ]
)


def test_finding() -> None:
    route, names = ROUTES.find("GET", "/a")
    assert (route.name, names) == ("a", {})
    assert ROUTES.find("HEAD", "/a")[0].name == "a"
    route, names = ROUTES.find("POST", "/x/some%20thing/b")
    assert (route.name, names) == ("b", {"label": "some%20thing"})


@pytest.mark.parametrize("path", ["/", "/a/", "/A", "/x//b", "/x/y/z/b", "/xwell-known", "//a", "a", ""])
def test_nothing_there(path: str) -> None:
    with pytest.raises(NotFound) as missing:
        ROUTES.find("GET", path)
    assert missing.value.code == "no_such_address"


def test_another_method() -> None:
    with pytest.raises(UsageError) as refused:
        ROUTES.find("DELETE", "/x/y/b")
    assert error_response(refused.value).status == 405
    assert "POST" in refused.value.hint


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 400),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (NotAuthorized("x"), 403),
        (LimitExceeded("x"), 429),
        (Unavailable("x"), 503),
        (StorageError("x"), 500),
        (StorageError("x", code="disk_full"), 507),
        (HomeportError("x"), 500),
        (NotAuthorized("x", code="bad_credentials"), 401),
        (NotAuthorized("x", code="waiting_for_adoption"), 202),
        (LimitExceeded("x", code="body_too_large"), 413),
    ],
)
def test_errors_as_answers(error: HomeportError, status: int) -> None:
    answer = error_response(error)
    headers = dict(answer.headers)
    assert answer.status == status
    assert headers["homeport-code"] == error.code
    assert ("www-authenticate" in headers) == (status == 401)
    assert ("retry-after" in headers) == (status in (202, 429, 503))
    assert answer.body == b"x\n"


def test_whatever_an_error_quotes_can_be_sent() -> None:
    assert error_response(UsageError("half: \ud800")).body == b"half: ?\n"
