"""A restored copy beside the living one: what is the same is called so, and every difference is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.run.drilling_comparison import (
    Differences,
    Missing,
    compare_catalogs,
    compare_logs,
    even_out,
    is_same_history,
    missing_behind,
)
from storage.catalog import Catalog
from storage.catalog_stream.rebuilding import rebuild_catalog
from storage.catalog_stream.stream_writer import CatalogStreamWriter
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.streams import StreamHead, StreamId
from tests import log_kit
from tests.catalog_stream_kit import carry_over, open_stream
from tests.log_kit import Record
from tests.storage_log_kit import NODE_ID, KitSigner, QuickDisk, append_blocks, open_writer

OWN = NODE_ID.hex()
STREAM = StreamId(OWN, "telemetry")


def head_of(directory: Path) -> StreamHead:
    source = ChunkSource(directory, STREAM)
    try:
        return source.head()
    finally:
        source.close()


def write_log(directory: Path, *, count: int = 5, seed: int = 1) -> StreamHead:
    writer = log_kit.open_log(directory)
    for number in range(count):
        records = [
            Record(b"%d-%d-%d" % (seed, number, at), topic=b"dm/d%d/x" % (at % 3), client_id=f"d{at % 3}")
            for at in range(10)
        ]
        log_kit.append(writer, records)
    writer.close()
    return head_of(directory)


def test_the_same_log_is_the_same_and_what_it_holds_is_counted(tmp_path: Path) -> None:
    head = write_log(tmp_path / "own")
    shutil.copytree(tmp_path / "own", tmp_path / "copy")
    found = Differences()
    done = compare_logs(tmp_path / "own", tmp_path / "copy", head.next_seq, found)
    assert (found.count, done.records) == (0, 50)
    assert done.series == {("d0", b"dm/d0/x"): 20, ("d1", b"dm/d1/x"): 15, ("d2", b"dm/d2/x"): 15}
    assert is_same_history(tmp_path / "own", STREAM, head)


def test_another_history_and_records_that_are_others_are_named(tmp_path: Path) -> None:
    head = write_log(tmp_path / "own")
    other = write_log(tmp_path / "copy", seed=2)
    found = Differences()
    until = min(head.next_seq, other.next_seq)
    compare_logs(tmp_path / "own", tmp_path / "copy", until, found)
    assert found.count
    assert "are others" in found.words[0]
    assert is_same_history(tmp_path / "own", STREAM, other) is False


def test_a_body_that_nobody_can_read_is_the_same_all_the_same(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "own")
    append_blocks(writer, 3)
    writer.close()
    head = head_of(tmp_path / "own")
    shutil.copytree(tmp_path / "own", tmp_path / "copy")
    found = Differences()
    done = compare_logs(tmp_path / "own", tmp_path / "copy", head.next_seq, found)
    assert (found.count, done.records, done.series) == (0, head.next_seq - 1, {})


def test_what_ends_early_or_can_not_be_read_is_named(tmp_path: Path) -> None:
    write_log(tmp_path / "copy", count=2)
    shutil.copytree(tmp_path / "copy", tmp_path / "own")
    head = write_log(tmp_path / "own", count=3, seed=3)
    found = Differences()
    compare_logs(tmp_path / "own", tmp_path / "copy", head.next_seq, found)
    assert "are not in the restored one" in found.words[0]
    segment = next((tmp_path / "copy").glob("*.open"), None) or next((tmp_path / "copy").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[4096 + 200] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(data)
    found = Differences()
    compare_logs(tmp_path / "own", tmp_path / "copy", head.next_seq, found)
    assert "the restored log" in found.words[0]


def test_what_would_be_lost_is_counted_from_where_others_end(tmp_path: Path) -> None:
    before = write_log(tmp_path / "own", count=2)
    now = write_log(tmp_path / "own", count=3, seed=2)
    missing = missing_behind(tmp_path / "own", STREAM, before, now)
    assert missing.records == now.next_seq - before.next_seq
    assert missing.since_ms is not None
    assert missing_behind(tmp_path / "own", STREAM, now, now) == Missing()
    assert missing_behind(tmp_path / "own", STREAM, None, now).records == now.next_seq - 1


def test_differences_are_counted_and_the_first_are_named() -> None:
    found = Differences()
    for number in range(60):
        found.add(f"{number}" + "x" * 400)
    assert (found.count, len(found.words), len(found.words[0])) == (60, 50, 300)


class Two:
    """A living catalog with its stream, and one that was made of the stream."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.living = Catalog.open(folder / "living.db", clock=self.clock, node_id=NODE_ID)
        self.stream = open_stream(folder / "log")
        for name in ("pump", "valve"):
            self.change(name)
        self.restored = Catalog.open(folder / "restored.db", clock=self.clock, node_id=NODE_ID)
        rebuild_catalog(self.restored, [(OWN, folder / "log")], own_id=OWN)
        self.ended = head_of_stream(folder / "log").next_seq

    def change(self, device: str, *, is_told: bool = True) -> None:
        self.clock.advance(1_000)
        self.living.add_device(device)
        self.living.set_token(device, device.encode().ljust(32, b"\0"))
        if is_told:
            carry_over(self.living, self.stream)

    def compare(self) -> Differences:
        found = Differences()
        even_out(self.living, self.restored, (OWN, self.folder / "log", self.ended), [])
        self.tables = compare_catalogs(self.living, self.restored, found)
        return found

    def close(self) -> None:
        self.stream.close()
        self.living.close()
        self.restored.close()


def head_of_stream(directory: Path, node_id: str = OWN) -> StreamHead:
    source = ChunkSource(directory, StreamId(node_id, "catalog"))
    try:
        return source.head()
    finally:
        source.close()


def test_catalogs_that_went_on_meanwhile_are_the_same(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.change("motor")
    two.change("fan", is_told=False)
    found = two.compare()
    assert found.words == []
    devices = next(table for table in two.tables if table.name == "devices")
    assert (devices.rows, devices.own_rows, devices.is_same, len(devices.digest)) == (4, 4, True, 64)
    two.close()


def test_rows_that_are_missing_more_or_others_are_named(tmp_path: Path) -> None:
    two = Two(tmp_path)
    connection = two.restored.connection
    connection.execute("UPDATE change_clock SET capture = 0")
    connection.execute("DELETE FROM devices WHERE device_id = 'pump'")
    connection.execute("UPDATE devices SET name = 'other' WHERE device_id = 'valve'")
    connection.execute("UPDATE device_tokens SET token_hash = ? WHERE device_id = 'pump'", ("f" * 64,))
    found = two.compare()
    assert "devices: pump did not come back" in found.words
    assert "devices: valve is another" in found.words
    assert "device_tokens: ffffffff… came back, and is not here" in found.words
    assert [table.name for table in two.tables if not table.is_same] == ["device_tokens", "devices"]
    two.close()


@pytest.mark.parametrize("is_living_ahead", [True, False])
def test_what_another_node_changed_is_had_by_both(tmp_path: Path, is_living_ahead: bool) -> None:
    two = Two(tmp_path)
    mate = "cd" * 16
    other = Catalog.open(tmp_path / "mate.db", clock=two.clock, node_id=bytes.fromhex(mate))
    stream = CatalogStreamWriter.open(
        tmp_path / "mate", node_id=bytes.fromhex(mate), signer=KitSigner(), clock=two.clock, disk=QuickDisk()
    )
    other.add_device("boiler")
    carry_over(other, stream)
    shutil.copytree(tmp_path / "mate", tmp_path / "less")
    less = head_of_stream(tmp_path / "less", mate).next_seq
    other.add_device("burner")
    carry_over(other, stream)
    stream.close()
    other.close()
    here, copied = ("mate", "less") if is_living_ahead else ("less", "mate")
    rebuild_catalog(two.living, [(mate, tmp_path / here)], own_id=OWN)
    rebuild_catalog(two.restored, [(mate, tmp_path / copied)], own_id=OWN)
    ended = less if is_living_ahead else head_of_stream(tmp_path / "mate", mate).next_seq
    found = Differences()
    own = (OWN, tmp_path / "log", two.ended)
    even_out(two.living, two.restored, own, [(mate, tmp_path / here, tmp_path / copied, ended)])
    compare_catalogs(two.living, two.restored, found)
    assert found.words == []
    two.close()
