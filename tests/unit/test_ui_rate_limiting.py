"""The limits around the app: who is counted as whom, what is not counted, and what the refused are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.config import ApiConfig
from appliance.core.errors import Unavailable
from appliance.core.limits import RATE_LIMIT_PAUSE_MS, STREAM_OPENS_PER_MIN_MAX
from tests.node_kit import PASSWORD, Node, running_node
from tests.unit.test_ui_rate_limit_fields import parsed
from ui import pages
from ui.api.endpoint import Endpoint
from ui.api.routes import ENDPOINTS
from ui.identities import Identity
from ui.rate_limit import RateLimits, Subject
from ui.rate_limit_streams import StreamPlaces
from ui.rate_limiting import BULK_PAGES, Kinds, subject_of


def _limited(node: Node, **api: int) -> Node:
    config = ApiConfig(**api)
    return node.with_services(
        rate_limits=RateLimits(config, clock=node.clock),
        streams=StreamPlaces(count_max=config.streams_per_user_max),
    )


async def test_every_answer_of_the_api_says_what_is_left(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        for path, status in [("/status", 200), ("/devices/none", 404), ("/devices?nonsense=1", 400)]:
            answer = await client.get(f"/api/v1{path}")
            assert answer.status_code == status
            assert parsed(answer.headers["ratelimit-policy"])["user-reads"] == {"q": 600, "w": 60}
            assert list(parsed(answer.headers["ratelimit"])) == ["user-reads"]
        refused = await client.post("/api/v1/devices", json={})
        assert refused.status_code == 422
        assert list(parsed(refused.headers["ratelimit"])) == ["user-writes"]
        remaining = [
            parsed((await client.get("/api/v1/status")).headers["ratelimit"])["user-reads"]["r"]
            for _ in range(3)
        ]
        assert remaining == [596, 595, 594]


async def test_who_asks_too_often_gets_429_with_retry_after(tmp_path: Path) -> None:
    async with running_node(tmp_path) as plain:
        node = _limited(plain, reads_per_min_max=3)
        async with node.admin() as client:
            for _ in range(3):
                assert (await client.get("/api/v1/status")).status_code == 200
            answer = await client.get("/api/v1/status")
            assert answer.status_code == 429
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert (problem["code"], problem["status"]) == ("too_many_requests", 429)
            assert problem["hint"]
            assert problem["trace_id"]
            seconds = int(answer.headers["retry-after"])
            assert parsed(answer.headers["ratelimit"]) == {"user-reads": {"r": 0, "t": seconds}}
            node.clock.advance(seconds * 1_000)
            assert (await client.get("/api/v1/status")).status_code == 200


async def test_all_browsers_of_a_user_share_one_bucket(tmp_path: Path) -> None:
    async with running_node(tmp_path) as plain:
        node = _limited(plain, reads_per_min_max=4)
        async with node.admin() as one, node.client(address="198.51.100.9") as other:
            answer = await other.post("/api/v1/session", json={"user_id": "admin", "password": PASSWORD})
            assert answer.status_code == 201
            for client in (one, other, one, other):
                assert (await client.get("/api/v1/session")).status_code == 200
            for client in (one, other):
                assert (await client.get("/api/v1/session")).status_code == 429


async def test_who_is_not_known_is_counted_by_address(tmp_path: Path) -> None:
    async with running_node(tmp_path) as plain:
        node = _limited(plain, address_reads_per_min_max=2)
        async with node.client(address="192.0.2.1") as one, node.client(address="192.0.2.2") as other:
            for _ in range(2):
                answer = await one.get("/api/v1/status")
                assert answer.status_code == 401
                assert list(parsed(answer.headers["ratelimit"])) == ["address-reads"]
            assert (await one.get("/api/v1/setup")).status_code == 429
            assert (await one.get("/health/live")).status_code == 429
            assert (await other.get("/api/v1/setup")).status_code == 200


async def test_a_user_is_served_from_an_address_that_strangers_use_up(tmp_path: Path) -> None:
    async with running_node(tmp_path) as plain:
        node = _limited(plain, address_reads_per_min_max=1)
        async with node.admin() as client, node.client() as stranger:
            assert (await stranger.get("/api/v1/setup")).status_code == 200
            assert (await stranger.get("/api/v1/setup")).status_code == 429
            assert (await client.get("/api/v1/status")).status_code == 200


async def test_the_local_socket_has_no_limit(tmp_path: Path) -> None:
    async with running_node(tmp_path) as plain:
        node = _limited(plain, reads_per_min_max=1, address_reads_per_min_max=1, total_reads_per_min_max=1)
        async with node.client(local=True) as client:
            for _ in range(20):
                answer = await client.get("/api/v1/status")
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers
                assert "ratelimit-policy" not in answer.headers


async def test_static_files_do_not_count_and_a_refused_page_is_a_line_of_text(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        for _ in range(1_000):
            answer = await client.get("/static/app.css")
            assert answer.status_code in (200, 404)
        pages = [await client.get("/sign-in") for _ in range(301)]
        assert {page.status_code for page in pages[:300]} <= {200, 303}
        refused = pages[300]
        assert refused.status_code == 429
        assert refused.headers["content-type"].startswith("text/plain")
        assert "Wait" in refused.text
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-security-policy"]


async def test_the_body_of_a_refused_request_is_read_so_that_the_answer_arrives(tmp_path: Path) -> None:
    async with running_node(tmp_path) as plain:
        node = _limited(plain, writes_per_min_max=1)
        async with node.admin() as client:
            body = {"device_id": "a", "name": "x" * 200}
            assert (await client.post("/api/v1/devices", json=body)).status_code == 201
            assert (await client.post("/api/v1/devices", json=body)).status_code == 429


async def test_while_the_catalog_is_away_strangers_are_counted_and_the_request_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: object, **kwargs: object) -> None:
        raise Unavailable("It is locked.", hint="Wait.", code="catalog_locked")

    async with running_node(tmp_path) as plain:
        node = _limited(plain, address_reads_per_min_max=1)
        async with node.admin() as client:
            monkeypatch.setattr(node.catalog, "read", away)
            answer = await client.get("/api/v1/devices")
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert list(parsed(answer.headers["ratelimit"])) == ["address-reads"]
            assert (await client.get("/api/v1/devices")).status_code == 429


async def test_one_user_has_so_many_live_pages(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as plain:
        places = StreamPlaces(count_max=2)
        node = plain.with_services(streams=places)
        async with node.admin() as client, trio.open_nursery() as nursery:
            # The kit's client waits for whole answers: the places are taken as open streams would.
            with places.hold(Subject("user", "admin")), places.hold(Subject("user", "admin")):
                answer = await client.get("/live/overview")
                assert answer.status_code == 429
                assert answer.headers["retry-after"]
                assert "Close some" in answer.text
            nursery.cancel_scope.cancel()
        assert places.statistics().refused_total == 1


async def test_opening_streams_is_counted_apart_from_reads(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=False) as plain:
        node = _limited(plain, address_reads_per_min_max=1)
        async with node.client() as client:
            for _ in range(STREAM_OPENS_PER_MIN_MAX):
                assert (await client.get("/live/none")).status_code == 404
            assert (await client.get("/live/none")).status_code == 429
            assert (await client.get("/api/v1/setup")).status_code == 200, "a read is left all the same"


def test_bulk_operations_are_told_apart_by_method_and_path() -> None:
    async def handler(call: object) -> None: ...

    bulk = Endpoint(
        method="POST",
        path="/things/{kind}/bulk",
        handler=handler,  # type: ignore[arg-type]
        summary="",
        access="open",
        action="thing.bulk",
        is_bulk=True,
    )
    kinds = Kinds([bulk, *ENDPOINTS])
    assert kinds.of("POST", "/api/v1/things/a/bulk") == "bulk"
    assert kinds.of("GET", "/api/v1/things/a/bulk") == "reads"
    assert kinds.of("POST", "/api/v1/things/a/b/bulk") == "writes"
    assert kinds.of("DELETE", "/api/v1/session") == "writes"
    assert kinds.of("HEAD", "/") == "reads"
    assert kinds.of("HEAD", "/api/v1/devices.csv") == kinds.of("GET", "/api/v1/devices.csv") == "bulk"
    assert kinds.of("GET", "/live/overview") == "streams"
    assert kinds.of("POST", "/device-import") == "bulk"
    assert kinds.of("POST", "/device-bulk") == "bulk"
    assert kinds.of("POST", "/api/v1/devices/import") == "bulk"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/telemetry/export"),
        ("POST", "/api/v1/backups"),
        ("POST", "/api/v1/backups/20261127T135804Z-0a1b2c3d/verify"),
        ("POST", "/api/v1/archive/days/2026-11-26/verify"),
        ("POST", "/api/v1/archive/days/2026-11-26/restore"),
        ("POST", "/api/v1/devices/d1/erase-readings"),
        ("POST", "/api/v1/dead-letters/replays"),
        ("POST", "/backups"),
        ("POST", "/backups/verify"),
        ("POST", "/storage/restore"),
        ("POST", "/dead-letters/replay"),
    ],
)
def test_what_reads_or_writes_the_disk_for_long_is_a_bulk_operation(method: str, path: str) -> None:
    assert Kinds(ENDPOINTS).of(method, path) == "bulk"


async def test_the_pages_that_do_bulk_work_are_there(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        there = {
            (method, route.path) for route in pages.routes(node.services) for method in route.methods or ()
        }
    assert there >= BULK_PAGES


def test_an_ipv6_peer_counts_as_its_network() -> None:
    assert subject_of(None, "2001:db8::5") == Subject("address", "2001:db8::/64")


async def test_a_refusal_comes_after_a_pause_while_few_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that who takes no notice of 429 asks four times a second on a connection, not hundreds of times."""
    pauses: list[float] = []
    sleep = trio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async with running_node(tmp_path) as plain:
        node = _limited(plain, address_reads_per_min_max=1)
        async with node.client() as client:
            assert (await client.get("/api/v1/setup")).status_code == 200
            monkeypatch.setattr("ui.rate_limiting.trio.sleep", noted)
            assert (await client.get("/api/v1/setup")).status_code == 429
            assert RATE_LIMIT_PAUSE_MS / 1000 in pauses
            pauses.clear()
            monkeypatch.setattr("ui.rate_limiting.RATE_LIMIT_PAUSED_COUNT_MAX", 0)
            assert (await client.get("/api/v1/setup")).status_code == 429
            assert RATE_LIMIT_PAUSE_MS / 1000 not in pauses


def test_live_pages_are_their_users_whatever_token_opens_them() -> None:
    """One may have many tokens, and there are few places for live pages."""
    token = Identity(user_id="anna", role="viewer", via="api_token", token_id="t1")
    assert subject_of(token, "192.0.2.7") == Subject("token", "t1")
    assert subject_of(token, "192.0.2.7", "streams") == Subject("user", "anna")
