"""A cloud node reads a site: over its API and on its pages, with what a box can answer that it should not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.core.errors import NotFound
from appliance.core.limits_site_reading import READING_AUDIT_INTERVAL_MS
from appliance.management.audit import Actor
from tests.fleet_act_kit import give_cloud_node
from tests.node_kit import NOW_MS, Node, running_node
from tests.site_reading_kit import BOX, MATE, MILL, SITE, STATE, allow, site_and_cloud

API = f"/api/v1/sites/{SITE}"
PAGE = f"/sites/site?site={SITE}"


async def noted(node: Node) -> list[tuple[str, str, str]]:
    page = await node.catalog.read(lambda reader: reader.list_audit(limit=50))
    return [(each.actor, each.action, each.object_id) for each in page.entries if each.action == "site.read"]


async def test_the_api_answers_what_the_site_does(tmp_path: Path) -> None:
    async with site_and_cloud(tmp_path) as (site, cloud), cloud.admin() as client:
        answer = (await client.get(f"{API}/devices?q=d1&limit=5")).json()
        assert [each["device_id"] for each in answer["answer"]["devices"]] == ["d1"]
        assert (answer["node_id"], answer["node"], answer["answered_at_ms"]) == (BOX, "mill", NOW_MS)
        assert site.asked == [(BOX, "devices", "", "q=d1&limit=5", "admin")]
        for address, key in (
            ("/devices/roof%20%3F2", "device_id"),
            ("/devices/d1/newest", "values"),
            (f"/devices/d1/telemetry?metric=temp_celsius&from={NOW_MS - 9}", "series"),
            ("/alarms", "alarms"),
            ("/alarms/history?from_ms=0&to_ms=1", "events"),
        ):
            found = await client.get(f"{API}{address}")
            assert found.status_code == 200, found.text
            assert key in found.json()["answer"]
        # Who reads a site is noted once in an hour, however much it is.
        assert await noted(cloud) == [("admin", "site.read", SITE)]
        cloud.clock.advance(READING_AUDIT_INTERVAL_MS)
        await client.get(f"{API}/alarms")
        assert len(await noted(cloud)) == 2


@pytest.mark.parametrize(
    ("changes", "status", "code", "words"),
    [
        ({"may_read": False}, 403, "reading_not_allowed", "does not let"),
        ({"may_read": None}, 503, "site_silent", "does not say"),
        ({"link": "down"}, 503, "site_silent", "for 2 s"),
        ({"is_fresh": False, "heard_at_ms": NOW_MS - 90_000}, 503, "site_silent", "for 90 s"),
        ({"is_fresh": False, "heard_at_ms": NOW_MS - 900_000}, 503, "site_silent", "for 15 min"),
        ({"is_fresh": False, "heard_at_ms": NOW_MS - 9_000_000}, 503, "site_silent", "for 2 h"),
        ({"is_fresh": False, "heard_at_ms": None}, 503, "site_silent", "since this cloud node started"),
    ],
)
async def test_a_site_that_can_not_be_asked_is_not(
    tmp_path: Path, changes: dict[str, Any], status: int, code: str, words: str
) -> None:
    async with site_and_cloud(tmp_path) as (site, cloud), cloud.admin() as client:
        site.box_is(**changes)
        answer = await client.get(f"{API}/devices")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert words in answer.json()["detail"]
        assert site.asked == []
        page = await client.get(PAGE)
        assert page.status_code == 200
        assert words in page.text
        # What it said last of itself is shown all the same.
        assert "2 devices, 1 online; active alarms: 1 P1, 2 P3" in page.text


async def test_what_the_site_refuses_is_refused(tmp_path: Path) -> None:
    async with site_and_cloud(tmp_path) as (site, cloud), cloud.admin() as client:
        assert (await client.get(f"{API}/devices/nobody")).json()["code"] == "device_unknown"
        assert (await client.get(f"{API}/devices/%2e%2e%2fusers")).status_code == 404
        assert (await client.get(f"{API}/users")).status_code == 404
        assert (await client.post(f"{API}/devices", json={})).status_code == 405
        assert (await client.get(f"{API}/devices?x=1")).json()["code"] == "query_invalid"
        await allow(site.box, False)  # the box's last report said that it may
        assert (await client.get(f"{API}/devices")).json()["code"] == "reading_not_allowed"
        assert (await client.get("/api/v1/sites/none/devices")).json()["code"] == "site_unknown"
        assert (await client.get("/sites/site?site=none")).status_code == 404


async def test_another_box_of_the_site_is_asked_where_one_does_not_answer(tmp_path: Path) -> None:
    async with site_and_cloud(tmp_path) as (site, cloud), cloud.admin() as client:
        mate = msgspec.structs.replace(MILL, node_id=MATE, name="mill-2")
        site.state = msgspec.structs.replace(STATE, sites=(mate, MILL))
        site.away = {BOX}
        assert (await client.get(f"{API}/devices")).json()["node"] == "mill-2"
        site.away = {BOX, MATE}
        assert (await client.get(f"{API}/devices")).json()["code"] == "site_silent"
        assert [each[0] for each in site.asked] == [BOX, MATE, BOX, MATE]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"", "site_unreadable"),
        (200, b"[]", "site_unreadable"),
        (200, b"{}", "site_unreadable"),
        (200, b'{"devices":[{"device_id":1}],"next_cursor":null}', "site_unreadable"),
        (200, b"[" * 100_000, "site_unreadable"),
        (401, b'{"code":"sign_in_required","detail":"Sign in."}', "site_refused"),
        (403, b'{"code":"role_too_low","detail":"No."}', "site_refused"),
        (500, b"<html>", "site_refused"),
        (500, b'{"code":["x"]}', "site_refused"),
        (404, b'{"code":"device_unknown","detail":"' + b"x" * 9_000 + b'"}', "device_unknown"),
    ],
)
async def test_an_evil_box_is_refused_and_signs_nobody_out(
    tmp_path: Path, status: int, body: bytes, code: str
) -> None:
    async with site_and_cloud(tmp_path) as (site, cloud), cloud.admin() as client:
        site.forged = (status, body)
        answer = await client.get(f"{API}/devices")
        assert answer.json()["code"] == code
        assert answer.status_code in (404, 503)
        assert len(answer.content) < 2_000
        page = await client.get(PAGE)
        assert page.status_code == 200
        assert "Devices</h2>" not in page.text


async def test_pages_show_a_site_and_a_device_and_hide_nothing_in_texts(tmp_path: Path) -> None:
    async with site_and_cloud(tmp_path) as (site, cloud), cloud.admin() as client:
        assert f'href="/sites/site?site={SITE}"' in (await client.get("/sites")).text
        page = (await client.get(PAGE)).text
        assert f"/sites/site/device?site={SITE}&amp;device=roof+%3F2" in page
        assert "No alarm is open." in page
        assert "answered" in page
        assert "mill" in page
        found = (await client.get(f"{PAGE}&q=roof")).text
        assert "device=d1" not in found
        assert "No device matches." in (await client.get(f"{PAGE}&q=zzz")).text
        device = (await client.get(f"/sites/site/device?site={SITE}&device=d1&range=1h")).text
        assert "21.5" in device
        assert "&lt;b&gt;" in device
        assert "\u202e" not in device
        assert f"/sites/site/chart?site={SITE}&amp;device=d1&amp;metric=temp_celsius&amp;range=1h" in device
        chart = await client.get(f"/sites/site/chart?site={SITE}&device=d1&metric=temp_celsius&range=1h")
        assert chart.json()["series"][0]["mean"] == [21.0]
        assert (await client.get(f"/sites/site/device?site={SITE}&device=nobody")).status_code == 404
        uneven = {
            **json.loads(await _telemetry(client)),
            "series": [{"metric": "t", "at_ms": [1, 2], "value": [1]}],
        }
        site.forged = (200, json.dumps(uneven).encode())
        chart = await client.get(f"/sites/site/chart?site={SITE}&device=d1&metric=t&range=1h")
        assert chart.json()["series"] == []


async def _telemetry(client: Any) -> str:
    answer = await client.get(f"{API}/devices/d1/telemetry?metric=t&from={NOW_MS - 9}")
    return json.dumps(answer.json()["answer"])


async def test_an_alarm_of_an_evil_box_is_text(tmp_path: Path) -> None:
    alarm: dict[str, Any] = {
        **dict.fromkeys(("device_id", "group_id", "unit", "acknowledged_by", "acknowledge_note"), ""),
        **dict.fromkeys(("shelved_by", "shelve_reason", "suppressed_by", "trace_id", "version"), ""),
        **dict.fromkeys(("rule_version", "episode", "raised_count", "raised_total", "noted_at_ms"), 1),
        **dict.fromkeys(("episode_began_at_ms", "raised_at_ms", "updated_at_ms"), 2**63),
        **dict.fromkeys(("cleared_at_ms", "stands_since_ms", "acknowledged_at_ms", "shelved_at_ms")),
        "shelved_until_ms": None,
        "value": None,
        "explanation": {},
        "is_active": True,
        "is_set_aside": False,
        "alarm_id": "a",
        "rule_id": "r",
        "rule_name": "<script>x</script>",
        "series": "s",
        "severity": "P1",
        "state": "active_unacknowledged",
        "text": "\u202e" + "x" * 9_000,
    }
    async with site_and_cloud(tmp_path) as (site, cloud), cloud.admin() as client:
        ask = site.ask

        async def forged(*question: str) -> tuple[int, bytes]:
            if question[1] == "alarms":
                return 200, json.dumps({"alarms": [alarm], "count": 7, "next_cursor": None}).encode()
            return await ask(*question)

        assert cloud.services.site_reading is not None
        cloud.services.site_reading._ask = forged
        page = await client.get(PAGE)
        assert page.status_code == 200
        assert "<script>x" not in page.text
        assert "\u202e" not in page.text
        assert "1 of 7 are shown" in page.text
        assert "xxxx…" in page.text


async def test_a_box_that_is_no_cloud_node_knows_no_site(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        assert (await client.get(f"{API}/devices")).json()["code"] == "site_unknown"
        assert (await client.get(PAGE)).status_code == 404
        assert "Read from a cloud node" not in (await client.get("/sites")).text
        assert (await client.get("/api/v1/replication/readers")).json()["code"] == "fleet_missing"


async def test_an_admin_lets_a_cloud_node_read_and_takes_it_back(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        cloud = give_cloud_node(node)
        url = f"/api/v1/replication/readers/{cloud.node_id}"
        listed = (await client.get("/api/v1/replication/readers")).json()["readers"]
        assert listed == [{"node_id": cloud.node_id, "name": "cloud-1", "is_allowed": False}]
        assert (await client.put(url)).json()["is_allowed"] is True
        assert "Take it back" in (await client.get("/sites")).text
        assert (await client.delete(url)).json()["is_allowed"] is False
        form = {"node": cloud.node_id, "allow": "yes"}
        done = await client.post("/sites/reading", data=form)
        assert done.headers["location"] == "/sites?done=reading"
        assert "from now on" in (await client.get("/sites?done=reading")).text
        done = await client.post("/sites/reading", data={**form, "allow": "no"})
        assert done.headers["location"] == "/sites?done=reading-off"
        assert "Let it read" in (await client.get("/sites")).text
        assert (await client.post("/sites/reading", data={**form, "allow": "x"})).status_code == 422
        own = node.services.keys.node_id.hex()
        assert (await client.put(f"/api/v1/replication/readers/{own}")).json()["code"] == "node_is_this"
        assert (await client.put("/api/v1/replication/readers/none")).json()["code"] == "node_unknown"
        page = await node.catalog.read(lambda reader: reader.list_audit(limit=50))
        acts = [
            each.action for each in page.entries if "reading" in each.action and each.object_kind == "node"
        ]
        assert acts == ["peer.forbid_reading", "peer.allow_reading"] * 2


async def test_the_desk_forgets_the_oldest_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.site_reading.READING_AUDIT_COUNT_MAX", 1)
    async with site_and_cloud(tmp_path) as (_, cloud):
        desk = cloud.services.site_reading
        assert desk is not None
        for name in ("anna", "ben", "anna"):
            await desk.read(SITE, "devices", Actor(name=name, kind="user"))
        assert [who for who, *_ in await noted(cloud)] == ["anna", "ben", "anna"]
        with pytest.raises(NotFound):
            await desk.boxes("")
