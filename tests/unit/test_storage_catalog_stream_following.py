"""A copy of another node's stream, read on from where it was taken over, whatever became of it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.catalog import Catalog
from storage.catalog.merging import Followed
from storage.catalog_stream.following import CopyReader, read_record
from tests.catalog_stream_kit import carry_over, open_stream
from tests.merge_kit import SiteNode
from tests.storage_log_kit import NODE_ID


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path / "origin.db", clock=ManualClock(), node_id=NODE_ID)
    yield catalog
    catalog.close()


def take_all(node: SiteNode, reader: CopyReader, *, limit: int = 500) -> tuple[int, bool]:
    """How many records, and whether any of it was read anew."""
    count, anew = 0, False
    while (batch := reader.read(node.catalog.find_followed(reader.node_id), limit=limit)) is not None:
        node.catalog.apply_records(batch.stream, batch.records)
        count += len(batch.records)
        anew |= batch.is_anew
    return count, anew


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    reader = CopyReader(NODE_ID.hex(), tmp_path / "nowhere")
    assert reader.read(None) is None
    assert reader.lag(None) == 0
    reader.close()


@pytest.mark.parametrize("limit", [1, 3, 500])
def test_each_record_is_taken_over_once_in_batches_of_any_size(
    tmp_path: Path, origin: Catalog, limit: int
) -> None:
    node, stream = SiteNode(tmp_path, 2), open_stream(tmp_path / "log")
    reader = CopyReader(NODE_ID.hex(), tmp_path / "log")
    for number in range(3):
        origin.add_device(f"pump-{number}")
        carry_over(origin, stream)
        assert reader.lag(node.catalog.find_followed(NODE_ID.hex())) == 2
        assert take_all(node, reader, limit=limit) == (2, False)
    assert [row["device_id"] for row in node.rows("devices")] == ["pump-0", "pump-1", "pump-2"]
    assert reader.lag(node.catalog.find_followed(NODE_ID.hex())) == 0
    for each in (reader, stream, node):
        each.close()


def test_another_log_under_the_same_name_is_read_from_its_beginning(tmp_path: Path, origin: Catalog) -> None:
    node, stream = SiteNode(tmp_path, 2), open_stream(tmp_path / "log")
    origin.add_device("pump-1")
    carry_over(origin, stream, forget=False)
    stream.close()
    reader = CopyReader(NODE_ID.hex(), tmp_path / "log")
    take_all(node, reader)
    reader.close()
    # The same changes and one more, cut into other blocks.
    origin.add_device("pump-2")
    again = open_stream(tmp_path / "again")
    carry_over(origin, again, limit=1)
    reader = CopyReader(NODE_ID.hex(), tmp_path / "again")
    assert take_all(node, reader) == (4, True)
    assert [row["device_id"] for row in node.rows("devices")] == ["pump-1", "pump-2"]
    for each in (reader, again, node):
        each.close()


def test_a_log_that_is_shorter_than_before_is_read_from_its_beginning(
    tmp_path: Path, origin: Catalog
) -> None:
    node, stream = SiteNode(tmp_path, 2), open_stream(tmp_path / "log")
    origin.add_device("pump-1")
    carry_over(origin, stream)
    reader = CopyReader(NODE_ID.hex(), tmp_path / "log")
    far = Followed(node_id=NODE_ID.hex(), epoch=1, next_seq=100, hash=bytes(32))
    node.catalog.apply_records(far, ())
    batch = reader.read(far)
    assert batch is not None
    assert batch.is_anew
    assert batch.records[0].seq == 1
    for each in (reader, stream, node):
        each.close()


def test_what_is_no_record_says_why() -> None:
    assert read_record(1, b"garbage", NODE_ID.hex()).refused
