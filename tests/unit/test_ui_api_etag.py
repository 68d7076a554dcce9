"""Entity tags: 304 for what one has, 412 for what was changed in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from appliance.core.errors import UsageError
from appliance.core.limits import ETAG_HEADER_BYTES_MAX
from tests.endpoint_kit import Things, things_over_http
from ui.api import etag


def asking(*headers: tuple[str, str]) -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": "GET", "headers": raw})


async def test_an_answer_that_one_has_is_not_sent_again(tmp_path: Path) -> None:
    things = Things()
    async with things_over_http(tmp_path, things) as (_, client):
        first = await client.get("/api/v1/thing")
        tag = first.headers["etag"]
        again = await client.get("/api/v1/thing", headers={"if-none-match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        weak = await client.get("/api/v1/thing", headers={"if-none-match": f'"x,y", W/{tag}'})
        assert weak.status_code == 304
        assert (await client.get("/api/v1/thing", headers={"if-none-match": "*"})).status_code == 304
        other = await client.get("/api/v1/thing", headers={"if-none-match": '"0-0"'})
        assert (other.status_code, other.json()) == (200, first.json())
        await client.post("/api/v1/thing", json={"value": "a"})
        assert (await client.get("/api/v1/thing", headers={"if-none-match": tag})).status_code == 200


async def test_only_what_one_has_seen_is_changed(tmp_path: Path) -> None:
    things = Things()
    async with things_over_http(tmp_path, things) as (_, client):
        tag = (await client.get("/api/v1/thing")).headers["etag"]
        made = await client.post("/api/v1/thing", json={"value": "a"}, headers={"if-match": tag})
        assert made.status_code == 201
        late = await client.post("/api/v1/thing", json={"value": "b"}, headers={"if-match": tag})
        assert (late.status_code, late.json()["code"]) == (412, "version_differs")
        assert (await client.get("/api/v1/thing")).json() == {"value": "a", "times": 1}
        # The answer to a change has the tag for the next one.
        new_tag = made.headers["etag"]
        assert (
            await client.post("/api/v1/thing", json={"value": "b"}, headers={"if-match": f"{tag}, {new_tag}"})
        ).status_code == 201
        assert (
            await client.post("/api/v1/thing", json={"value": "c"}, headers={"if-match": "*"})
        ).status_code == 201


async def test_what_is_not_kept_does_not_void_a_change(tmp_path: Path) -> None:
    """The tag's digest differs (a device was seen meanwhile), its version does not."""
    things = Things()
    async with things_over_http(tmp_path, things) as (_, client):
        tag = (await client.get("/api/v1/thing")).headers["etag"]
        things.padding = "seen just now"
        assert (await client.get("/api/v1/thing")).headers["etag"] != tag
        made = await client.post("/api/v1/thing", json={"value": "a"}, headers={"if-match": tag})
        assert made.status_code == 201


async def test_a_weak_tag_permits_no_change(tmp_path: Path) -> None:
    """RFC 9110 §13.1.1: If-Match compares strongly."""
    async with things_over_http(tmp_path, Things()) as (_, client):
        tag = (await client.get("/api/v1/thing")).headers["etag"]
        refused = await client.post("/api/v1/thing", json={"value": "a"}, headers={"if-match": f"W/{tag}"})
        assert refused.status_code == 412


async def test_a_header_that_is_not_honoured_is_refused(tmp_path: Path) -> None:
    async with things_over_http(tmp_path, Things()) as (_, client):
        for headers in ({"if-match": '"1-a"'}, {"idempotency-key": "k"}):
            refused = await client.put("/api/v1/thing", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (400, "header_not_taken")


async def test_a_handler_that_does_not_look_at_if_match_changes_nothing(tmp_path: Path) -> None:
    async with things_over_http(tmp_path, Things()) as (node, client):
        with pytest.raises(AssertionError, match="not looked at"):
            await client.delete("/api/v1/thing", headers={"if-match": '"0-0"'})
        assert await node.catalog.read(lambda catalog: catalog.get_setting("thing")) is None
        assert (await client.delete("/api/v1/thing")).status_code == 204


@pytest.mark.parametrize(
    "value", ["17", '"a', "W/", '"a" b', '"a\x7f"', '"' + "a" * ETAG_HEADER_BYTES_MAX + '"']
)
async def test_what_is_no_tag_is_refused(tmp_path: Path, value: str) -> None:
    async with things_over_http(tmp_path, Things()) as (_, client):
        for method, name in (("GET", "if-none-match"), ("DELETE", "if-match")):
            refused = await client.request(method, "/api/v1/thing", headers={name: value})
            assert (refused.status_code, refused.json()["code"]) == (400, "etag_invalid")


def test_without_the_header_nothing_is_asked() -> None:
    assert etag.precondition_of(asking()) is None


def test_a_tag_without_a_version_guards_nothing() -> None:
    precondition = etag.precondition_of(asking(("if-match", etag.tag_of(b"{}", None))))
    assert precondition is not None
    with pytest.raises(Exception, match="changed since"):
        precondition.expect("1")


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_any_header_is_tags_or_an_error(value: str) -> None:
    try:
        found = etag.precondition_of(asking(("if-match", value)))
    except UsageError as error:
        assert error.code == "etag_invalid"
    else:
        assert found is not None
        assert all(isinstance(tag, str) for tag in found.tags)


@given(st.binary(max_size=20), st.one_of(st.none(), st.from_regex(r"[0-9a-f-]{1,20}", fullmatch=True)))
def test_a_tag_comes_back_as_it_went(body: bytes, version: str | None) -> None:
    tag = etag.tag_of(body, version)
    found = etag.precondition_of(asking(("if-match", f'"other", {tag}')))
    assert found is not None
    assert found.tags == ("other", tag[1:-1])
    if version is not None:
        found.expect(version)
        assert found.checked
