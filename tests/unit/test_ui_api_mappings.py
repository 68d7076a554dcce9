"""Mappings over the API: order, versions, limits, and trying one out."""

from __future__ import annotations

from pathlib import Path

from tests.log_kit import Record, append, open_log
from tests.node_kit import Letter, running_node
from tests.people_kit import person

BODY = {
    "pattern": "tele/{device}/SENSOR",
    "fields": [{"path": "ENERGY.Power", "metric": "power_kw", "scale": 0.001}],
    "note": "plugs",
}


async def test_mappings_are_added_ordered_edited_and_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        first = await client.post("/api/v1/mappings", json=BODY)
        assert first.status_code == 201, first.text
        one = first.json()
        assert (one["position"], one["format"], one["fields"][0]["offset"]) == (1, "json", 0)
        second = (
            await client.post(
                "/api/v1/mappings", json={"pattern": "a/{device}", "format": "cbor", "position": 1}
            )
        ).json()
        listed = (await client.get("/api/v1/mappings")).json()
        assert [each["pattern"] for each in listed["mappings"]] == ["a/{device}", "tele/{device}/SENSOR"]
        assert listed["defaults"][0]["pattern"] == "dm/{device}/telemetry"
        assert (listed["set_number"], listed["from_seq"]) == (2, 1)
        address = f"/api/v1/mappings/{one['mapping_id']}"
        seen = (await client.get(address)).headers["etag"]
        edited = await client.patch(address, json={"position": 1, "only_fields": True, "metric": "m"})
        assert (edited.json()["position"], edited.json()["only_fields"], edited.json()["note"]) == (
            1,
            True,
            "plugs",
        )
        assert node.services.mappings.sets.newest.mappings[0].metric == "m"
        stale = await client.patch(address, json={"note": "x"}, headers={"if-match": seen})
        assert (stale.status_code, stale.json()["code"]) == (412, "version_differs")
        assert (await client.delete(f"/api/v1/mappings/{second['mapping_id']}")).status_code == 204
        assert (await client.get(f"/api/v1/mappings/{second['mapping_id']}")).status_code == 404
        assert (await client.get(address)).json()["position"] == 1
        assert node.services.mappings.sets.count == 5


async def test_what_can_t_be_used_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        for body, code in (
            ({"pattern": "no/device"}, "mapping_invalid"),
            ({**BODY, "fields": [{"path": "a", "metric": "b", "scale": 0}]}, "mapping_invalid"),
            ({"pattern": "a/{device}", "format": "morse"}, "body_unusable"),
            ({"pattern": "a/{device}", "position": 5}, "mapping_position_invalid"),
        ):
            refused = await client.post("/api/v1/mappings", json=body)
            assert (refused.status_code in (400, 422), refused.json()["code"]) == (True, code)
        assert node.services.mappings.sets.count == 1
        assert (await client.get("/api/v1/mappings")).json()["mappings"] == []


async def test_a_mapping_is_tried_on_the_log_and_on_dead_letters(tmp_path: Path) -> None:
    payload = b'{"ENERGY": {"Power": 1500}}'
    append(open_log(tmp_path / "log"), [Record(payload, topic=b"tele/plug/SENSOR")])
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        query = {"pattern": "tele/{device}/SENSOR", "field": "ENERGY.Power = power_kw * 0.001"}
        found = (await client.get("/api/v1/mappings/try", params=query)).json()
        (message,) = found["messages"]
        assert (found["fit_count"], found["is_whole"], message["rows"][0]["value"]) == (1, True, 1.5)
        assert message["rows"][0]["metric"] == "power_kw"
        node.telemetry.letters = [
            Letter(epoch=1, topic="tele/x/SENSOR", seq=900, payload=b"{", payload_bytes=1),
            Letter(epoch=1, topic="other/x", seq=901),
        ]
        letters = (
            await client.get("/api/v1/mappings/try", params={**query, "source": "dead_letters"})
        ).json()
        (message,) = letters["messages"]
        assert (message["reason"], message["topic"], letters["fit_count"]) == ("bad_json", "tele/x/SENSOR", 0)
        assert message["hint"].startswith("The payload is not JSON")
        bad = await client.get("/api/v1/mappings/try", params={**query, "field": "x"})
        assert bad.json()["code"] == "mapping_field_invalid"
        assert (await client.post("/api/v1/mappings", json=BODY)).status_code == 403


async def test_a_mapping_that_stands_for_another_is_tried_in_its_place(tmp_path: Path) -> None:
    append(open_log(tmp_path / "log"), [Record(b"1", topic=b"a/b")])
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        first = (await client.post("/api/v1/mappings", json={"pattern": "a/{device}"})).json()
        query = {"pattern": "{metric}/{device}"}
        (behind,) = (await client.get("/api/v1/mappings/try", params=query)).json()["messages"]
        assert (behind["fits"], behind["taken_by"]) == (False, "a/{device}")
        for options in ({"mapping_id": first["mapping_id"]}, {"position": 1}):
            (instead,) = (await client.get("/api/v1/mappings/try", params={**query, **options})).json()[
                "messages"
            ]
            assert (instead["fits"], instead["taken_by"]) == (True, "")
