"""docs/LOG_FORMAT.md suffices: a reader made from it alone reads what our writer wrote, and finds all of it right."""

from __future__ import annotations

import random
import re
from array import array
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.log import LogReader
from storage.log.columns import Kind, encode_columns
from tests.interop.log_format_reader import crc, read_log
from tests.storage_log_kit import NODE_ID, STREAM, KitSigner, open_writer

DOCUMENT = Path(__file__).parents[2] / "docs" / "LOG_FORMAT.md"


def body(rng: random.Random, count: int) -> bytes:
    return encode_columns(
        kinds=bytes([Kind.PUBLISH]) * count,
        flags=bytes([2]) * count,
        clients=[("meter-1", "meter-1"), ("pump", "pump")],
        client_index=array("H", (rng.randint(0, 1) for _ in range(count))),
        topics=[b"dm/meter-1/telemetry", b"dm/pump/telemetry"],
        topic_index=array("H", (rng.randint(0, 1) for _ in range(count))),
        packet_ids=array("H", range(1, count + 1)),
        received_delta_ms=array("I", range(count)),
        payloads=[rng.randbytes(rng.randint(0, 300)) for _ in range(count)],
        properties={0: b"\x01\x01"},
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rng = random.Random(3)
    clock = ManualClock()
    writer = open_writer(tmp_path, clock=clock)
    for _ in range(30):
        count = rng.randint(1, 60)
        writer.append(body(rng, count), count, clock.now_ms(), clock.now_ms() + count)
        clock.advance(1000)
    writer.wait_idle(10)
    writer.close()
    return tmp_path


def test_the_published_check_value_of_crc_32c() -> None:
    assert crc(0, b"123456789") == 0xE3069283
    assert crc(crc(0, b"1234"), b"56789") == 0xE3069283


def test_the_other_reader_reads_what_ours_reads(log: Path) -> None:
    theirs = read_log(log)
    assert (theirs.node_id, theirs.stream, theirs.signed_by) == (NODE_ID, STREAM, {KitSigner().key_id})
    assert theirs.manifest_names == sorted(path.name for path in log.glob("*.seg"))
    assert len(theirs.manifest_names) >= 2
    reader = LogReader(log)
    seq = 1
    ours = []
    while blocks := reader.read(seq):
        ours += blocks
        seq = blocks[-1].next_seq
    reader.close()
    assert seq == theirs.next_seq
    assert [(b.first_seq, b.record_count, b.first_time_ms, b.last_time_ms, b.hash) for b in ours] == [
        (f.first_seq, f.record_count, f.first_ms, f.last_ms, f.hash) for f in theirs.frames
    ]
    for block, frame in zip(ours, theirs.frames, strict=True):
        columns = block.columns()
        assert (columns.kinds, columns.flags, columns.payload_data) == (
            *frame.columns[1:3],
            frame.columns[10],
        )
        assert [list(client) for client in columns.clients] == frame.columns[3]
        assert columns.packet_ids.tobytes() == frame.columns[7]
        assert columns.properties == frame.columns[11]


def test_the_document_names_every_magic_and_every_kind() -> None:
    text = DOCUMENT.read_text()
    for magic in ("HPLOGSEG", "HPFR", "HPLOGEND", "HPLOGFIN", "HPHD"):
        assert f"`{magic}`" in text
    kinds = re.search(r"Kinds: (.*?)\. Readers", text, re.DOTALL)
    assert kinds is not None
    named = dict(re.findall(r"(\d+) ([a-zA-Z0-9 ]+?)(?:,|$)", kinds[1].replace("\n", " ")))
    assert {int(n): name.lower().replace(" ", "_") for n, name in named.items()} == {
        kind.value: kind.name.lower().replace("qos2", "qos_2") for kind in Kind
    }
