"""What devices are told of their twins unasked: deltas and documents, to those who listen."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio.testing

from appliance.core.errors import LimitExceeded, Unavailable
from appliance.management.twin import SectionChange, TwinChange
from appliance.twins import telling as module
from storage.catalog.twins import TwinChanged
from tests.acts import ACT
from tests.twin_kit import Scene, twin_scene


async def want(scene: Scene, name: str = "", device_id: str = "pump", **values: object) -> TwinChanged:
    """What a person does: writes, and says so."""
    change = TwinChange(desired=SectionChange(values=values))
    changed = await scene.catalog.write(lambda c: c.update_twin(device_id, name, change), by=ACT)
    scene.room.desk.changed(changed)
    return changed


async def test_who_begins_to_listen_is_told_what_is_wanted(tmp_path: Path) -> None:
    async with twin_scene(tmp_path, "pump", "fan") as scene:
        await want(scene, a=1)
        await want(scene, "config", rate_s=5)
        await scene.ask(
            "dm/pump/shadow/name/done/update", {"state": {"desired": {"x": 1}, "reported": {"x": 1}}}
        )
        await scene.listen("fan", "pump")
        said = await scene.until_said(2)
        assert [(topic, payload["state"]) for _, topic, payload in said] == [
            ("dm/pump/shadow/update/delta", {"a": 1}),
            ("dm/pump/shadow/name/config/update/delta", {"rate_s": 5}),
        ]
        assert said[0][2]["version"] == 1


async def test_a_change_is_said_at_once_with_its_documents(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.listen("pump")
        await want(scene, a=1)
        await scene.ask("dm/pump/shadow/update", {"state": {"reported": {"a": 1}}, "clientToken": "t"})
        said = await scene.until_said(3)
        assert [topic.removeprefix("dm/pump/shadow/update/") for _, topic, _ in said] == [
            "delta",
            "documents",
            "documents",
        ]
        assert (said[1][2]["previous"], said[2][2]["clientToken"]) == (None, "t")
        assert said[2][2]["current"]["state"] == {"desired": {"a": 1}, "reported": {"a": 1}}
        assert scene.room.desk.statistics().told_total == 3


async def test_who_listens_by_the_alias_is_told_there(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.listen("pump", aws=True)
        await want(scene, a=1)
        assert (await scene.until_said(2))[0][1] == "$aws/things/pump/shadow/update/delta"


async def test_nobody_is_told_what_they_did_not_ask_for_twice(tmp_path: Path) -> None:
    """Documents cost as much as the twin itself: once the broker says that nobody took them, no more of them are made."""
    async with twin_scene(tmp_path) as scene:
        scene.pushes.deaf = ("dm/pump/shadow/update/documents",)
        await scene.listen("pump")
        tries: list[int] = []

        async def count() -> None:
            tries.append(1)

        scene.pushes.before = count
        for number in range(3):
            await want(scene, a=number)
            await scene.until_said(number + 1)
            await trio.testing.wait_all_tasks_blocked()
        assert len(tries) == 4, "three deltas, one try with documents"
        scene.pushes.deaf = ()
        await scene.listen("pump")  # It has subscribed to something more.
        await scene.until_said(4)
        await want(scene, a=9)
        assert (await scene.until_said(6))[-1][1].endswith("documents")


async def test_nothing_is_said_to_who_is_away_or_of_what_is_gone(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.listen("pump")
        scene.leave("pump")
        await want(scene, a=1)
        await scene.listen("pump")
        await scene.until_said(1)
        await scene.ask("dm/pump/shadow/delete")
        await trio.testing.wait_all_tasks_blocked()
        assert len(scene.pushes.said) == 1


async def test_what_was_wanted_on_another_node_is_said_to_who_listens_here(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.listen("pump")
        change = TwinChange(desired=SectionChange(values={"a": 1}))
        await scene.catalog.write(lambda c: c.update_twin("pump", "", change), by=ACT)
        scene.room.desk.look(["pump", "elsewhere"])
        ((_, topic, payload),) = await scene.until_said(1)
        assert (topic, payload["state"]) == ("dm/pump/shadow/update/delta", {"a": 1})


@pytest.mark.parametrize("error", [Unavailable("Away."), LimitExceeded("Too many.")])
async def test_what_can_not_be_said_is_counted_and_said_when_the_device_listens_again(
    tmp_path: Path, error: Exception
) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.listen("pump")
        scene.pushes.error = error  # type: ignore[assignment]
        await want(scene, a=1)
        await scene.until(lambda: scene.room.desk.statistics().dropped_total == 2)
        scene.pushes.error = None
        await scene.listen("pump")
        assert (await scene.until_said(1))[0][2]["state"] == {"a": 1}


async def test_what_waits_is_bounded_and_the_oldest_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TWIN_UNTOLD_COUNT_MAX", 4)
    async with twin_scene(tmp_path) as scene:
        await scene.listen("pump")
        hold, held = trio.Event(), trio.Event()

        async def wait() -> None:
            held.set()
            await hold.wait()

        scene.pushes.before = wait
        await want(scene, a=0)
        await held.wait()
        for number in range(1, 6):
            await want(scene, a=number)
        assert scene.room.desk.statistics().dropped_total == 6
        hold.set()
        said = await scene.until_said(6)
        assert [each[2].get("version") for each in said if each[1].endswith("delta")] == [1, 5, 6]


async def test_a_catalog_that_is_busy_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    async with twin_scene(tmp_path) as scene:
        await want(scene, a=1)
        read, failures = scene.catalog.read, [1, 1]

        async def busy(fn: object, **how: object) -> object:
            if failures:
                failures.pop()
                raise Unavailable("Busy.")
            return await read(fn, **how)  # type: ignore[arg-type]

        monkeypatch.setattr(scene.catalog, "read", busy)
        await scene.listen("pump")
        await scene.until_said(1)
        assert failures == []
