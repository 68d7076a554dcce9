"""Groups of dead letters and replays over the API."""

from __future__ import annotations

from pathlib import Path

from tests.node_kit import Letter, running_node
from tests.people_kit import person


async def test_letters_are_grouped_with_the_newest_as_sample(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        node.telemetry.letters = [
            Letter(epoch=1, seq=1, topic="tele/d1/S", received_at_ms=5),
            Letter(epoch=1, seq=2, topic="tele/d1/S", received_at_ms=7, payload=b"}"),
            Letter(epoch=1, seq=3, reason="bad_ts"),
        ]
        groups = (await client.get("/api/v1/dead-letters/groups")).json()["groups"]
        assert [(each["reason"], each["pattern"], each["count"]) for each in groups] == [
            ("bad_ts", "dm/{device}/telemetry", 1),
            ("bad_json", "tele/{device}/S", 2),
        ]
        assert (groups[1]["first_at_ms"], groups[1]["last_at_ms"], groups[1]["sample_seq"]) == (5, 7, 2)
        assert groups[1]["hint"].startswith("The payload is not JSON")
        one = await client.get("/api/v1/dead-letters/groups", params={"limit": 1})
        assert len(one.json()["groups"]) == 1


async def test_a_replay_is_asked_for_and_followed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        asked = await client.post("/api/v1/dead-letters/replays", json={"reason": "bad_json"})
        assert asked.status_code == 202, asked.text
        replay_id = asked.json()["replay_id"]
        (waiting,) = await node.catalog.read(lambda catalog: catalog.list_replays(limit=5))
        assert (waiting.epoch, waiting.at_seq, waiting.reason) == (1, 42, "bad_json"), "the log's head"
        found = await client.get(f"/api/v1/dead-letters/replays/{replay_id}")
        assert (found.json()["state"], found.json()["letter_count"]) == ("requested", 0)
        listed = (await client.get("/api/v1/dead-letters/replays")).json()["replays"]
        assert [each["replay_id"] for each in listed] == [replay_id]
        unknown = await client.get("/api/v1/dead-letters/replays/none")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "replay_unknown")
    async with running_node(tmp_path) as node, person(node, "viewer") as client:
        assert (await client.post("/api/v1/dead-letters/replays", json={})).status_code == 403
