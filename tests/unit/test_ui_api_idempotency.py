"""Idempotency keys: sent again, answered again, never done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from appliance.core.errors import Unavailable
from appliance.core.limits import IDEMPOTENT_ANSWER_BYTES_MAX, IDEMPOTENT_ANSWER_LIFETIME_MS
from storage.catalog import Catalog
from tests.acts import ACT
from tests.endpoint_kit import Things, things_over_http
from tests.node_kit import Node
from ui.api import idempotency

KEY = {"idempotency-key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


async def post(client: httpx.AsyncClient, value: str, **headers: str) -> httpx.Response:
    return await client.post("/api/v1/thing", json={"value": value}, headers={**KEY, **headers})


async def kept_rows(node: Node) -> list[Any]:
    return await node.catalog.read(lambda catalog: catalog.rows("SELECT * FROM idempotent_answers"))


async def test_the_same_request_again_gets_the_same_answer(tmp_path: Path) -> None:
    things = Things()
    async with things_over_http(tmp_path, things) as (node, client):
        first = await post(client, "a")
        again = await post(client, "a")
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert (again.headers["etag"], again.headers["content-type"]) == (
            first.headers["etag"],
            first.headers["content-type"],
        )
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert things.started == ["a"]
        # With or without the quotes of a structured field, it is the same key.
        bare = await post(client, "a", **{"idempotency-key": KEY["idempotency-key"].strip('"')})
        assert bare.headers["idempotent-replayed"] == "true"
        assert not node.services.idempotency_keys_in_use


async def test_another_request_with_the_key_is_refused(tmp_path: Path) -> None:
    async with things_over_http(tmp_path, Things()) as (_, client):
        await post(client, "a")
        refused = await post(client, "b")
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
        tagged = await post(client, "a", **{"if-match": '"0-x"'})
        assert tagged.json()["code"] == "idempotency_key_reused"


async def test_a_refused_request_leaves_its_key_unused(tmp_path: Path) -> None:
    things = Things()
    async with things_over_http(tmp_path, things) as (node, client):
        await client.post("/api/v1/thing", json={"value": "a"})
        assert (await post(client, "a")).status_code == 409
        assert not await kept_rows(node)
        assert (await post(client, "b")).status_code == 201


async def test_while_it_is_carried_out_the_key_is_in_use(tmp_path: Path) -> None:
    statuses: list[int] = []
    async with things_over_http(tmp_path, Things()) as (_, client):

        async def send() -> None:
            statuses.append((await post(client, "a")).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(send)
        assert sorted(statuses)[0] == 201
        assert set(statuses) <= {201, 409}
        assert (await client.get("/api/v1/thing")).json()["times"] == 1


async def test_what_was_done_without_an_answer_is_not_done_again(tmp_path: Path) -> None:
    """As if the node were killed between the change and its answer."""
    things = Things(fail=Unavailable("The broker is away.", hint="Wait."))
    async with things_over_http(tmp_path, things) as (_, client):
        assert (await post(client, "a")).status_code == 503
        things.fail = None
        again = await post(client, "a")
        assert (again.status_code, again.json()["code"]) == (409, "idempotency_answer_lost")
        assert (await client.get("/api/v1/thing")).json()["times"] == 1


async def test_an_answer_that_cannot_be_kept_is_sent_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("The catalog is locked.", hint="Wait.", code="catalog_locked")

    async with things_over_http(tmp_path, Things()) as (_, client):
        monkeypatch.setattr(Catalog, "keep_idempotent_answer", fail)
        assert (await post(client, "a")).status_code == 201
        assert (await post(client, "a")).json()["code"] == "idempotency_answer_lost"


async def test_after_a_day_the_key_is_forgotten(tmp_path: Path) -> None:
    things = Things()
    async with things_over_http(tmp_path, things) as (node, client):
        await post(client, "a")
        node.clock.advance(IDEMPOTENT_ANSWER_LIFETIME_MS)
        assert (await post(client, "b")).status_code == 201
        assert len(await kept_rows(node)) == 1


async def test_answers_are_sealed_and_requests_hashed(tmp_path: Path) -> None:
    things = Things(padding="hpd_secret")
    async with things_over_http(tmp_path, things) as (node, client):
        await post(client, "a password")
        (row,) = await kept_rows(node)
        assert b"hpd_secret" not in row["answer_sealed"]
        assert row["status"] == 201
        # Sealed by another key (the box was set up anew): what was in it is lost, and the request still not repeated.
        with pytest.raises(Exception, match="not sealed by this site's key"):
            node.services.keys.unseal("another label", row["answer_sealed"])
        await node.catalog.write(
            lambda catalog: catalog.execute("UPDATE idempotent_answers SET answer_sealed = x'00'"), by=ACT
        )
        assert (await post(client, "a password")).json()["code"] == "idempotency_answer_lost"


async def test_an_answer_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    import random

    padding = "".join(map(chr, random.Random(7).choices(range(33, 127), k=2 * IDEMPOTENT_ANSWER_BYTES_MAX)))
    async with things_over_http(tmp_path, Things(padding=padding)) as (_, client):
        assert (await post(client, "a")).status_code == 201
        assert (await post(client, "a")).json()["code"] == "idempotency_answer_lost"


@pytest.mark.parametrize("key", ["", "two words", 'a"b', "k" * 256, "ä"])
async def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    async with things_over_http(tmp_path, Things()) as (_, client):
        refused = await client.post(
            "/api/v1/thing", json={"value": "a"}, headers=[(b"idempotency-key", key.encode())]
        )
        assert (refused.status_code, refused.json()["code"]) == (400, "idempotency_key_invalid")


async def test_keys_of_different_people_are_different(tmp_path: Path) -> None:
    from starlette.requests import Request

    from appliance.management.audit import Actor

    async with things_over_http(tmp_path, Things()) as (node, _):

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}"}

        async def hash_for(name: str, kind: Any) -> bytes:
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/x",
                "headers": [(b"idempotency-key", b"k")],
                "query_string": b"",
                "scheme": "http",
                "server": ("h", 1),
            }
            made = await idempotency.idempotent_request(
                Request(scope, receive), replace(node.services), Actor(name=name, kind=kind)
            )
            assert made
            return made.key_hash

        hashes = {
            await hash_for("anna", "user"),
            await hash_for("bert", "user"),
            await hash_for("anna", "api_token"),
        }
        assert len(hashes) == 3
