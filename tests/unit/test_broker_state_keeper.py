"""Bringing the state back at the start, and keeping its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing

import broker.state.keeper
from appliance.core.believed_time import BelievedTime
from appliance.core.errors import CursorExpired, LogDamaged
from broker.state.broker_state import BrokerState
from broker.state.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from broker.state.keeper import (
    CHECK_S,
    CHECKPOINT_INTERVAL_MS,
    CHECKPOINT_LOG_BYTES,
    EXPIRY_CHECK_COUNT,
    StateKeeper,
    recover,
)
from storage.log.block import Block
from storage.log.head import NOTHING_YET, Head
from tests.session_kit import CONFIG, ListLog, Stage


class LogOfStage:
    """A log's reader over a stage's list."""

    def __init__(self, log: ListLog) -> None:
        self.log = log
        self.first = 1

    def head(self) -> Head:
        return replace(NOTHING_YET, next_seq=self.log.next_seq)

    def first_seq(self) -> int:
        return self.first

    def read(self, seq: int) -> list[Block]:
        return self.log.read(seq)


@dataclass
class Written:
    """A writer that has appended so much."""

    frame_bytes_total: int

    def statistics(self) -> Written:
        return self


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Five retained messages, a block each, and a session in front of them."""
    made = Stage()
    made.connect().subscribe("t/#")
    for number in range(5):
        made.publish(b"%d" % number, topic=f"t/{number}", retain=True)
    yield made
    made.end()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


def back(path: Path, stage: Stage, *, first_seq: int = 1) -> BrokerState:
    reader = LogOfStage(stage.log)
    reader.first = first_seq
    return recover(path, reader, lambda: BrokerState.empty(CONFIG))


def topics(state: BrokerState) -> list[str]:
    return sorted(message.topic.decode() for message in state.retained.messages())


ALL = [f"t/{number}" for number in range(5)]


class TestRecover:
    def test_from_the_log_alone(self, stage: Stage, path: Path) -> None:
        state = back(path, stage)
        assert topics(state) == ALL
        assert state.next_seq == stage.log.next_seq
        assert state.sessions.get("c") is not None

    def test_only_what_came_after_the_checkpoint_is_read(self, stage: Stage, path: Path) -> None:
        write_checkpoint(path, stage.state.checkpoint())
        stage.publish(b"5", topic="t/5", retain=True)
        reads = stage.log.reads
        state = back(path, stage)
        assert topics(state) == [*ALL, "t/5"]
        assert stage.log.reads == reads + 1

    def test_an_empty_log(self, path: Path) -> None:
        stage = Stage()
        state = back(path, stage)
        assert (state.next_seq, len(state.sessions), topics(state)) == (1, 0, [])

    @pytest.mark.parametrize("damage", ["bytes", "ahead", "nonsense"])
    def test_a_checkpoint_that_is_no_good_costs_time_only(
        self, stage: Stage, path: Path, damage: str
    ) -> None:
        if damage == "bytes":
            path.write_bytes(b"HPBROKER and nothing more")
        elif damage == "ahead":
            write_checkpoint(path, Checkpoint(next_seq=stage.log.next_seq + 1, retained=[]))
        else:
            write_checkpoint(path, Checkpoint(next_seq=2, retained=[], sessions=[{"client_id": "x"}]))
        state = back(path, stage)
        assert topics(state) == ALL
        assert [session.client_id for session in state.sessions] == ["c"]

    def test_what_the_log_no_longer_holds_is_known_from_the_checkpoint(
        self, stage: Stage, path: Path
    ) -> None:
        write_checkpoint(path, stage.state.checkpoint())
        for number in (5, 6):
            stage.publish(b"x", topic=f"t/{number}", retain=True)
        first_seq = stage.log.blocks[-1].first_seq
        del stage.log.blocks[:-1]
        assert topics(back(path, stage, first_seq=first_seq)) == [*ALL, "t/6"]

    @pytest.mark.parametrize("error", [LogDamaged, CursorExpired])
    def test_what_can_not_be_read_is_skipped(
        self, stage: Stage, path: Path, error: type[LogDamaged | CursorExpired]
    ) -> None:
        first_seq, after_seq = stage.log.blocks[3].first_seq, stage.log.blocks[4].first_seq
        if error is LogDamaged:
            stage.log.errors[first_seq] = LogDamaged("bits", first_seq=first_seq, next_seq=after_seq)
        else:
            stage.log.errors[first_seq] = CursorExpired("gone")
        state = back(path, stage)
        known = topics(state)
        assert state.next_seq == stage.log.next_seq
        assert known[:1] == ["t/0"]
        assert ("t/4" in known) is (error is LogDamaged), "nobody knows where it goes on"


class TestKeeper:
    def keeper(self, path: Path, stage: Stage) -> StateKeeper:
        return StateKeeper(path, stage.state, stage.clock, trio.lowlevel.checkpoint)

    async def test_written_when_asked(self, stage: Stage, path: Path) -> None:
        keeper = self.keeper(path, stage)
        await keeper.write()
        checkpoint = read_checkpoint(path)
        assert checkpoint is not None
        assert checkpoint.next_seq == stage.log.next_seq
        assert len(checkpoint.retained) == 5
        assert (keeper.checkpoint_count, keeper.failure_count) == (1, 0)

    async def test_a_disk_that_fails_is_told_and_tried_again(self, stage: Stage, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        keeper = self.keeper(tmp_path / "file" / "checkpoint", stage)
        await keeper.write()
        assert (keeper.checkpoint_count, keeper.failure_count) == (0, 1)
        stage.publish(b"5", topic="t/5", retain=True)
        stage.clock.advance(CHECKPOINT_INTERVAL_MS)
        assert keeper._is_due()

    async def test_a_clock_in_2099_hides_retained_messages_and_forgets_none(
        self, stage: Stage, path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        now_ms = stage.clock.now_ms()
        (kept,) = [each for each in stage.state.retained.messages() if each.topic == b"t/0"]
        stage.state.retained.keep(kept._replace(expires_at_ms=now_ms + 1_000))
        believed = BelievedTime(stage.clock, last_ms=now_ms)
        keeper = StateKeeper(path, stage.state, stage.clock, trio.lowlevel.checkpoint, believed=believed)
        stage.clock.set_wall(4_070_908_800_000)
        with trio.move_on_after(3 * EXPIRY_CHECK_COUNT * CHECK_S):
            await keeper.run()
        assert topics(stage.state) == ALL
        stage.clock.set_wall(now_ms + 1_000)
        with trio.move_on_after(3 * EXPIRY_CHECK_COUNT * CHECK_S):
            await keeper.run()
        assert topics(stage.state) == ALL[1:]

    async def test_large_messages_are_not_all_read_again_at_a_start(self, stage: Stage, path: Path) -> None:
        written = Written(7 * CHECKPOINT_LOG_BYTES)
        keeper = StateKeeper(path, stage.state, stage.clock, trio.lowlevel.checkpoint, written)
        written.frame_bytes_total += CHECKPOINT_LOG_BYTES - 1
        assert not keeper._is_due(), "nothing has changed, and what a start would read is little"
        written.frame_bytes_total += 1
        assert keeper._is_due()
        await keeper.write()
        assert not keeper._is_due()

    async def test_what_a_start_has_read_is_not_read_by_the_next_one(self, stage: Stage, path: Path) -> None:
        state = back(path, stage)
        keeper = StateKeeper(path, state, stage.clock, trio.lowlevel.checkpoint)
        assert keeper._is_due()
        await keeper.write()
        assert not keeper._is_due()
        after = back(path, stage)
        assert after.replayed_count == 0
        assert topics(after) == ALL
        assert not StateKeeper(path, after, stage.clock, trio.lowlevel.checkpoint)._is_due()

    def test_when_it_is_due(self, stage: Stage, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        keeper = self.keeper(path, stage)
        stage.clock.advance(CHECKPOINT_INTERVAL_MS)
        assert not keeper._is_due(), "nothing has changed"
        stage.publish(b"5", topic="t/5", retain=True)
        assert keeper._is_due()
        keeper = self.keeper(path, stage)
        stage.publish(b"6", topic="t/6", retain=True)
        stage.clock.advance(CHECKPOINT_INTERVAL_MS - 1)
        assert not keeper._is_due(), "not so soon"
        monkeypatch.setattr(broker.state.keeper, "CHECKPOINT_RECORD_COUNT", 3)
        stage.publish(b"x", b"y", topic="else")
        assert keeper._is_due(), "after so many records whatever they are"

    async def test_it_looks_from_time_to_time(
        self, stage: Stage, path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        autojump_clock.autojump_threshold = 0.02  # real seconds in which the thread that writes has its turn
        keeper = self.keeper(path, stage)
        stage.publish(b"5", topic="t/5", retain=True)
        stage.clock.advance(CHECKPOINT_INTERVAL_MS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            await trio.sleep(CHECK_S / 2)
            assert keeper.checkpoint_count == 0
            with trio.fail_after(1000):
                while not keeper.checkpoint_count:  # noqa: ASYNC110 - counted behind a thread
                    await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert not keeper._is_due()
