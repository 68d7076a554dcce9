"""Which messages of another node are wanted here."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.delivery import NEVER
from broker.site.wanted import wanted_records
from broker.state.retained import RetainedMessage, RetainedMessages
from storage.log.block import Block
from storage.log.columns import Kind
from storage.log.reader import LogReader
from tests.log_kit import Record, append, open_log

NOW_MS = 1_700_000_000_000
RETAIN, QOS_1, DUP = 1, 2, 8


@pytest.fixture
def retained() -> RetainedMessages:
    return RetainedMessages(messages_max=100, bytes_max=10_000)


def written(folder: Path, *records: Record) -> Block:
    writer = open_log(folder)
    append(writer, records)
    writer.close()
    reader = LogReader(folder)
    (block,) = reader.read(1)
    reader.close()
    return block


def payloads(
    block: Block, retained: RetainedMessages, *topics: bytes, first_seq: int = 1, since: int = 0
) -> list[bytes]:
    found = wanted_records(
        block,
        block.columns(),
        first_seq=first_seq,
        is_subscribed=lambda topic: topic in topics,
        retained=retained,
        history_before_ms=since,
    )
    return [record.payload for record in found]


def kept(payload: bytes, at_ms: int) -> RetainedMessage:
    return RetainedMessage(
        seq=1, client_id="c", topic=b"r", payload=payload, properties=b"", qos=0,
        received_at_ms=at_ms, expires_at_ms=NEVER,
    )  # fmt: skip


def test_what_somebody_subscribed_to_comes_as_it_was_received(
    tmp_path: Path, retained: RetainedMessages
) -> None:
    block = written(
        tmp_path,
        Record(b"0", b"not wanted", NOW_MS),
        Record(b"1", b"t", NOW_MS + 5, flags=QOS_1 | DUP, client_id="id", principal="dev"),
        Record(b"2", b"t", NOW_MS + 9, kind=Kind.SERVER_PUBLISH),
    )
    first, second = wanted_records(
        block,
        block.columns(),
        first_seq=1,
        is_subscribed=lambda topic: topic == b"t",
        retained=retained,
        history_before_ms=NOW_MS,
    )
    assert (first.kind, first.client, first.topic, first.payload) == (
        Kind.SITE_PUBLISH,
        ("id", "dev"),
        b"t",
        b"1",
    )
    assert (first.flags, first.received_at_ms) == (QOS_1, NOW_MS + 5)
    assert second.received_at_ms == NOW_MS + 9


def test_what_the_other_node_took_from_others_makes_no_circle(
    tmp_path: Path, retained: RetainedMessages
) -> None:
    block = written(
        tmp_path, Record(b"1", b"t", kind=Kind.SITE_PUBLISH), Record(b"2", b"t", kind=Kind.SESSION_OPENED)
    )
    assert payloads(block, retained, b"t") == []


@pytest.mark.parametrize("topic", [b"$SYS/x", b"dm/site/brokers"])
def test_what_each_node_says_of_itself_stays_there(
    tmp_path: Path, retained: RetainedMessages, topic: bytes
) -> None:
    assert payloads(written(tmp_path, Record(b"1", topic, flags=RETAIN)), retained, topic) == []


def test_records_looked_at_before_are_left_out(tmp_path: Path, retained: RetainedMessages) -> None:
    block = written(tmp_path, *(Record(b"%d" % number, b"t") for number in range(4)))
    assert payloads(block, retained, b"t", first_seq=3) == [b"2", b"3"]


def test_history_counts_only_for_what_is_kept(tmp_path: Path, retained: RetainedMessages) -> None:
    block = written(
        tmp_path,
        Record(b"old", b"t", NOW_MS),
        Record(b"old and kept", b"t", NOW_MS, flags=RETAIN),
        Record(b"new", b"t", NOW_MS + 1),
    )
    assert payloads(block, retained, b"t", since=NOW_MS + 1) == [b"old and kept", b"new"]


def test_what_is_to_be_kept_comes_without_a_subscription_where_it_is_newer(
    tmp_path: Path, retained: RetainedMessages
) -> None:
    block = written(
        tmp_path, Record(b"1", b"r", NOW_MS, flags=RETAIN), Record(b"2", b"r", NOW_MS + 9, flags=RETAIN)
    )
    assert payloads(block, retained) == [b"1", b"2"]
    retained.keep(kept(b"own", NOW_MS + 5))
    assert payloads(block, retained) == [b"2"]
    retained.clear(b"r", NOW_MS + 20)
    assert payloads(block, retained) == []
