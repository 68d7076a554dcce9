"""The API's answers about the archive, retention and erasures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.keeper_stand_in import TODAY, Keeper
from tests.node_kit import Node, running_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path) as made:
        yield made


@pytest.fixture
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with node.admin() as signed_in:
        yield signed_in


def keeper_of(node: Node) -> Keeper:
    assert isinstance(node.services.keeper, Keeper)
    return node.services.keeper


async def test_the_archive_and_its_days(client: httpx.AsyncClient) -> None:
    status = (await client.get("/api/v1/archive")).json()
    assert (status["state"], status["archive_days"], status["faulty_days"]) == ("idle", 3, 1)
    assert (status["store_used_bytes"], status["store_free_bytes"]) == (40_000_000, 2_000_000)
    assert (status["days_left"], status["cooled_total"]) == (41.5, {"hot_days": 1})
    page = (await client.get("/api/v1/archive/days", params={"limit": 2})).json()
    assert [(day["day"], day["where"]) for day in page["days"]] == [
        ("2026-02-24", "hot"),
        ("2026-02-23", "both"),
    ]
    assert page["days"][1]["pending_rows"] == 12
    rest = (await client.get("/api/v1/archive/days", params={"before": page["next_before"]})).json()
    assert [day["day"] for day in rest["days"]] == ["2026-01-06", "2025-11-17"]
    assert rest["days"][0]["faults"] == [{"file": "default-000.parquet", "problem": "it is missing"}]
    assert rest["next_before"] is None


async def test_a_day_is_verified_and_restored(client: httpx.AsyncClient, node: Node) -> None:
    found = await client.post("/api/v1/archive/days/2026-01-06/verify")
    assert found.json() == {
        "day": "2026-01-06", "faults": [{"file": "default-000.parquet", "problem": "it is missing"}],
    }  # fmt: skip
    done = await client.post("/api/v1/archive/days/2025-11-17/restore", json={"until": "2026-03-04"})
    assert done.json() == {"day": "2025-11-17", "until": "2026-03-04", "row_count": 720_000}
    assert keeper_of(node).restored == [(TODAY - 100, TODAY + 7)]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("2026-02-30/verify", None, 422, "day_invalid"),
        ("yesterday/verify", None, 422, "day_invalid"),
        ("2020-01-01/verify", None, 404, "archive_day_unknown"),
        ("2026-02-24/verify", None, 404, "archive_day_unknown"),
        ("2025-11-17/restore", {"until": "2026-02-24"}, 422, "day_invalid"),
        ("2025-11-17/restore", {"until": "soon"}, 422, "body_unusable"),
        ("2020-01-01/restore", {"until": "2026-03-01"}, 404, "archive_day_unknown"),
    ],
)
async def test_what_can_not_be_done_is_refused(
    client: httpx.AsyncClient, path: str, body: Any, status: int, code: str
) -> None:
    answer = await client.post(f"/api/v1/archive/days/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["hint"]


async def test_without_a_keeper_it_says_so(tmp_path: Path) -> None:
    async with running_node(tmp_path, keeper=None) as node, node.admin() as client:
        answer = await client.get("/api/v1/archive")
        assert (answer.status_code, answer.json()["code"]) == (503, "archive_closed")


async def test_retention_classes_are_set_listed_and_removed(client: httpx.AsyncClient) -> None:
    wish = {"metric": "vib_*", "hot_days": 7, "archive_days": 0}
    made = (await client.put("/api/v1/retention/vib", json=wish)).json()["classes"]
    assert [(each["class_id"], each["hot_days"], each["archive_days"]) for each in made] == [
        ("vib", 7, 0), ("default", 90, 730),
    ]  # fmt: skip
    assert (made[1]["rows_per_day"], made[1]["store_bytes"], made[1]["archive_bytes"]) == (
        720_000, 1_300_000_000, 4_600_000_000,
    )  # fmt: skip
    moved = await client.put("/api/v1/retention/all", json={**wish, "metric": "*", "position": 1})
    assert [each["class_id"] for each in moved.json()["classes"]] == ["all", "vib", "default"]
    assert (await client.get("/api/v1/retention")).json() == moved.json()
    refused = await client.put("/api/v1/retention/default", json=wish)
    assert (refused.status_code, refused.json()["code"]) == (422, "retention_invalid")
    assert (await client.delete("/api/v1/retention/vib")).status_code == 204
    gone = await client.delete("/api/v1/retention/vib")
    assert (gone.status_code, gone.json()["code"]) == (404, "retention_unknown")


async def test_an_erasure_wants_the_id_once_more_and_is_listed(client: httpx.AsyncClient, node: Node) -> None:
    refused = await client.post("/api/v1/devices/d1/erase-readings", json={"confirm": "d2"})
    assert (refused.status_code, refused.json()["code"]) == (422, "not_confirmed")
    asked = await client.post("/api/v1/devices/d1/erase-readings", json={"confirm": "d1"})
    assert (asked.status_code, asked.json()["state"]) == (202, "requested")
    head = node.services.log_head()
    assert asked.json()["before_seq"] == head.next_seq
    again = await client.post("/api/v1/devices/d1/erase-readings", json={"confirm": "d1"})
    assert (again.status_code, again.json()["code"]) == (409, "erasure_under_way")
    listed = (await client.get("/api/v1/erasures", params={"device_id": "d1"})).json()["erasures"]
    assert listed == [asked.json()]
    assert (await client.get("/api/v1/erasures", params={"device_id": "d2"})).json()["erasures"] == []
