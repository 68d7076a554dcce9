"""A manifest is written whole, and refused when it is none of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storage.archive import manifest as module
from storage.archive.layout import generation_folder
from storage.archive.manifest import (
    ArchiveDamaged,
    ArchiveFile,
    Manifest,
    Position,
    classification,
    encode_manifest,
    publish,
    read_manifest,
)

DAY = 19_700


def manifest(**changes: Any) -> Manifest:
    file = ArchiveFile(
        name="default-000.parquet", class_id="default", rows=5, bytes=99, sha256="a" * 64,
        first_device="a", last_device="b", first_ms=1, last_ms=2,
    )  # fmt: skip
    values: dict[str, Any] = {
        "format_version": 1, "day": "2023-12-09", "generation": 1, "through": Position(epoch=1, next_seq=9),
        "made_at_ms": 3, "classes": (("vib", "vib_*"),), "rows": 5, "bytes": 99, "content_sum": "1" * 30,
        "content_hash": "duckdb 2", "files": (file,),
    }  # fmt: skip
    return Manifest(**(values | changes))


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = generation_folder(tmp_path, DAY, 1)
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        read_manifest(folder, DAY, 1)
    publish(folder, manifest())
    assert read_manifest(folder, DAY, 1) == manifest()
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
    assert json.loads((folder / "manifest.json").read_bytes())["files"][0]["class"] == "default"


def test_it_says_how_metrics_were_put_into_files() -> None:
    found = classification(manifest())
    assert (found.class_of("vib_x").class_id, found.class_of("t").class_id) == ("vib", "default")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"format_version": 1', b'"format_version": 2'),
        (b'"generation": 1', b'"generation": 2'),
        (b'"2023-12-09"', b'"2023-12-08"'),
        (b"default-000.parquet", b"../default-000.parquet"),
        (b'"class": "default"', b'"class": "other"'),
        (b"a" * 64, b"a" * 63),
        (b'"rows": 5,\n "bytes"', b'"rows": 6,\n "bytes"'),
        (b'"day"', b'"extra": 1, "day"'),
        (b'"content_sum"', b'"content_summe"'),
        (b"{", b"["),
        (b"duckdb", b"\xff"),
    ],
)
def test_what_is_not_as_we_write_it_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    written = encode_manifest(manifest())
    assert old in written
    (tmp_path / "manifest.json").write_bytes(written.replace(old, new, 1))
    with pytest.raises(ArchiveDamaged) as refused:
        read_manifest(tmp_path, DAY, 1)
    assert refused.value.hint


def test_a_file_named_twice_and_one_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = manifest(files=manifest().files * 2, rows=10, bytes=198)
    (tmp_path / "manifest.json").write_bytes(encode_manifest(twice))
    with pytest.raises(ArchiveDamaged, match="twice"):
        read_manifest(tmp_path, DAY, 1)
    (tmp_path / "manifest.json").write_bytes(encode_manifest(manifest()))
    monkeypatch.setattr(module, "ARCHIVE_MANIFEST_BYTES_MAX", 10)
    with pytest.raises(ArchiveDamaged, match="larger"):
        read_manifest(tmp_path, DAY, 1)
