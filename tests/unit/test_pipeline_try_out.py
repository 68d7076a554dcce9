"""Trying a mapping: what is shown is what would be stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import LimitExceeded
from appliance.management.mapping import FieldRule, TopicMapping
from appliance.pipeline import try_out as module
from appliance.pipeline.kept_messages import KeptMessage, KeptMessages
from appliance.pipeline.try_out import TryOuts
from storage.log.reader import LogReader
from tests.log_kit import Record, append, open_log

NOW = 1_700_000_000_000
MAPPING = TopicMapping(pattern="tele/{device}/S", fields=(FieldRule(path="t", metric="celsius", scale=0.1),))


@pytest.fixture
def try_outs(tmp_path: Path) -> TryOuts:
    records = [
        Record(b'{"t": 215, "on": true, "mode": "eco"}', topic=b"tele/a/S", at_ms=NOW),
        Record(b"nonsense", topic=b"tele/b/S", at_ms=NOW),
        Record(b'{"t": 1}', topic=b"else", at_ms=NOW),
    ]
    append(open_log(tmp_path / "log"), records)
    return TryOuts(KeptMessages(LogReader(tmp_path / "log"), lambda: 0))


async def test_each_message_shows_its_readings_or_why_it_has_none(try_outs: TryOuts) -> None:
    found = await try_outs.on_log(MAPPING, [], 10)
    bad, good = found.tried
    assert [(row.device, row.metric, row.value, row.quality) for row in good.rows] == [
        ("a", "celsius", 21.5, 1), ("a", "mode", "eco", 1), ("a", "on", True, 1),
    ]  # fmt: skip
    assert (good.row_count, good.reason, good.fits) == (3, "", True)
    assert (bad.rows, bad.reason, bad.fits) == ((), "bad_json", False)
    assert (found.fit_count, found.looked_at, found.is_whole) == (1, 3, True)


async def test_a_mapping_that_comes_before_takes_the_topic(try_outs: TryOuts) -> None:
    found = await try_outs.on_log(MAPPING, [TopicMapping(pattern="tele/{device}/+")], 10)
    assert {each.taken_by for each in found.tried} == {"tele/{device}/+"}
    assert found.fit_count == 0


async def test_presence_can_t_be_mapped(tmp_path: Path) -> None:
    append(open_log(tmp_path / "log"), [Record(b'{"state": "online"}', topic=b"dm/a/status")])
    found = await TryOuts(KeptMessages(LogReader(tmp_path / "log"), lambda: 0)).on_log(
        TopicMapping(pattern="dm/{device}/#"), [], 10
    )
    assert [each.taken_by for each in found.tried] == ["dm/{device}/status"]


async def test_given_messages_are_taken_whole_from_the_log_where_it_has_them(try_outs: TryOuts) -> None:
    cut = KeptMessage(epoch=1, seq=1, received_at_ms=NOW, topic=b"tele/a/S", payload=b'{"t": 2')
    gone = KeptMessage(epoch=1, seq=77, received_at_ms=NOW, topic=b"tele/a/S", payload=b'{"t": 5}')
    found = await try_outs.on_messages(MAPPING, [], [cut, gone])
    assert [each.row_count for each in found.tried] == [3, 1]


async def test_few_rows_of_a_large_message_are_shown(
    try_outs: TryOuts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRY_OUT_ROW_COUNT_MAX", 2)
    (_, good) = (await try_outs.on_log(MAPPING, [], 10)).tried
    assert (len(good.rows), good.row_count) == (2, 3)


async def test_few_wait_for_the_one_under_way(try_outs: TryOuts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_OUT_WAITING_COUNT_MAX", 0)
    with pytest.raises(LimitExceeded) as full:
        await try_outs.on_log(MAPPING, [], 1)
    assert full.value.code == "try_out_waiting"
