"""Twins for whoever needs them: reading, changing, being told."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import NotFound
from appliance.core.limits_twins import TWIN_DESIRED_BY_DEVICE_COUNT_MAX
from appliance.management.twin import SectionChange, TwinChange
from storage.catalog.twins import TwinChanged
from tests.twin_kit import twin_scene


async def test_a_device_may_report_as_often_as_it_likes_and_wish_so_often(tmp_path: Path) -> None:
    """What is desired is replicated: a device that was taken over must not fill the disk with it."""
    async with twin_scene(tmp_path) as scene:
        update = "dm/pump/shadow/update"
        for number in range(TWIN_DESIRED_BY_DEVICE_COUNT_MAX):
            wish = {"state": {"desired": {"a": number}}}
            assert (await scene.ask(update, wish))[0].endswith("accepted")
        topic, answer = await scene.ask(update, {"state": {"desired": {"a": -1}}})
        assert (topic, answer["code"], answer["reason"]) == (f"{update}/rejected", 429, "desired_too_often")
        assert (await scene.ask("dm/pump/shadow/delete"))[1]["reason"] == "desired_too_often"
        assert (await scene.ask(update, {"state": {"reported": {"a": 1}}}))[0].endswith("accepted")
        scene.clock.advance(30_000)
        assert (await scene.ask(update, {"state": {"desired": {"a": -1}}}))[0].endswith("accepted")


async def test_subscribers_hear_of_what_devices_say_until_they_end_it(tmp_path: Path) -> None:
    heard: list[TwinChanged] = []
    async with twin_scene(tmp_path) as scene:
        desk = scene.room.desk
        with pytest.raises(NotFound):
            await desk.get("pump", "")
        end = desk.subscribe(heard.append)
        change = TwinChange(reported=SectionChange(values={"fw": {"version": "1.2"}}))
        changed = await desk.update_by_device("pump", "", change)
        assert heard == [changed]
        assert (await desk.get("pump", "")).twin.reported == {"fw": {"version": "1.2"}}
        await desk.delete_by_device("pump", "", version=1)
        assert heard[1].after.twin.is_there is False
        end()
        await desk.update_by_device("pump", "", change)
        assert len(heard) == 2
