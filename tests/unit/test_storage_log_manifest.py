"""The manifest: replaced as a whole, and doubted."""

from __future__ import annotations

from pathlib import Path

from storage.log.disk import OsDisk
from storage.log.manifest import (
    SegmentSummary,
    decode_manifest,
    encode_manifest,
    read_manifest,
    write_manifest,
)
from tests.storage_log_kit import HookedDisk, append_blocks, open_writer

SUMMARIES = [
    SegmentSummary(1, 1, 9, 5, 6, 2, 9, 12288, "ab", "cd"),
    SegmentSummary(1, 10, 19, 5, 6, 2, 10, 8192, "ef", "01"),
]


def test_round_trip_and_every_changed_byte_is_noticed() -> None:
    data = encode_manifest(SUMMARIES)
    assert decode_manifest(data) == SUMMARIES
    for at in range(len(data)):
        assert decode_manifest(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None
    assert decode_manifest(b"") is None


def test_it_is_written_beside_and_renamed(tmp_path: Path) -> None:
    disk = HookedDisk()
    assert read_manifest(disk, tmp_path) is None
    write_manifest(disk, tmp_path, SUMMARIES)
    assert [call for call, _ in disk.calls[-6:]] == [
        "open",
        "truncate",
        "pwritev",
        "fsync",
        "rename",
        "fsync_directory",
    ]
    assert read_manifest(OsDisk(), tmp_path) == SUMMARIES


def test_a_start_reads_no_footer_when_the_manifest_agrees_and_all_when_it_is_gone(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    append_blocks(writer, 60)
    writer.close()
    whole = (tmp_path / "manifest").read_bytes()
    for content, footers_read in ((whole, False), (b"rubbish", True), (encode_manifest([]), True)):
        (tmp_path / "manifest").write_bytes(content)
        disk = HookedDisk()
        open_writer(tmp_path, disk=disk).close()
        assert any(name.endswith(".seg") for call, name in disk.calls if call == "open") == footers_read
        assert (tmp_path / "manifest").read_bytes() == whole
