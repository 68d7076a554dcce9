"""A store that was lost at any moment and rebuilt from copy, archive and log is the one that never stopped, row for row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.management.mapping import DEFAULT_MAPPINGS, TopicMapping
from appliance.management.mapping_history import BEGINNING, MappingHistory, MappingSet
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.rebuild import Rebuild
from appliance.pipeline.rules import LogRules
from storage.archive.adopting import adopt_all
from storage.telemetry.batch import DAY_MS
from storage.telemetry.store import TelemetryStore
from tests.backlog_kit import NOW, ByHand, Stream
from tests.log_kit import append, open_log

MAPPING = TopicMapping(pattern="other/{device}", format="text", metric="word")


def register(store: TelemetryStore) -> Sequence[StorageError]:
    return adopt_all(store)[1]


async def _same(seed: int, folder: Path) -> tuple[int, int]:
    """Returns: how often a copy was put back, and how often a day was archived."""
    choose = random.Random(seed)
    stream = Stream(seed, step_ms=20 * 60_000)
    writer = open_log(folder / "log")
    clock = ManualClock(now_ms=NOW)
    epoch, first = BEGINNING
    sets = MappingSets(
        MappingHistory([MappingSet(number=1, epoch=epoch, from_seq=first, mappings=DEFAULT_MAPPINGS)])
    )
    rules = LogRules(sets)
    (folder / "b").mkdir()
    lost = ByHand(folder / "b" / "t.duckdb", folder / "log", rules)
    published = 0

    def publish(next_seq: int) -> None:
        nonlocal published
        published = next_seq

    rebuild = Rebuild(
        folder / "b" / "archive" / "state", published=lambda: published, clock=clock, register=register
    )
    copies = archived = 0
    for _ in range(choose.randrange(15, 40)):
        append(writer, stream.block(choose.randrange(1, 30)))
        clock.advance(choose.randrange(8 * 3_600_000))
        what = choose.random()
        if what < 0.6:
            await lost.to_the_end()
            rebuild.say_needed(lost.store, publish)
        elif what < 0.7 and sets.count < 3:
            head = lost.reading.look()
            sets.release(
                [MappingSet(number=2, epoch=1, from_seq=head, mappings=(MAPPING, *DEFAULT_MAPPINGS))]
            )
        elif what < 0.85:
            await lost.to_the_end()
            today = max(lost.days(), default=0)
            for day in lost.days():
                if day < today and choose.random() < 0.7:
                    archived += lost.archive(day)
            rebuild.say_needed(lost.store, publish)
        else:
            lost.lose()
            begun = rebuild.begin(lost.store, lost.reading.look(), lost.reading.links)
            copies += begun and lost.store.read_cursor().next_seq > 1
            lost.reading.load()
            if choose.random() < 0.5 and lost.reading.waiting():
                lost.reading.pass_over(is_rebuild=True)
    writer.close()
    await lost.to_the_end()
    (folder / "a").mkdir()
    never = ByHand(folder / "a" / "t.duckdb", folder / "log", rules)
    await never.to_the_end()
    expected, found = map(stream.first_arrivals, (never.contents(), lost.contents()))
    never.close()
    lost.close()
    for name, value in expected.items():
        # Rows of archived days are counted where they were made, and not again.
        if name != "totals":
            assert found[name] == value, f"{name} differs, seed {seed}"
    assert NOW // DAY_MS
    return copies, archived


@pytest.mark.parametrize("count", [2, pytest.param(150, marks=pytest.mark.long)], ids=["sample", "many"])
def test_a_rebuild_is_the_store_that_never_stopped(count: int) -> None:
    first = random.SystemRandom().randrange(1 << 32)
    print(f"seeds from {first}")
    copies = archived = 0
    for seed in range(first, first + count):
        with TemporaryDirectory() as folder:
            more = trio.run(_same, seed, Path(folder))
            copies, archived = copies + more[0], archived + more[1]
    # Of a few streams perhaps none lost its store after a copy was made.
    assert count < 20 or (copies and archived)
