"""Following the copy of another node's log."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.core.clock import ManualClock
from broker.open_block import PendingRecord
from broker.site.follower import TOLD_COUNT, Follower
from broker.state.retained import RetainedMessages
from storage.log.cursor_file import read_cursor
from storage.log.disk import OsDisk
from storage.log.writer import LogWriter
from tests.broker_kit import wait_until
from tests.log_kit import Record, append, open_log

NOW_MS = 1_700_000_000_000


@dataclass
class Plane:
    """Has everything on disk at once, or when it is told."""

    at_once: bool = True
    records: list[PendingRecord] = field(default_factory=list)
    done: int = 0

    def record(self, pending: PendingRecord) -> None:
        self.records.append(pending)

    def wake(self) -> None:
        if self.at_once:
            self.commit()

    def commit(self) -> None:
        for record in self.records[self.done :]:
            if record.then is not None:
                record.then(1)
        self.done = len(self.records)

    @property
    def payloads(self) -> list[bytes]:
        return [record.payload for record in self.records]


@dataclass
class Scene:
    """A copy in a folder, and who follows it."""

    folder: Path
    plane: Plane = field(default_factory=Plane)
    clock: ManualClock = field(default_factory=lambda: ManualClock(now_ms=NOW_MS))
    is_held: bool = False

    def follower(self) -> Follower:
        return Follower(
            self.folder,
            node_id="ab" * 16,
            plane=self.plane,
            is_subscribed=lambda topic: topic == b"t",
            retained=RetainedMessages(messages_max=10, bytes_max=1_000),
            clock=self.clock,
            is_held=lambda: self.is_held,
        )

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[Follower]:
        follower = self.follower()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            yield follower
            nursery.cancel_scope.cancel()


def add(writer: LogWriter, *payloads: bytes, at_ms: int = NOW_MS) -> None:
    append(writer, [Record(payload, b"t", at_ms) for payload in payloads])


def damage(folder: Path) -> None:
    """Of the first block's body."""
    (segment,) = folder.glob("*.open")
    with segment.open("r+b") as file:
        file.seek(4096 + 120)
        file.write(b"damage")


async def test_a_copy_that_comes_later_is_followed_from_its_beginning(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "copy")
    async with scene.followed() as follower:
        assert follower.statistics().behind_records == 0
        writer = open_log(scene.folder)
        add(writer, b"1", b"2")
        await wait_until(lambda: scene.plane.payloads == [b"1", b"2"])
        add(writer, b"3")
        await wait_until(lambda: follower.statistics().messages == 3)
        assert follower.statistics().error == ""
    writer.close()


async def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with closing(open_log(tmp_path)) as writer:
        add(writer, b"1")
        async with scene.followed() as follower:
            await wait_until(lambda: follower.statistics().messages == 1)
            await wait_until(lambda: (tmp_path / "cursors" / "site").exists())
        add(writer, b"2")
        scene.plane = Plane()
        async with scene.followed() as follower:
            await wait_until(lambda: follower.statistics().messages == 1)
        assert scene.plane.payloads == [b"2"]


async def test_what_was_received_before_it_followed_is_history_after_a_restart_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with closing(open_log(tmp_path)) as writer:
        add(writer, b"old", at_ms=NOW_MS - 1)
        async with scene.followed():
            await wait_until(lambda: (tmp_path / "cursors" / "site").exists())
        scene.clock.advance(60_000)
        add(writer, b"old", at_ms=NOW_MS - 1)
        add(writer, b"while away", at_ms=NOW_MS + 1)
        async with scene.followed() as follower:
            await wait_until(lambda: follower.statistics().messages == 1)
        assert scene.plane.payloads == [b"while away"]


async def test_the_cursor_moves_only_when_it_is_on_disk(tmp_path: Path) -> None:
    scene = Scene(tmp_path, plane=Plane(at_once=False))
    with closing(open_log(tmp_path)) as writer:
        add(writer, b"1")
        async with scene.followed() as follower:
            await wait_until(lambda: scene.plane.payloads == [b"1"])
            assert follower.statistics().behind_records == 1
        async with scene.followed() as follower:
            await wait_until(lambda: scene.plane.payloads == [b"1", b"1"])
            scene.plane.commit()
            await wait_until(lambda: follower.statistics().behind_records == 0)


async def test_no_more_than_a_part_waits_for_the_disk(tmp_path: Path) -> None:
    scene = Scene(tmp_path, plane=Plane(at_once=False))
    with closing(open_log(tmp_path)) as writer:
        add(writer, *(b"%d" % number for number in range(TOLD_COUNT + 1)))
        async with scene.followed() as follower:
            await wait_until(lambda: len(scene.plane.records) == TOLD_COUNT)
            scene.plane.commit()
            await wait_until(lambda: len(scene.plane.records) == TOLD_COUNT + 1)
            scene.plane.commit()
            await wait_until(lambda: follower.statistics().messages == TOLD_COUNT + 1)


async def test_nothing_is_taken_while_the_disk_is_too_full(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_held=True)
    with closing(open_log(tmp_path)) as writer:
        add(writer, b"1")
        async with scene.followed() as follower:
            await wait_until(lambda: follower.statistics().behind_records == 1)
            assert scene.plane.records == []
            scene.is_held = False
            await wait_until(lambda: scene.plane.payloads == [b"1"])


async def test_what_is_damaged_is_skipped_and_counted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with closing(open_log(tmp_path)) as writer:
        add(writer, b"lost")
        add(writer, b"kept")
        damage(tmp_path)
        async with scene.followed() as follower:
            await wait_until(lambda: scene.plane.payloads == [b"kept"])
            assert follower.statistics().skipped_records == 1


async def test_a_copy_that_was_begun_anew_is_followed_from_its_head(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "copy")
    with closing(open_log(scene.folder)) as writer:
        add(writer, b"1", b"2", b"3")
    async with scene.followed() as follower:
        await wait_until(lambda: follower.statistics().messages == 3)
    cursors = tmp_path / "cursors"
    (scene.folder / "cursors").rename(cursors)
    shutil.rmtree(scene.folder)
    with closing(open_log(scene.folder)) as writer:
        add(writer, b"other")
        cursors.rename(scene.folder / "cursors")
        async with scene.followed() as follower:
            await wait_until(lambda: read_cursor(OsDisk(), scene.folder / "cursors" / "site") == 2)
            add(writer, b"new")
            await wait_until(lambda: scene.plane.payloads[3:] == [b"new"])
