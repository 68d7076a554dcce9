"""What a region lost is seen in its listing and put again, from here or from another region; what nobody has is counted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from replication.tier.auditing import WALK_COUNT, Auditor
from replication.tier.keys import SiteTierKeys
from replication.tier.local_pieces import LocalPieces
from replication.tier.pieces import PieceName
from replication.tier.region_calls import RegionCalls
from replication.tier.steps import EMPTY, Audit, Audited, Failed, Nothing, Ship, Shipped
from storage.replicas.streams import StreamId
from tests.replica_kit import ORIGIN, make_log
from tests.tier_kit import MemoryTier, piece_after, pieces_after
from tests.unit.test_replication_tier_region_calls import end_of

KEYS = SiteTierKeys(lambda label: label.encode().ljust(32, b"."), 1)
AUDIT = Audit(number=1, region="eu", stream=ORIGIN)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("own")
    writer = make_log(folder, 30)
    yield folder
    writer.close()


class Rig:
    """A region with a whole log in it, and who audits it."""

    def __init__(
        self, tier: MemoryTier, calls: RegionCalls, names: list[PieceName], auditor: Auditor
    ) -> None:
        self.tier, self.calls, self.names, self.auditor = tier, calls, names, auditor

    async def audit(self) -> Audited:
        found = await self.auditor.audit(AUDIT)
        assert isinstance(found, Audited)
        return found

    @property
    def kept(self) -> list[PieceName]:
        return self.tier.of_epoch.get((ORIGIN, 1), [])

    @property
    def records(self) -> int:
        return self.names[-1].next_seq


@asynccontextmanager
async def rig(directory: Path, *, others: list[RegionCalls] | None = None) -> AsyncIterator[Rig]:
    tier, local = MemoryTier(), LocalPieces.in_files(lambda stream: directory)
    async with tier.open() as engine:
        calls = RegionCalls(engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)
        names: list[PieceName] = []
        place = EMPTY
        while True:
            step = Ship(number=1, region="eu", stream=ORIGIN, place=place, bytes_max=20_000)
            outcome = await calls.ship(step)
            if isinstance(outcome, Nothing):
                break
            assert isinstance(outcome, Shipped)
            names.append(outcome.name)
            place = end_of(outcome.name)
        auditor = Auditor("eu", calls, lambda besides: others or [], KEYS, random.Random(1), {})
        yield Rig(tier, calls, names, auditor)
        local.close()


async def test_what_is_whole_is_left_alone(directory: Path) -> None:
    async with rig(directory) as box:
        assert (await box.audit()) == Audited(looked_count=len(box.names), mended_count=0)
        again = await box.audit()
        assert again.mended_count == again.lost_count == 0
        assert again.looked_count < len(box.names)  # what was walked is walked again in shares


@pytest.mark.parametrize("lost", [1, -2, slice(1, 3)])
async def test_what_is_gone_in_the_middle_is_put_again(directory: Path, lost: int | slice) -> None:
    async with rig(directory) as box:
        for name in box.names[lost] if isinstance(lost, slice) else [box.names[lost]]:
            box.tier.lose(name)
        found = await box.audit()
        assert found.mended_count >= 1
        assert found.lost_count == 0
        assert all(two.follows(one) for one, two in zip(box.kept, box.kept[1:], strict=False))
        assert (box.kept[0].first_seq, box.kept[-1].next_seq) == (1, box.records)


async def test_what_was_walked_before_is_looked_at_again_within_as_many_walks(directory: Path) -> None:
    async with rig(directory) as box:
        await box.audit()
        for name in (box.names[0], box.names[2]):
            box.tier.lose(name)
        mended = 0
        for _ in range(WALK_COUNT):
            mended += (await box.audit()).mended_count
        assert mended >= 2
        assert box.kept[0].first_seq == 1
        assert all(two.follows(one) for one, two in zip(box.kept, box.kept[1:], strict=False))


async def test_all_of_an_epoch_that_is_gone_is_put_again(directory: Path) -> None:
    async with rig(directory) as box:
        await box.audit()
        for name in box.names:
            box.tier.lose(name)
        box.calls._epochs.clear()
        assert (await box.audit()).mended_count >= 1
        assert (box.kept[0].first_seq, box.kept[-1].next_seq) == (1, box.records)


async def test_bytes_that_are_not_what_was_put_are_replaced(directory: Path) -> None:
    async with rig(directory) as box:
        for name in box.names:
            box.tier.data[name.stream, name.epoch, name.first_seq] = b"rubbish"
        assert (await box.audit()).mended_count == 1
        good = [data for data in box.tier.data.values() if data != b"rubbish"]
        assert len(good) == 1


async def test_what_is_not_kept_here_comes_from_the_other_region_and_else_is_lost(
    directory: Path, tmp_path: Path
) -> None:
    async with rig(directory) as other:
        for others, mended, lost in (([other.calls], 1, 0), ([], 0, 1)):
            async with rig(directory, others=others) as box:
                gone = box.names[2]
                box.tier.lose(gone)
                box.calls._local = LocalPieces.in_files(lambda stream: tmp_path / "nothing")
                found = await box.audit()
                assert found.mended_count == mended
                assert (found.lost_count > 0) == bool(lost)
                if lost:
                    assert found.lost_first_seq == gone.first_seq
                    assert found.lost_count == gone.next_seq - gone.first_seq


@pytest.mark.parametrize("lost", [(0,), (1,), (3,), (0, 1, 2, 3)])
async def test_what_is_gone_of_a_second_history_is_put_again_with_its_stream(
    directory: Path, tmp_path: Path, lost: tuple[int, ...]
) -> None:
    branch = StreamId(ORIGIN.node_id, ORIGIN.name, "0badcafe")
    pieces = pieces_after(None, 4, stream=branch)
    local = LocalPieces.in_files(lambda stream: tmp_path / "nothing" if stream.branch else directory)
    async with rig(directory) as other, rig(directory, others=[other.calls]) as box:
        box.calls._local = other.calls._local = local
        async with other.tier.open() as east, box.tier.open() as west:
            for piece in pieces:
                await east.put(piece)
                await west.put(piece)
        for number in lost:
            box.tier.lose(pieces[number].name)
        found = await box.audit()
        assert (found.mended_count, found.lost_count) == (len(lost), 0)
        assert box.tier.of_epoch[branch, 1] == [piece.name for piece in pieces]
        assert (await box.audit()).mended_count == 0


async def test_a_second_history_that_another_box_goes_on_with_or_that_cannot_be_asked_for_waits(
    directory: Path, tmp_path: Path
) -> None:
    branch = StreamId(ORIGIN.node_id, ORIGIN.name, "0badcafe")
    pieces = pieces_after(None, 3, stream=branch)
    local = LocalPieces.in_files(lambda stream: tmp_path / "nothing" if stream.branch else directory)
    async with rig(directory) as other, rig(directory, others=[other.calls]) as box:
        box.calls._local = other.calls._local = local
        async with other.tier.open() as east, box.tier.open() as west:
            for piece in pieces:
                await east.put(piece)
            await west.put(pieces[0])
            await west.put(piece_after(pieces[0].name, stream=branch, word="another"))
        assert (await box.audit()).lost_count == 0
        assert box.tier.of_epoch[branch, 1][0] == pieces[0].name
        other.tier.is_away = True
        other.calls._epochs.clear()
        assert (await box.audit()).mended_count == 0


async def test_a_region_that_is_away_is_asked_later(directory: Path) -> None:
    async with rig(directory) as box:
        box.tier.is_away = True
        box.calls._epochs.clear()
        assert isinstance(await box.auditor.audit(AUDIT), Failed)
