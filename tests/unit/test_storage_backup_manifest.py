"""Manifests: a round trip, and what hand-made ones try."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from appliance.core.errors import StorageError
from storage.backup import manifest as manifests
from storage.backup.manifest import FileEntry, Manifest, Piece

BACKUP_ID = "20261127T101112Z-0a1b2c3d"
PIECE = Piece(bytes(32), 100)


def entry(name: str, **changes: Any) -> FileEntry:
    made = FileEntry(name=name, size=10, mode=0o600, sha256=bytes(32), pieces=(PIECE,), mtime_ns=5)
    return replace(made, **changes)


def manifest(*files: FileEntry, **changes: Any) -> Manifest:
    made = Manifest(
        backup_id=BACKUP_ID,
        made_at_ms=1_795_000_000_000,
        node_id="ab" * 16,
        node_name="box",
        program="0.1.0",
        catalog=((1, "first", 1, "c" * 64),),
        formats={"log": 1},
        log_epoch=1,
        log_next_seq=61,
        files=files,
        new_bytes=7,
    )
    return replace(made, **changes)


def decode(made: Manifest) -> Manifest:
    return manifests.decode(manifests.encode(made), BACKUP_ID)


def test_it_comes_back_as_it_was() -> None:
    made = manifest(entry("catalog.db"), entry("log/telemetry/00000001-00000000000000000001.seg", mode=0o400))
    assert decode(made) == made
    assert made.total_bytes == 20
    assert made.stored() == {bytes(32): 100}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../outside",
        "identity/../../outside",
        "identity/..",
        "identity/./x",
        "identity//x",
        "identity/",
        "identity",
        "",
        "telemetry.duckdb",
        "node.lock",
        "restoring/x",
        "catalog.db/x",
        "identity/.hidden",
        "identity/a b",
        "identity/a\\b",
        "identity/a\0b",
        "identity/a\n",
        "identity/é",
        "log/" + "/".join("x" * 9),
        "log/" + "x" * 201,
        "C:/x",
        "identity/CON:",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(StorageError) as found:
        decode(manifest(entry(name)))
    assert found.value.code == "backup_unsafe"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("identity/a", "identity/a"),
        ("identity/a", "identity/A"),
        ("identity/a", "identity/a/b"),
        ("identity/a/b", "identity/a"),
        ("log/A/b", "log/a"),
    ],
)
def test_a_name_is_there_once_and_is_a_file_or_a_folder(one: str, other: str) -> None:
    with pytest.raises(StorageError, match="there twice"):
        decode(manifest(entry(one), entry(other)))


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": 0o4755},
        {"mode": 0o777},
        {"size": 2**50},
        {"size": 0},
        {"size": 5 * 1024 * 1024},
        {"sha256": b"short"},
        {"pieces": (Piece(bytes(32), 2**31),)},
        {"pieces": (Piece(bytes(32), 0),)},
        {"pieces": ()},
    ],
)
def test_sizes_and_modes_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StorageError) as found:
        decode(manifest(entry("identity/a", **changes)))
    assert found.value.code == "backup_unsafe"


def test_more_files_than_there_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "BACKUP_FILE_COUNT_MAX", 1)
    with pytest.raises(StorageError, match="more than 1 files"):
        decode(manifest(entry("identity/a"), entry("identity/b")))


def changed(**fields: Any) -> bytes:
    found = msgpack.unpackb(manifests.encode(manifest(entry("catalog.db"))))
    packed: bytes = msgpack.packb({**found, **fields})
    return packed


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb({"format": 1}),
        changed(files=[["catalog.db"]]),
        changed(files=[["catalog.db", -1, 0o600, 0, bytes(32), b"", []]]),
        changed(files=[["catalog.db", 1, 0o600, 0, bytes(32), b"x", [1]]]),
        changed(files=[[7, 1, 0o600, 0, bytes(32), b"", []]]),
        changed(files=[["catalog.db", 1, 0o600, 0, "text", b"", []]]),
        changed(made_at_ms=2**64 - 1),
        changed(made_at_ms=True),
        changed(node_name="x" * 1000),
        changed(log=[1]),
        changed(catalog=[[1]]),
        changed(formats=[1]),
        changed(backup_id="20261127T101112Z-ffffffff"),
    ],
)
def test_what_makes_no_sense_is_called_damaged(content: bytes) -> None:
    with pytest.raises(StorageError) as found:
        manifests.decode(content, BACKUP_ID)
    assert found.value.code == "backup_damaged"


def test_a_newer_format_says_so() -> None:
    with pytest.raises(StorageError, match="format 2") as found:
        manifests.decode(changed(format=2), BACKUP_ID)
    assert found.value.code == "backup_too_new"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [(BACKUP_ID, True), ("", False), ("../x", False), (BACKUP_ID + "\n", False), (BACKUP_ID.upper(), False)],
)
def test_names_of_backups(text: str, is_one: bool) -> None:
    assert manifests.is_backup_id(text) is is_one
