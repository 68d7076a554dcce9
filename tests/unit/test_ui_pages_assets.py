"""Static files: from memory, compressed, kept for ever under their content's name."""

from __future__ import annotations

import gzip

import pytest
from starlette.requests import Request
from starlette.responses import Response

from ui.pages.assets import STATIC_DIR, Assets

ASSETS = Assets()


async def ask(path: str, query: str = "", **headers: str) -> Response:
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/static/{path}",
        "path_params": {"path": path},
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    return await ASSETS.respond(Request(scope))


async def test_a_file_comes_as_it_is_or_compressed() -> None:
    body = (STATIC_DIR / "app.css").read_bytes()
    plain = await ask("app.css")
    assert plain.body == body
    assert plain.headers["content-type"] == "text/css; charset=utf-8"
    small = await ask("app.css", accept_encoding="gzip, br")
    assert gzip.decompress(bytes(small.body)) == body
    assert small.headers["content-encoding"] == "gzip"


async def test_a_file_under_its_version_is_kept_for_ever_any_other_is_asked_for_again() -> None:
    url = ASSETS.url("app.css")
    path, _, query = url.removeprefix("/static/").partition("?")
    assert "immutable" in (await ask(path, query)).headers["cache-control"]
    old = await ask(path, "v=000000000000")
    assert old.headers["cache-control"] == "no-cache"
    assert (await ask(path, if_none_match=old.headers["etag"])).status_code == 304


@pytest.mark.parametrize("path", ["../app.py", "vendor/VENDOR.toml", "", "nothing.css", "js/../../app.py"])
async def test_nothing_else_exists(path: str) -> None:
    assert (await ask(path)).status_code == 404


def test_a_template_that_names_a_missing_file_fails() -> None:
    with pytest.raises(KeyError):
        ASSETS.url("js/missing.js")
