"""Devices over the API, as a signed-in browser and a program on the box see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import BrokerRoleConfig, Config
from appliance.core.errors import NotAuthorized
from appliance.identity import DeviceAuthenticator
from storage.catalog import Catalog, DeviceAuthReader
from tests.acts import ACT
from tests.node_kit import NOW_MS, LiveDevice, Node, Value, running_node
from tests.people_kit import person


async def test_a_registered_device_can_sign_in_with_the_token_that_is_shown_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        answer = await client.post(
            "/api/v1/devices", json={"device_id": "boiler-1", "name": "Boiler", "tags": ["cellar"]}
        )
        assert answer.status_code == 201
        made = answer.json()
        assert (made["device_id"], made["state"], made["tags"]) == ("boiler-1", "active", ["cellar"])
        assert (made["presence"], made["freshness"]) == ("never_seen", "never")
        shown_again = (await client.get("/api/v1/devices/boiler-1")).json()
        assert "token" not in shown_again
        reader = DeviceAuthReader(tmp_path / "catalog.db", clock=node.clock)
        authenticator = DeviceAuthenticator(reader, node.services.keys, clock=node.clock)
        assert authenticator.authenticate("boiler-1", made["token"].encode(), "c", "a").name == "boiler-1"
        reader.close()


async def test_a_second_device_of_the_same_id_is_a_conflict(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        assert (await client.post("/api/v1/devices", json={"device_id": "d"})).status_code == 201
        answer = await client.post("/api/v1/devices", json={"device_id": "d"})
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"] == "device_exists"
        assert problem["type"] == "urn:homeport:problem:device_exists"
        assert problem["hint"]
        assert problem["trace_id"] == answer.headers["x-trace-id"]


@pytest.mark.parametrize("device_id", ["a/b", "a+", "#", "$SYS", " a", "..", "a\nb"])
async def test_an_id_that_can_not_be_a_topic_level_is_refused(tmp_path: Path, device_id: str) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.post("/api/v1/devices", json={"device_id": device_id})
        assert (answer.status_code, answer.json()["code"]) == (422, "device_id_invalid")


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        for index in range(5):
            catalog.add_device(
                f"d{index}", name="Pump" if index == 3 else "", tags=("roof",) if index < 2 else ()
            )
        catalog.note_first_contact(["w1"], at_ms=NOW_MS)

    await node.catalog.write(write, by=ACT)
    node.live.by_id = {"d0": LiveDevice(device_id="d0"), "d1": LiveDevice(device_id="d1", presence="lost")}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["d0", "d1", "d2", "d3", "d4", "w1"]),
        ("state=waiting", ["w1"]),
        ("state=waiting&state=active&q=d", ["d0", "d1", "d2", "d3", "d4"]),
        ("presence=lost", ["d1"]),
        ("presence=never_seen&state=active", ["d2", "d3", "d4"]),
        ("q=pump", ["d3"]),
        ("q=ROOF", ["d0", "d1"]),
        ("q=%25", []),
    ],
)
async def test_filters(tmp_path: Path, query: str, expected: list[str]) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await _fill(node)
        answer = await client.get(f"/api/v1/devices?{query}")
        assert answer.status_code == 200
        assert [device["device_id"] for device in answer.json()["devices"]] == expected
        assert answer.json()["next_cursor"] is None


async def test_pages_follow_each_other_without_gap_or_repetition(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await _fill(node)
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await client.get("/api/v1/devices", params={"limit": 2, "cursor": cursor})).json()
            seen += [device["device_id"] for device in page["devices"]]
            cursor = page["next_cursor"]
        assert seen == ["d0", "d1", "d2", "d3", "d4", "w1"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "state=away", "nonsense=1", "limit=1&limit=2"]
)
async def test_a_query_that_means_nothing_is_refused(tmp_path: Path, query: str) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.get(f"/api/v1/devices?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "query_invalid")


async def test_adopting_gives_a_token_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await _fill(node)
        adopted = (await client.post("/api/v1/devices/w1/adopt", json={})).json()
        assert adopted["state"] == "active"
        assert adopted["token"].startswith("hpd_")
        again = (await client.post("/api/v1/devices/w1/adopt")).json()
        assert (again["state"], again["token"]) == ("active", None)


async def test_adopting_what_is_in_already_gives_an_operator_no_credential(tmp_path: Path) -> None:
    """Tokens of devices in service are an installer's: one whose tokens were revoked, one that has a certificate."""
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await node.catalog.write(
            lambda catalog: catalog.add_device("scada", kind="application", access="site"), by=ACT
        )
        for path, body in (("scada/adopt", {}), ("bulk", {"op": "adopt", "ids": ["scada"]})):
            answer = await client.post(f"/api/v1/devices/{path}", json=body)
            assert answer.status_code == 200, answer.text
            assert "hpd_" not in answer.text, path
        assert not await node.catalog.read(lambda catalog: catalog.tokens_of("scada"))


async def test_rejecting_and_decommissioning_cut_connections(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await _fill(node)
        assert (await client.post("/api/v1/devices/w1/reject")).json()["state"] == "rejected"
        assert (await client.post("/api/v1/devices/d0/reject")).status_code == 409
        gone = (await client.post("/api/v1/devices/d0/decommission")).json()
        assert (gone["state"], gone["connections_closed"]) == ("decommissioned", True)
        assert node.broker.revoked == ["w1", "d0"]
        node.broker.connected = False
        assert (await client.post("/api/v1/devices/d1/decommission")).json()["connections_closed"] is False
        assert (await client.post("/api/v1/devices/d1/adopt")).status_code == 409


async def test_a_new_token_stands_beside_the_old_one_for_the_overlap(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        old = (await client.post("/api/v1/devices", json={"device_id": "d"})).json()["token"]
        new = (await client.post("/api/v1/devices/d/token", json={"overlap_s": 60})).json()["token"]
        reader = DeviceAuthReader(tmp_path / "catalog.db", clock=node.clock)
        authenticator = DeviceAuthenticator(reader, node.services.keys, clock=node.clock)
        for token in (old, new):
            assert authenticator.authenticate("d", token.encode(), "", "").name == "d"
        node.clock.advance(60_001)
        assert authenticator.authenticate("d", new.encode(), "", "").name == "d"
        answer = await client.post("/api/v1/devices/d/token", json={"overlap_s": 0})
        assert answer.status_code == 201
        assert node.broker.revoked == ["d"]
        assert len(await node.catalog.read(lambda catalog: catalog.tokens_of("d"))) == 1
        reader.close()


async def test_newest_values_have_time_quality_and_freshness(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await _fill(node)
        node.live.values["d0"] = {
            "t": Value(metric="t", value=21.5),
            "a": Value(metric="a", value="open", quality=1, received_at_ms=NOW_MS - 100_000),
        }
        answer = (await client.get("/api/v1/devices/d0/newest")).json()
        assert [one["metric"] for one in answer["values"]] == ["a", "t"]
        assert answer["values"][0]["quality"] == "uncertain"
        assert answer["values"][0]["freshness"] == "stale"
        assert answer["values"][1] == {
            "metric": "t",
            "value": 21.5,
            "observed_at_ms": NOW_MS - 3_000,
            "received_at_ms": NOW_MS - 2_000,
            "quality": "good",
            "freshness": "fresh",
            "kept_copy": False,
        }
        assert answer["now_ms"] == NOW_MS


async def test_how_fresh_a_device_is_and_how_right_its_clock(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await _fill(node)
        node.live.by_id["d0"] = LiveDevice(
            device_id="d0",
            last_reading_at_ms=NOW_MS - 100_000,
            watermark_at_ms=NOW_MS + 50_000,
            watermark_received_at_ms=NOW_MS - 100_000,
            expect_ms=600_000,
            clock_offset_ms=150_000,
        )
        node.live.values["d0"] = {"t": Value(metric="t", value=1.0, is_kept_copy=True)}
        found = (await client.get("/api/v1/devices/d0")).json()
        assert (found["freshness"], found["stale_after_ms"]) == ("fresh", 2_700_000)
        assert (found["watermark_at_ms"], found["watermark_received_at_ms"]) == (
            NOW_MS + 50_000,
            NOW_MS - 100_000,
        )
        assert (found["clock"], found["clock_offset_ms"]) == ("wrong", 150_000)
        (value,) = (await client.get("/api/v1/devices/d0/newest")).json()["values"]
        assert (value["freshness"], value["kept_copy"]) == ("stale", True), "nobody knows how old it is"
        never = (await client.get("/api/v1/devices/d2")).json()
        assert (never["freshness"], never["clock"], never["clock_offset_ms"]) == ("never", "unknown", None)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/devices/x",
        "/api/v1/devices/x/newest",
        "/api/v1/devices/x/telemetry?metric=t&from=1771999999000",
    ],
)
async def test_an_unknown_device_is_not_found(tmp_path: Path, path: str) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "device_unknown")


async def test_the_status_counts_devices_by_state_and_active_ones_by_presence(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await _fill(node)
        node.live.by_id["an application"] = LiveDevice(device_id="an application")
        status = (await client.get("/api/v1/status")).json()
        assert status["devices"]["state"] == {"active": 5, "waiting": 1, "rejected": 0, "decommissioned": 0}
        assert status["devices"]["presence"] == {
            "online": 1,
            "offline": 0,
            "lost": 1,
            "sleeping": 0,
            "never_seen": 3,
        }
        assert (status["node"], status["broker"]["connected"]) == ("box", True)
        assert status["pipeline"]["behind_records"] == 7


WITH_ROLE = Config(broker_role=(BrokerRoleConfig(name="board"),))


async def test_access_is_changed_and_the_broker_is_told(tmp_path: Path) -> None:
    async with running_node(tmp_path, config=WITH_ROLE) as node, node.client(local=True) as client:
        made = await client.post("/api/v1/devices", json={"device_id": "d", "role": "board"})
        assert (made.status_code, made.json()["access"], made.json()["role"]) == (201, "own", "board")
        answer = await client.post("/api/v1/devices/d/access", json={"access": "site"})
        assert (answer.status_code, answer.json()["access"], answer.json()["role"]) == (200, "site", "")
        assert node.broker.changed == ["d"]
        node.broker.connected = False
        answer = await client.post("/api/v1/devices/d/access", json={"access": "own", "role": "board"})
        assert (answer.status_code, answer.json()["role"]) == (200, "board"), "the broker notices by itself"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"access": "own", "role": "nothing"}, 422, "role_unknown"),
        ({"access": "site", "role": "board"}, 422, "role_with_site"),
        ({"access": "all"}, 422, None),
    ],
)
async def test_access_that_makes_no_sense(
    tmp_path: Path, body: dict[str, str], status: int, code: str | None
) -> None:
    async with running_node(tmp_path, config=WITH_ROLE) as node, node.client(local=True) as client:
        await client.post("/api/v1/devices", json={"device_id": "d"})
        answer = await client.post("/api/v1/devices/d/access", json=body)
        assert answer.status_code == status, answer.text
        if code:
            assert answer.json()["code"] == code
        assert (await client.post("/api/v1/devices/x/access", json={"access": "own"})).status_code == 404


async def test_somebody_limited_makes_no_device_that_reaches_the_whole_site(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.catalog.write(lambda catalog: catalog.add_group("north"), by=ACT)
        async with person(node, "installer", frozenset({"north"})) as client:
            new = {"device_id": "spy", "kind": "application", "groups": ["north"]}
            refused = await client.post("/api/v1/devices", json={**new, "access": "site"})
            assert (refused.status_code, refused.json()["code"]) == (403, "scope_too_narrow")
            assert (await client.post("/api/v1/devices", json=new)).status_code == 201
            refused = await client.post("/api/v1/devices/spy/access", json={"access": "site"})
            assert (refused.status_code, refused.json()["code"]) == (403, "scope_too_narrow")


async def test_other_hardware_takes_over_and_nothing_of_the_old_one_counts(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        old = (await client.post("/api/v1/devices", json={"device_id": "d", "serial": "1"})).json()["token"]
        await client.post("/api/v1/devices/d/token", json={"overlap_s": 3600})
        answer = await client.post("/api/v1/devices/d/replace", json={"serial": "2"})
        replaced = answer.json()
        assert (answer.status_code, replaced["serial"], replaced["replaced_at_ms"]) == (200, "2", NOW_MS)
        assert (replaced["connections_closed"], node.broker.revoked) == (True, ["d"])
        reader = DeviceAuthReader(tmp_path / "catalog.db", clock=node.clock)
        authenticator = DeviceAuthenticator(reader, node.services.keys, clock=node.clock)
        assert authenticator.authenticate("d", replaced["token"].encode(), "", "").name == "d"
        with pytest.raises(NotAuthorized):
            authenticator.authenticate("d", old.encode(), "", "")
        reader.close()


async def test_the_version_changes_with_the_row_and_only_then(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        made = (await client.post("/api/v1/devices", json={"device_id": "d"})).json()
        same = (await client.patch("/api/v1/devices/d", json={"name": ""})).json()
        other = (await client.patch("/api/v1/devices/d", json={"name": "Pump"})).json()
        assert made["version"] == same["version"]
        assert int(other["version"]) > int(made["version"])


async def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await client.post("/api/v1/devices", json={"device_id": "d"})
        seen = (await client.get("/api/v1/devices/d")).headers["etag"]
        first = await client.patch("/api/v1/devices/d", json={"name": "A"}, headers={"if-match": seen})
        assert (first.status_code, first.json()["name"]) == (200, "A")
        for method, path, body in (
            ("PATCH", "/api/v1/devices/d", {"name": "B"}),
            ("POST", "/api/v1/devices/d/replace", {}),
            ("POST", "/api/v1/devices/d/access", {"access": "site"}),
            ("POST", "/api/v1/devices/d/decommission", None),
        ):
            late = await client.request(method, path, json=body, headers={"if-match": seen})
            assert (late.status_code, late.json()["code"]) == (412, "version_differs"), path
        now = (await client.get("/api/v1/devices/d")).json()
        assert (now["name"], now["state"], now["access"]) == ("A", "active", "own")


async def test_replacing_again_with_the_same_key_gives_the_same_token(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await client.post("/api/v1/devices", json={"device_id": "d"})
        key = {"idempotency-key": "0b9f7c1e"}
        first = await client.post("/api/v1/devices/d/replace", json={}, headers=key)
        again = await client.post("/api/v1/devices/d/replace", json={}, headers=key)
        assert again.json()["token"] == first.json()["token"]
        assert node.broker.revoked == ["d"]
