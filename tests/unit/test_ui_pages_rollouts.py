"""The list of rollouts, the Overview's bars, and who sees which counts."""

from __future__ import annotations

from pathlib import Path

from tests.acts import ACT
from tests.node_kit import running_node
from tests.people_kit import person
from tests.rollout_kit import act, made, prepare


async def test_rollouts_stand_by_what_has_to_be_looked_at_first(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        assert "No rollout is under way." in (await client.get("/firmware")).text
        await made(client, name="A draft of <mine>")
        running = (await made(client, name="Spring"))["rollout_id"]
        gone = (await made(client, name="Old"))["rollout_id"]
        await act(client, gone, "abort", {"confirm_count": 0, "reason": "Not needed."})
        for name in ("submit", "start"):
            await act(client, running, name)
        await act(client, running, "pause", {"reason": "The pumps leak."})
        node.clock.advance(1_000)
        page = (await client.get("/firmware?done=draft")).text
        places = [
            page.index(text)
            for text in ("Under way", "Spring", "Not started", "A draft of &lt;mine&gt;", "History", "Old")
        ]
        assert places == sorted(places)
        assert "The pumps leak." in page
        assert "Saved as a draft." in page
        assert 'aria-label="Spring: 3 ' in page
        overview = (await client.get("/")).text
        assert "Rollouts under way" in overview
        assert "The rollout “Spring” is paused. The pumps leak." in overview


async def test_counts_are_of_the_devices_that_somebody_may_see(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        rollout_id = (await made(client))["rollout_id"]
        for name in ("submit", "start"):
            await act(client, rollout_id, name)
        async with person(node, "viewer", frozenset({"elsewhere"})) as other:
            page = (await other.get("/firmware")).text
            assert "3 waiting" not in page
            assert "New rollout" not in page
            assert (await other.get("/firmware/rollouts/new")).status_code == 403


async def test_an_artifact_that_is_gone_is_said(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 1)
        rollout = await made(client)
        await node.catalog.write(lambda catalog: catalog.execute("DELETE FROM artifacts"), by=ACT)
        assert "an artifact that was removed" in (await client.get("/firmware")).text
        page = (await client.get(f"/firmware/rollouts/{rollout['rollout_id']}")).text
        assert "an artifact that was removed" in page
