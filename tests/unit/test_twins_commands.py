"""Commands from their being sent to their end, over a real catalog: said once, in order, and what happens when things go wrong between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.core.errors import Conflict, LimitExceeded, NotFound, Unavailable, UsageError
from appliance.core.limits_twins import (
    COMMAND_ANSWER_GRACE_MS,
    COMMAND_DEAF_TRY_COUNT_MAX,
    COMMAND_DEAF_TRY_WINDOW_S,
)
from appliance.management.commands import CommandState, CommandWish
from appliance.twins import commands as module
from storage.catalog.commands import Command
from tests.acts import ACT
from tests.twin_kit import Scene, twin_scene

REBOOT = CommandWish(method="reboot", params={"in_s": 5})
NOW = CommandWish(method="reboot", when_away="refuse")


async def send(scene: Scene, wish: CommandWish = REBOOT, device_id: str = "pump") -> Command:
    desk = scene.room.commands
    command = await scene.catalog.write(lambda c: desk.add(c, device_id, wish, created_by="ada"), by=ACT)
    desk.look([device_id])
    return command


async def read(scene: Scene, command: Command) -> Command:
    return await scene.catalog.read(lambda c: c.get_command(command.device_id, command.command_id))


async def state(scene: Scene, command: Command) -> str:
    return str((await read(scene, command)).state)


def _is_put_back(scene: Scene, count: int) -> bool:
    return scene.room.commands.statistics().put_back_total == count


async def until_state(scene: Scene, command: Command, wanted: str) -> Command:
    with trio.fail_after(60):
        while await state(scene, command) != wanted:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.005)
    return await read(scene, command)


async def answer(scene: Scene, command: Command, said: object, device_id: str = "pump") -> tuple[str, object]:
    topic = f"dm/{device_id}/cmd/{command.command_id}/resp"
    answered, payload = await scene.ask(topic, said, name=device_id)
    assert answered.startswith(topic)
    return answered.removeprefix(topic + "/"), payload


async def test_who_listens_is_told_at_once_and_answers(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.listen("pump")
        command = await send(scene)
        ((device_id, topic, payload),) = await scene.until_said(1)
        assert (device_id, topic) == ("pump", f"dm/pump/cmd/{command.command_id}")
        assert payload == {"m": "reboot", "p": {"in_s": 5}, "exp": command.expires_at_ms, "fence": 0}
        assert await answer(scene, command, {"ok": True, "r": 7}) == (
            "accepted",
            {"state": "succeeded", "late": False},
        )
        done = await read(scene, command)
        assert (done.state, done.result) == (CommandState.SUCCEEDED, 7)
        assert await answer(scene, command, {"ok": False}) == (
            "accepted",
            {"state": "succeeded", "late": False},
        )
        counted = scene.room.commands.statistics()
        assert (counted.sent_total, counted.answered_total, counted.late_total) == (1, 1, 0)
        assert (await scene.room.commands.counts())[CommandState.SUCCEEDED] == 1


async def test_it_is_marked_as_sent_before_it_is_said(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        seen: list[str] = []
        command: Command | None = None

        async def look() -> None:
            assert command is not None
            seen.append(await state(scene, command))

        command = await send(scene)
        scene.pushes.before = look
        await scene.listen("pump")
        await scene.until_said(1)
        assert seen == ["sent"]


async def test_a_node_that_dies_in_between_never_says_it_again(tmp_path: Path) -> None:
    """Marked, then killed before or after the push: the next node leaves it, and it is unanswered at its deadline."""
    async with twin_scene(tmp_path) as scene:
        command = await send(scene)
        # All that the node which died had done.
        (marked,) = await scene.catalog.write(lambda c: c.send_due_commands(["pump"], limit=9), by=ACT)
        assert marked.command_id == command.command_id
        await scene.listen("pump")
        await trio.testing.wait_all_tasks_blocked()
        assert scene.pushes.said == []
        scene.clock.advance(60_000 + COMMAND_ANSWER_GRACE_MS)
        scene.room.commands.look([])
        await until_state(scene, command, "unanswered")
        assert await answer(scene, command, {"ok": True}) == (
            "accepted",
            {"state": "unanswered", "late": True},
        )
        assert scene.room.commands.statistics().late_total == 1


async def test_a_device_that_is_away_gets_them_in_order_when_it_listens(tmp_path: Path) -> None:
    async with twin_scene(tmp_path, "pump", "fan") as scene:
        sent = [await send(scene) for _ in range(5)]
        await send(scene, device_id="fan")
        await scene.listen("pump")
        said = await scene.until_said(5)
        assert [topic.rpartition("/")[2] for _, topic, _ in said] == [each.command_id for each in sent]
        await scene.listen("pump")
        await trio.testing.wait_all_tasks_blocked()
        assert len(scene.pushes.said) == 5


async def test_one_that_is_not_to_wait_is_refused_while_nobody_listens(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        with pytest.raises(Conflict) as away:
            await send(scene, NOW)
        assert away.value.code == "device_away"
        assert (await scene.catalog.read(lambda c: c.list_commands("pump"))).commands == ()
        await scene.listen("pump")
        await send(scene, NOW)
        await scene.until_said(1)


async def test_what_nobody_got_waits_again_or_is_refused(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        scene.pushes.deaf = ("dm/pump/cmd",)
        await scene.listen("pump")
        waits, now = await send(scene), await send(scene, NOW)
        await until_state(scene, now, "refused")
        await until_state(scene, waits, "queued")
        scene.pushes.deaf = ()
        await scene.listen("pump")
        await scene.until_said(1)
        assert await state(scene, waits) == "sent"
        assert scene.room.commands.statistics().put_back_total >= 2


async def test_behind_one_that_nobody_got_nothing_is_said(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        first, second = await send(scene), await send(scene)
        scene.pushes.deaf = (f"dm/pump/cmd/{first.command_id}",)
        await scene.listen("pump")
        await scene.until(lambda: scene.room.commands.statistics().put_back_total == 2)
        assert scene.pushes.said == []
        scene.pushes.deaf = ()
        await scene.listen("pump")
        said = await scene.until_said(2)
        assert said[1][1].endswith(second.command_id)


async def test_who_listens_for_other_things_is_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is written twice, and a device can subscribe as often as it likes."""
    monkeypatch.setattr(module, "RETRY_MS", 10)
    async with twin_scene(tmp_path) as scene:
        desk = scene.room.commands
        scene.pushes.deaf = ("dm/pump/cmd",)
        command = await send(scene)
        for number in range(1, COMMAND_DEAF_TRY_COUNT_MAX + 1):
            await scene.listen("pump")
            await scene.until(partial(_is_put_back, scene, number))
        for _ in range(5):
            await scene.listen("pump")
            await trio.testing.wait_all_tasks_blocked()
        assert desk.statistics().put_back_total == COMMAND_DEAF_TRY_COUNT_MAX
        scene.pushes.deaf = ()
        scene.clock.advance(COMMAND_DEAF_TRY_WINDOW_S * 1000 // COMMAND_DEAF_TRY_COUNT_MAX)
        await scene.catalog.read(lambda c: c.get_command("pump", command.command_id))
        sooner = await send(scene)
        await scene.until_said(1)
        assert sooner.command_id in scene.pushes.said[0][1], "the first one has expired meanwhile"


async def test_a_broker_that_does_not_say_leaves_it_sent(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        scene.pushes.error = Unavailable("Silent.")
        await scene.listen("pump")
        command = await send(scene)
        await until_state(scene, command, "sent")
        scene.pushes.error = None
        await scene.listen("pump")
        await trio.testing.wait_all_tasks_blocked()
        assert scene.pushes.said == []


async def test_a_broker_with_too_much_to_say_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_MS", 10)
    async with twin_scene(tmp_path) as scene:
        scene.pushes.error = LimitExceeded("Too many.")
        await scene.listen("pump")
        command = await send(scene)
        await scene.until(lambda: scene.room.commands.statistics().put_back_total >= 2)
        scene.pushes.error = None
        await scene.until_said(1)
        assert await state(scene, command) == "sent"


async def test_what_is_queued_while_it_is_looked_for_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with twin_scene(tmp_path) as scene:
        read = scene.catalog.read
        sent: list[Command] = []

        async def slow(fn: object, **how: object) -> object:
            found: object = await read(fn, **how)  # type: ignore[arg-type]
            if found is False and not sent:
                monkeypatch.setattr(scene.catalog, "read", read)
                sent.append(await send(scene))
            return found

        monkeypatch.setattr(scene.catalog, "read", slow)
        await scene.listen("pump")
        await scene.until_said(1)
        assert await state(scene, sent[0]) == "sent"


async def test_a_catalog_that_is_busy_holds_up_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_MS", 10)
    async with twin_scene(tmp_path) as scene:
        command = await send(scene)
        write, failures = scene.catalog.write, [1, 1, 1]
        scene.pushes.deaf = ("dm/pump/cmd",)

        async def busy(fn: object, **how: object) -> object:
            if failures:
                failures.pop()
                raise Unavailable("Busy.")
            return await write(fn, **how)  # type: ignore[arg-type]

        monkeypatch.setattr(scene.catalog, "write", busy)
        await scene.listen("pump")
        await scene.until(lambda: not failures)
        await scene.until(lambda: scene.room.commands.statistics().put_back_total == 1)
        scene.pushes.deaf = ()
        await scene.listen("pump")
        await scene.until_said(1)
        assert await state(scene, command) == "sent"


async def test_time_ends_what_waits_by_itself(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        heard: list[str] = []
        end = scene.room.commands.subscribe(heard.extend)
        command = await send(scene, CommandWish(method="x", expires_in_ms=1_000))
        await trio.testing.wait_all_tasks_blocked()
        scene.clock.advance(1_000)
        await until_state(scene, command, "expired")
        await scene.until(lambda: scene.room.commands.statistics().ended_total == 1)
        assert heard == ["pump", "pump"]
        end()
        assert await answer(scene, command, {"ok": True}) == (
            "rejected",
            {
                "code": "command_not_sent",
                "message": "The command was never sent: it is expired. Answer only what was asked.",
            },
        )


async def test_commands_to_a_device_that_ends_do_not_wait(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        command = await send(scene)
        await scene.catalog.write(lambda c: c.decommission_device("pump"), by=ACT)
        assert (await until_state(scene, command, "canceled")).error


async def test_whoever_waits_hears_of_the_end_or_of_how_it_stands(tmp_path: Path) -> None:
    async with twin_scene(tmp_path, "pump", "fan") as scene:
        desk = scene.room.commands
        await scene.listen("pump")
        command = await send(scene)
        got: list[Command] = []

        async def wait() -> None:
            got.append(await desk.wait("pump", command.command_id, wait_s=30))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await scene.until(lambda: desk.statistics().waiting_requests == 2)
            await scene.until_said(1)
            await answer(scene, command, {"ok": False, "e": "stuck"})
        assert [(each.state, each.error) for each in got] == [(CommandState.FAILED, "stuck")] * 2
        assert desk.statistics().waiting_requests == 0
        queued = await send(scene, device_id="fan")
        assert (await desk.wait("fan", queued.command_id, wait_s=0.01)).state is CommandState.QUEUED
        with pytest.raises(NotFound):
            await desk.wait("fan", "nothing", wait_s=1)


async def test_not_too_many_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND_WAIT_COUNT_MAX", 0)
    async with twin_scene(tmp_path) as scene:
        command = await send(scene)
        with trio.fail_after(20):
            waited = await scene.room.commands.wait("pump", command.command_id, wait_s=30)
        assert waited.state is CommandState.QUEUED


async def test_a_node_that_stops_lets_nobody_wait(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        desk = scene.room.commands
        command = await send(scene)
        got: list[Command] = []

        async def wait() -> None:
            got.append(await desk.wait("pump", command.command_id, wait_s=30))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await scene.until(lambda: desk.statistics().waiting_requests == 1)
                scene.stopping.set()
        assert got[0].state is CommandState.QUEUED


async def test_an_answer_that_is_none_is_refused(tmp_path: Path) -> None:
    async with twin_scene(tmp_path, "pump", "fan") as scene:
        await scene.listen("pump")
        command = await send(scene)
        await scene.until_said(1)
        how, words = await answer(scene, command, {"okay": True})
        assert (how, isinstance(words, dict) and words["code"]) == ("rejected", "command_answer_invalid")
        how, words = await answer(scene, command, {"ok": True}, device_id="fan")
        assert (how, isinstance(words, dict) and words["code"]) == ("rejected", "command_unknown")
        with pytest.raises(UsageError):
            await send(scene, CommandWish(method=""))


async def test_old_ones_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND_BATCH_COUNT_MAX", 2)
    monkeypatch.setattr(module, "COMMAND_PRUNE_INTERVAL_MS", 10)
    async with twin_scene(tmp_path) as scene:

        def old(catalog: object) -> None:
            for number in range(5):
                catalog.add_command(f"c{number}", "pump", REBOOT, created_by="ada")  # type: ignore[attr-defined]
                catalog.cancel_command("pump", f"c{number}")  # type: ignore[attr-defined]

        await scene.catalog.write(old, by=ACT)
        scene.clock.advance(91 * 86_400_000)

        async def kept() -> Sequence[Command]:
            return (await scene.catalog.read(lambda c: c.list_commands("pump"))).commands

        with trio.fail_after(60):
            while await kept():
                scene.room.commands.look([])
                await trio.sleep(0.01)


async def test_who_leaves_is_not_told(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        command = await send(scene)
        scene.listen_nowait("pump")
        scene.leave("pump")
        await trio.testing.wait_all_tasks_blocked()
        assert scene.pushes.said == []
        assert await state(scene, command) == "queued"
