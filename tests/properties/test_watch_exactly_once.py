"""Wherever the node is killed, and however the log was cut: what rules find is what they would have found undisturbed, each of it once."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.config import WatchConfig
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import (
    Anomaly,
    AnyCondition,
    Comparison,
    MissingFraction,
    NoData,
    Rate,
    Repetition,
    Stuck,
    Threshold,
)
from appliance.pipeline.rule_sets import RuleSets
from appliance.run.watch_wiring import make_watch
from storage.catalog.rules import RuleVersion
from storage.log.columns import Kind
from tests.log_kit import Record, append, open_log
from tests.watch_kit import NOW, WatchedByHand, small_watch

DEVICES = ("a", "b", "c")


class Readings:
    """Devices whose readings go up and down, stay away and are overtaken, within the lateness."""

    def __init__(self, choose: random.Random) -> None:
        self._choose = choose
        self.at_ms = NOW
        self._seq: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def block(self, count: int) -> list[Record]:
        return [self._record() for _ in range(count)]

    def _record(self) -> Record:
        choose = self._choose
        self.at_ms += choose.choice((1, 30, 300, 900, 12_000 if choose.random() < 0.1 else 5))
        device = choose.choice(DEVICES)
        if choose.random() < 0.03:
            kind = choose.choice((Kind.BROKER_STARTED, Kind.CLOCK_AHEAD))
            return Record(b"", b"", self.at_ms, kind, "", "")
        self._seq[device] = self._seq.get(device, 0) + 1
        ts = max(self._last.get(device, 0) + 1, self.at_ms - choose.choice((0, 0, 0, 0, 200)))
        self._last[device] = ts
        body = {"ts": ts, "seq": self._seq[device], "boot_id": "b", "v": {"t": choose.randrange(0, 11)}}
        topic = b"dm/%s/telemetry" % device.encode()
        return Record(msgspec.json.encode(body), topic, self.at_ms, principal=device)


def of_all_kinds() -> RuleSets:
    """Rules that look at single readings, at the clock, and at several series."""
    scope = RuleScope(all=True)
    conditions: list[AnyCondition] = [
        Threshold(is_="above", limit=5.0, hysteresis=1.0),
        NoData(expected_s=10.0, times=3.0),
        Rate(direction="rising", limit=3.0, over_s=2.0),
        Repetition(is_="above", limit=5.0, count=3, within_s=60.0),
        Stuck(for_s=5.0),
        Anomaly(sensitivity="high"),
        Comparison(with_="group", limit=4.0),
        MissingFraction(fraction=0.5, expected_s=10.0, times=3.0),
    ]
    return RuleSets(
        [
            RuleVersion(
                number=number,
                rule_id=f"r{number}",
                name=f"r{number}",
                version=1,
                epoch=0,
                from_seq=1,
                definition=RuleDefinition(
                    severity="P2", scope=scope, metric="t", condition=condition, on_delay_s=number % 3 * 2.0
                ),
                changed_by="",
                changed_at_ms=0,
            )
            for number, condition in enumerate(conditions, start=1)
        ]
    )


async def _same(seed: int, folder: Path, *, is_real: bool) -> tuple[int, int]:
    sets = of_all_kinds() if is_real else None
    make = partial(make_watch, WatchConfig()) if is_real else small_watch
    choose = random.Random(seed)
    clock = ManualClock(NOW)
    readings = Readings(choose)
    writer = open_log(folder / "log")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    killed = WatchedByHand(folder / "b" / "t.duckdb", folder / "log", clock, sets, make)
    deaths = again = 0
    for _ in range(choose.randrange(10, 30)):
        append(writer, readings.block(choose.randrange(1, 30)))
        clock.advance(choose.choice((50, 500, 30_000, 61_000)))
        what = choose.random()
        if what < 0.25:
            again += killed.watch.feed.statistics(killed.reading.cursor).found_again_total
            killed.restart()  # between two transactions
            deaths += 1
        elif what < 0.4:
            await killed.build(choose.choice((1, 50)))  # built, and never stored
            again += killed.watch.feed.statistics(killed.reading.cursor).found_again_total
            killed.restart()
            deaths += 1
        elif what < 0.5:
            pending = await killed.build()
            if pending is not None:
                killed.store.commit(pending.batch)  # stored, and nobody was told
                killed.restart()
                deaths += 1
        elif what < 0.8:
            await killed.step(choose.choice((1, 50)))
        elif what < 0.95:
            await killed.look(is_quiet=False)
        else:
            killed.watch.stop()
            killed.restart()
    writer.close()
    clock.advance(max(10_000, readings.at_ms + 60_000 - clock.now_ms()))
    await killed.to_the_end()
    again += killed.watch.feed.statistics(killed.reading.cursor).found_again_total
    undisturbed = WatchedByHand(folder / "a" / "t.duckdb", folder / "log", clock, sets, make)
    await undisturbed.to_the_end()
    expected, found = undisturbed.found(), killed.found()
    assert len(set(found)) == len(found), f"found twice, seed {seed}"
    assert sorted(found) == sorted(expected), f"seed {seed}"
    for key in {each[:2] for each in expected}:
        mine = [each for each in found if each[:2] == key]
        assert mine == [each for each in expected if each[:2] == key], f"in another order, seed {seed}"
    killed.close()
    undisturbed.close()
    assert len(expected) > 3
    return deaths, again


@pytest.mark.parametrize("count", [2, pytest.param(300, marks=pytest.mark.long)], ids=["sample", "many"])
@pytest.mark.parametrize("is_real", [False, True], ids=["small", "real"])
def test_what_rules_find_is_found_once(count: int, is_real: bool) -> None:
    first = random.SystemRandom().randrange(1 << 32)
    print(f"seeds from {first}")
    deaths = again = 0
    for seed in range(first, first + count):
        with TemporaryDirectory() as folder:
            one, other = trio.run(partial(_same, is_real=is_real), seed, Path(folder))
            deaths, again = deaths + one, again + other
    assert deaths > count
    assert again, "nothing was found once more: the test shows nothing"
