"""Alarms over the API: found, acknowledged, shelved; who sees which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import definition, found, id_of, put_rule
from tests.node_kit import NOW_MS, Node, running_node
from tests.notification_kit import new as notification
from tests.people_kit import person


async def put(node: Node, *transitions: Any) -> None:
    def write(catalog: Catalog) -> None:
        put_rule(catalog)
        put_rule(catalog, "urgent", definition(severity="P1"))
        node.services.alarms.book.apply(catalog, transitions)

    await node.catalog.write(write, by=ACT)


async def test_alarms_are_found(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "viewer") as client:
        await put(
            node,
            found("d1"),
            found("d2", "urgent", at_ms=NOW_MS - 5_000, text="too hot"),
            found("d3"),
            found("d3", is_raised=False, at_ms=NOW_MS + 5),
        )
        page = (await client.get("/api/v1/alarms")).json()
        assert [each["device_id"] for each in page["alarms"]] == ["d2", "d1", "d3"]
        assert (page["count"], page["next_cursor"]) == (3, None)
        first = page["alarms"][0]
        assert (first["severity"], first["state"], first["text"], first["is_active"]) == (
            "P1",
            "active_unacknowledged",
            "too hot",
            True,
        )
        page = (await client.get("/api/v1/alarms?limit=1")).json()
        rest = (await client.get(f"/api/v1/alarms?limit=2&cursor={page['next_cursor']}")).json()
        assert [each["device_id"] for each in rest["alarms"]] == ["d1", "d3"]
        newest = (
            await client.get("/api/v1/alarms?order=newest&severity=P2&state=active_unacknowledged")
        ).json()
        assert [each["device_id"] for each in newest["alarms"]] == ["d1"]
        wrong = await client.get("/api/v1/alarms?cursor=x")
        assert (wrong.status_code, wrong.json()["code"]) == (422, "cursor_invalid")
        counts = (await client.get("/api/v1/alarms/counts")).json()
        assert counts["unacknowledged"] == 3
        assert counts["by_severity"]["P2"] == {"active_unacknowledged": 1, "cleared_unacknowledged": 1}
        assert counts["oldest_unacknowledged_ms"]["P1"] == NOW_MS - 5_000


async def test_who_was_told_stands_with_the_alarm_for_whoever_may_read_it(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await put(node, found("d1"), found("d2"))
        new = notification("k1", alarm_id=id_of("d1"))

        def write(catalog: Catalog) -> None:
            catalog.add_group("hall")
            catalog.add_device("d1", groups=["hall"])
            catalog.make_notifications([new, notification("k2", alarm_id=id_of("d2"))])

        await node.catalog.write(write, by=ACT)
        url = f"/api/v1/alarms/{id_of('d1')}"
        async with person(node, "operator") as client:
            before = await client.get(url)
            (told,) = before.json()["notifications"]
            assert (told["key"], told["state"], told["target_name"]) == ("k1", "waiting", new.target_name)
            await node.catalog.write(lambda catalog: catalog.begin_notification(new), by=ACT)
            after = await client.get(url, headers={"if-none-match": before.headers["etag"]})
            assert after.json()["notifications"][0]["state"] == "sending", "the tag is of all of the answer"
        async with person(node, "operator", frozenset({"hall"}), user_id="of-the-hall") as client:
            assert (await client.get(url)).json()["notifications"] is None


async def test_one_alarm_with_its_events_and_its_rule(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "viewer") as client:
        await put(node, found("d1"), found("d1", is_raised=False, at_ms=NOW_MS + 5))
        answer = await client.get(f"/api/v1/alarms/{id_of('d1')}")
        detail = answer.json()
        assert detail["alarm"]["state"] == "cleared_unacknowledged"
        assert detail["rule"]["name"] == "Rule hot"
        assert "above 80" in detail["rule"]["description"]
        assert [each["event"] for each in detail["events"]] == ["raise", "clear"]
        assert detail["notifications"] is None, "a viewer may not read them"
        again = await client.get(
            f"/api/v1/alarms/{id_of('d1')}", headers={"if-none-match": answer.headers["etag"]}
        )
        assert again.status_code == 304
        history = (
            await client.get(f"/api/v1/alarms/history?from_ms=0&to_ms={NOW_MS + 10}&device=d1&limit=1")
        ).json()
        assert ([each["event"] for each in history["events"]], history["truncated"]) == (["clear"], True)
        await node.catalog.write(lambda catalog: catalog.execute("DELETE FROM rules"), by=ACT)
        assert (await client.get(f"/api/v1/alarms/{id_of('d1')}")).json()["rule"] is None
        unknown = await client.get("/api/v1/alarms/none")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "alarm_unknown")


async def test_many_are_acknowledged_with_counts(tmp_path: Path) -> None:
    devices = [f"d{number}" for number in range(150)]
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await put(node, *map(found, devices))
        ids = [id_of(device) for device in devices]
        answer = await client.post(
            "/api/v1/alarms/acknowledge", json={"alarm_ids": [*ids, "none", ids[0]], "note": "on it"}
        )
        assert answer.status_code == 200, answer.text
        done = answer.json()
        assert (done["changed_count"], done["unchanged_count"], done["unknown_count"]) == (150, 0, 1)
        assert {each["acknowledged_by"] for each in done["alarms"]} == {"operator"}
        assert {each["acknowledge_note"] for each in done["alarms"]} == {"on it"}
        done = (await client.post("/api/v1/alarms/acknowledge", json={"alarm_ids": ids[:2]})).json()
        assert (done["changed_count"], done["unchanged_count"]) == (0, 2)
        for body, status, code in (
            ({"alarm_ids": ["none"]}, 404, "alarm_unknown"),
            ({"alarm_ids": []}, 422, "body_unusable"),
            ({"alarm_ids": ids[:1], "note": "a\nb"}, 422, "alarm_note"),
        ):
            refused = await client.post("/api/v1/alarms/acknowledge", json=body)
            assert (refused.status_code, refused.json()["code"]) == (status, code)


async def test_shelved_and_taken_back(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await put(node, found("d1"))
        wish = {"alarm_ids": [id_of("d1")], "until_ms": NOW_MS + 3_600_000, "reason": "part is ordered"}
        (alarm,) = (await client.post("/api/v1/alarms/shelve", json=wish)).json()["alarms"]
        assert (alarm["shelved_by"], alarm["shelve_reason"], alarm["is_set_aside"]) == (
            "operator",
            "part is ordered",
            True,
        )
        listed = (await client.get("/api/v1/alarms?aside=shelved")).json()
        assert listed["count"] == 1
        refused = await client.post("/api/v1/alarms/shelve", json={**wish, "until_ms": NOW_MS})
        assert (refused.status_code, refused.json()["code"]) == (422, "alarm_shelve_until")
        (alarm,) = (await client.post("/api/v1/alarms/unshelve", json={"alarm_ids": [id_of("d1")]})).json()[
            "alarms"
        ]
        assert (alarm["is_set_aside"], alarm["episode"]) == (False, 2)


async def test_whoever_is_limited_to_groups_sees_theirs(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:

        def write(catalog: Catalog) -> None:
            catalog.add_group("hall")
            catalog.add_device("mine")
            catalog.execute(
                "UPDATE devices SET groups = '[\"hall\"]', origin = ?, hlc = ?", (catalog.origin, catalog.hlc)
            )

        await node.catalog.write(write, by=ACT)
        await put(node, found("mine"), found("other"), found("", series="disk"))
        async with person(node, "operator", frozenset({"hall"})) as client:
            page = (await client.get("/api/v1/alarms")).json()
            assert [each["device_id"] for each in page["alarms"]] == ["mine"]
            assert (await client.get("/api/v1/alarms/counts")).json()["unacknowledged"] == 1
            assert (await client.get(f"/api/v1/alarms/{id_of('other')}")).status_code == 404
            done = (
                await client.post(
                    "/api/v1/alarms/acknowledge", json={"alarm_ids": [id_of("other"), id_of("mine")]}
                )
            ).json()
            assert (done["changed_count"], done["unknown_count"]) == (1, 1)
            history = (await client.get(f"/api/v1/alarms/history?from_ms=0&to_ms={NOW_MS * 2}")).json()
            assert {each["alarm_id"] for each in history["events"]} == {id_of("mine")}
