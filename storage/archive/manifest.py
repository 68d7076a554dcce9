"""A generation's manifest: what its files hold, and up to which record of the log.

Version 1, JSON. Written to a name of its own, synced and renamed: where there is a manifest, the files it names were
synced and read back before. What is read is checked: names can't lead out of the folder, numbers add up.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from appliance.core.errors import StorageError
from appliance.core.limits import ARCHIVE_MANIFEST_BYTES_MAX
from appliance.management.retention import FOR_EVER, Retention, RetentionClass, default_class
from storage.archive.layout import FILE_NAME, MANIFEST_NAME, day_number, day_text

FORMAT_VERSION: Final = 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ArchiveDamaged(StorageError):  # noqa: N818 - as in the error tree
    """A manifest or a file of the archive is not what was written."""

    default_code = "archive_damaged"


class Position(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A position in the log: the record `next_seq` and all after it are behind it."""

    epoch: int
    next_seq: int


class ArchiveFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Parquet file, sorted by device, metric and time.

    Attributes:
        class_id: The retention class that its metrics were of when it was written.
        first_device, last_device: In the order of their bytes. first_ms, last_ms: Of observed_at, UTC ms.
    """

    name: str
    class_id: str = msgspec.field(name="class")
    rows: int
    bytes: int
    sha256: str
    first_device: str
    last_device: str
    first_ms: int
    last_ms: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See the module.

    Attributes:
        day: YYYY-MM-DD, UTC.
        through: Every reading of the day from a record before it is in the files.
        classes: Id and pattern of each class, in order, by which metrics were put into files; the rest is `default`.
        rows, bytes: Of all files.
        content_sum: Sum of each row's hash, which no order of rows changes; decimal.
        content_hash: What hashed them. Another version's sum can't be compared.
    """

    format_version: int
    day: str
    generation: int
    through: Position
    made_at_ms: int
    classes: tuple[tuple[str, str], ...]
    rows: int
    bytes: int
    content_sum: str
    content_hash: str
    files: tuple[ArchiveFile, ...]


def classification(manifest: Manifest) -> Retention:
    """How metrics were put into the files; the days of these classes mean nothing."""
    return Retention(
        tuple(
            RetentionClass(class_id=class_id, metric=metric, hot_days=1, archive_days=FOR_EVER)
            for class_id, metric in manifest.classes
        ),
        default_class(1, FOR_EVER),
    )


_decoder: Final = msgspec.json.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """As it is in the file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def read_manifest(folder: Path, day: int, generation: int) -> Manifest:
    """The manifest in a generation's folder.

    Raises:
        FileNotFoundError: there is none: the generation was never finished.
        ArchiveDamaged: it is none of ours, of another day, of a newer format, or doesn't add up.
    """
    path = folder / MANIFEST_NAME
    with path.open("rb") as file:
        data = file.read(ARCHIVE_MANIFEST_BYTES_MAX + 1)
    try:
        if len(data) > ARCHIVE_MANIFEST_BYTES_MAX:
            raise ValueError(f"it is larger than {ARCHIVE_MANIFEST_BYTES_MAX} bytes")
        manifest = _decoder.decode(data)
        _check(manifest, day, generation)
    except (msgspec.MsgspecError, ValueError, UnicodeDecodeError) as error:
        raise ArchiveDamaged(
            f"The manifest {path} can't be used: {error}.",
            hint="Run homeport archive verify; where the store still has the day, it is archived again by itself.",
        ) from error
    return manifest


def read_files(data: bytes, total_bytes: int) -> tuple[ArchiveFile, ...]:
    """The files that the manifest of another node's archive names. Pure.

    Args:
        total_bytes: Of the files, as the node says.
    Raises:
        msgspec.MsgspecError, ValueError: it is none, of a newer format, or doesn't add up.
    """
    manifest = _decoder.decode(data)
    if manifest.bytes != total_bytes:
        raise ValueError(f"its files have {manifest.bytes} bytes, and were announced with {total_bytes}")
    _check(manifest, day_number(manifest.day), manifest.generation)
    return manifest.files


def _check(manifest: Manifest, day: int, generation: int) -> None:
    if manifest.format_version != FORMAT_VERSION:
        raise ValueError(f"its format is {manifest.format_version}, this Homeport knows {FORMAT_VERSION}")
    if (manifest.day, manifest.generation) != (day_text(day), generation):
        raise ValueError(f"it is of generation {manifest.generation} of {manifest.day[:16]}")
    for file in manifest.files:
        match = FILE_NAME.fullmatch(file.name)
        if match is None or match[1] != file.class_id or _SHA256.fullmatch(file.sha256) is None:
            raise ValueError(f"“{file.name[:64]}” is no file of the archive")
        if file.rows < 1 or file.bytes < 1:
            raise ValueError(f"{file.name} is empty")
    if len({file.name for file in manifest.files}) != len(manifest.files):
        raise ValueError("it names a file twice")
    if manifest.rows != sum(f.rows for f in manifest.files) or manifest.bytes != sum(
        f.bytes for f in manifest.files
    ):
        raise ValueError("its totals are not those of its files")


def publish(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, durably and all at once. The files are there and synced. Raises OSError."""
    sync_folder(folder)
    fresh = folder / f"{MANIFEST_NAME}.new"
    with fresh.open("wb") as file:
        file.write(encode_manifest(manifest))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(folder / MANIFEST_NAME)
    sync_folder(folder)
    for parent in (folder.parent, folder.parent.parent, folder.parent.parent.parent):
        sync_folder(parent)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
