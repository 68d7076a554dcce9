"""Looking back into the log: the newest of some topics, and records at given positions."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.pipeline import kept_messages as module
from appliance.pipeline.kept_messages import KeptMessage, KeptMessages
from storage.log.columns import Kind
from storage.log.reader import LogReader
from tests.log_kit import Record, append, open_log


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptMessages:
    monkeypatch.setattr(module, "_STEP_RECORDS", 3)
    monkeypatch.setattr(module, "_STEP_RECORDS_MAX", 4)
    writer = open_log(tmp_path / "log")
    for start in range(0, 20, 5):
        append(
            writer,
            [
                Record(b"%d" % n, topic=b"even" if n % 2 == 0 else b"odd", at_ms=1_000 + n)
                for n in range(start, start + 5)
            ],
        )
    append(writer, [Record(b"", topic=b"even", flags=1), Record(b"{}", topic=b"", kind=Kind.BROKER_STARTED)])
    return KeptMessages(LogReader(tmp_path / "log"), lambda: 0)


def payloads(messages: object) -> list[int]:
    return [int(message.payload) for message in messages]  # type: ignore[attr-defined]


def test_the_newest_of_some_topics_come_first(kept: KeptMessages) -> None:
    found = kept.recent(lambda topic: topic == "even", 3)
    assert (payloads(found.messages), found.is_whole) == ([18, 16, 14], True)
    newest = found.messages[0]
    assert (newest.position, newest.received_at_ms, newest.topic, newest.client_id) == (
        (1, 19),
        1_018,
        b"even",
        "dev-1",
    )


def test_all_of_the_log_is_looked_through_when_need_be(kept: KeptMessages) -> None:
    found = kept.recent(lambda topic: topic == "odd", 100)
    assert payloads(found.messages) == list(range(19, 0, -2))
    assert kept.recent(lambda _: False, 100).messages == []


def test_a_look_ends_at_its_limits_and_says_so(kept: KeptMessages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT_LOOK_BYTES_MAX", 0)
    found = kept.recent(lambda topic: topic == "even", 100)
    assert not found.is_whole
    assert 0 < found.looked_at < 22
    monkeypatch.setattr(module, "RECENT_LOOK_BYTES_MAX", 10**9)
    times = iter(range(0, 100_000, 1_500))
    kept._mono_ms = lambda: next(times)
    assert not kept.recent(lambda topic: topic == "even", 100).is_whole


def test_records_are_found_by_position_and_only_messages_are(kept: KeptMessages) -> None:
    found = kept.at([(1, 3), (1, 1), (1, 20), (1, 22), (2, 4), (1, 99)])
    assert {position: message.payload for position, message in found.items()} == {
        (1, 1): b"0",
        (1, 3): b"2",
        (1, 20): b"19",
    }


def test_an_empty_log_has_nothing(tmp_path: Path) -> None:
    kept = KeptMessages(LogReader(tmp_path / "none"), lambda: 0)
    assert kept.recent(lambda _: True, 5).messages == []
    assert kept.at([(1, 1)]) == {}


def test_a_damaged_block_is_passed_over(tmp_path: Path) -> None:
    writer = open_log(tmp_path / "log")
    for n in range(3):
        append(writer, [Record(b"%d" % n * 200, topic=b"t")])
    (segment,) = [path for path in (tmp_path / "log").iterdir() if path.suffix in (".open", ".seg")]
    data = bytearray(segment.read_bytes())
    at = data.find(b"1" * 100)
    assert at > 0, "small bodies are stored as they are"
    data[at] ^= 1
    segment.write_bytes(bytes(data))
    kept = KeptMessages(LogReader(tmp_path / "log"), lambda: 0)
    assert [message.payload[:1] for message in kept.recent(lambda _: True, 5).messages] == [b"2", b"0"]
    assert kept.at([(1, 2)]) == {}


def test_a_message_is_a_block_of_its_own() -> None:
    message = KeptMessage(
        epoch=3, seq=9, received_at_ms=77, topic=b"t", payload=b"p", client_id="c", principal="u"
    )
    block, columns = message.as_block()
    assert (block.epoch, block.first_seq, block.next_seq, block.first_time_ms) == (3, 9, 10, 77)
    assert (len(columns), columns.payload(0), columns.clients[0]) == (1, b"p", ("c", "u"))
