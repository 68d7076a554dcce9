"""Before a log is opened the replicator is asked; without it what is on the disk says whether that may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import Unavailable
from appliance.run import writing_permit
from appliance.run.writing_permit import WritingPermit
from storage.fleet.epoch_files import Doubt, remove_doubt, write_doubt
from tests.fleet_kit import Box, make_box, make_fleet

YES, NO = {"state": "yes", "problem": ""}, {"state": "no", "problem": "It is an old one."}


class Replicator:
    """Says what a test wants it to; away where that is None."""

    def __init__(self, says: dict[str, Any] | None) -> None:
        self.says = says

    async def ask(self, path: Path, question: str) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        assert question == "may_write"
        if self.says is None:
            raise Unavailable("away")
        return self.says


@pytest.fixture
def replicator(monkeypatch: pytest.MonkeyPatch) -> Replicator:
    made = Replicator(YES)
    monkeypatch.setattr(writing_permit, "ask", made.ask)
    for name in ("WATCH_S", "WAIT_STEP_S"):
        monkeypatch.setattr(writing_permit, name, 0.01)
    return made


def permit_of(box: Box) -> tuple[WritingPermit, list[str]]:
    return WritingPermit(box.config, clock=SystemClock()), []


async def wait(permit: WritingPermit, told: list[str]) -> None:
    async def tell(why: str) -> None:
        await trio.lowlevel.checkpoint()
        told.append(why)

    await permit.wait(tell)


async def test_a_box_that_is_alone_asks_nobody(tmp_path: Path, replicator: Replicator) -> None:
    replicator.says = NO
    permit, told = permit_of(make_box(tmp_path, "alone"))
    with trio.fail_after(20):
        await wait(permit, told)
    assert told == []


async def test_it_waits_while_it_is_told_to_and_says_so_once(tmp_path: Path, replicator: Replicator) -> None:
    permit, told = permit_of(make_fleet(tmp_path, "one", "two")[0])
    replicator.says = NO
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, permit, told)
        with trio.fail_after(20):
            while not told:  # noqa: ASYNC110 - a list has no event
                await trio.sleep(0.01)
        await trio.sleep(0.05)
        replicator.says = YES
    assert told == ["It is an old one."]
    assert not permit.withdrawn.is_set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(permit.watch)
        await trio.sleep(0.05)
        assert not permit.withdrawn.is_set()
        replicator.says = NO
    assert permit.withdrawn.is_set()
    await permit.watch()


async def test_without_the_replicator_a_doubt_on_the_disk_holds_it(
    tmp_path: Path, replicator: Replicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_permit, "ASK_S", 0.1)
    box = make_fleet(tmp_path, "one", "two")[0]
    permit, told = permit_of(box)
    replicator.says = None
    with trio.fail_after(20):
        await wait(permit, told)
    assert told == []
    write_doubt(box.data_dir, Doubt(reason="ahead", since_ms=1))
    with trio.move_on_after(0.3) as scope:
        await wait(permit, told)
    assert scope.cancelled_caught
    assert len(told) == 1
    remove_doubt(box.data_dir)
    with trio.fail_after(20):
        await wait(permit, told)
