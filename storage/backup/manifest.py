"""A backup's manifest: every file with its size, mode and pieces, and what program and schemas made them. Pure.

What is read from a disk that somebody else may have written is checked as a whole before anybody uses a part of it:
names stay below the data folder and are there once, sizes fit the pieces, versions are ones that this program knows.

Must not know: files, keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from appliance.core.limits import (
    BACKUP_CHUNK_BYTES,
    BACKUP_CHUNK_STORED_BYTES_MAX,
    BACKUP_FILE_BYTES_MAX,
    BACKUP_FILE_COUNT_MAX,
)
from storage.backup.errors import damaged, too_new, unsafe
from storage.backup.sealing import HEADER_BYTES, ID_BYTES

FORMAT: Final = 1
TOP_LEVEL: Final = frozenset(
    {"identity", "broker", "cursors", "catalog.db", "artifacts", "archive", "log", "config"}
)
"""What a backup may hold, directly below the data folder; `config` becomes a file beside it."""
MODES: Final = frozenset({0o400, 0o600, 0o644})
NAME_BYTES_MAX: Final = 512
DEPTH_MAX: Final = 8
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@=-]{0,199}\Z")
_BACKUP_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\Z")
SHA256_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of a file: its name, and how many bytes it has in the repository."""

    chunk_id: bytes
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file.

    Attributes:
        name: Below the data folder, with `/`.
        mtime_ns: Of the file that was read, to know again one that never changes; 0 where that is not asked.
    """

    name: str
    size: int
    mode: int
    sha256: bytes
    pieces: tuple[Piece, ...]
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """See the module.

    Attributes:
        catalog: Migrations that the catalog has: (version, name, compatible with, checksum), in order.
        formats: Versions of what is in it by name: log, archive …
        log_epoch, log_next_seq: The position up to which everything acknowledged is in it.
        new_bytes: What this backup added to the repository.
    """

    backup_id: str
    made_at_ms: int
    node_id: str
    node_name: str
    program: str
    catalog: tuple[tuple[int, str, int, str], ...]
    formats: Mapping[str, int]
    log_epoch: int
    log_next_seq: int
    files: tuple[FileEntry, ...] = field(repr=False)
    new_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)

    def stored(self) -> dict[bytes, int]:
        """Every chunk that it needs, with its stored size."""
        return {piece.chunk_id: piece.stored_bytes for file in self.files for piece in file.pieces}


def encode(manifest: Manifest) -> bytes:
    """The content to be sealed."""
    files = [
        [
            file.name,
            file.size,
            file.mode,
            file.mtime_ns,
            file.sha256,
            b"".join(piece.chunk_id for piece in file.pieces),
            [piece.stored_bytes for piece in file.pieces],
        ]
        for file in manifest.files
    ]
    fields = {
        "format": FORMAT,
        "backup_id": manifest.backup_id,
        "made_at_ms": manifest.made_at_ms,
        "node_id": manifest.node_id,
        "node_name": manifest.node_name,
        "program": manifest.program,
        "catalog": [list(row) for row in manifest.catalog],
        "formats": dict(manifest.formats),
        "log": [manifest.log_epoch, manifest.log_next_seq],
        "new_bytes": manifest.new_bytes,
        "files": files,
    }
    packed: bytes = msgpack.packb(fields)
    return packed


def decode(content: bytes, backup_id: str) -> Manifest:
    """The manifest of its content, checked.

    Raises:
        StorageError: `backup_too_new`, or `backup_damaged` with what is wrong.
    """
    try:
        fields = msgpack.unpackb(content, strict_map_key=True)
        version = fields["format"]
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise damaged(f"The manifest of {backup_id} can't be read.") from error
    if version != FORMAT:
        raise too_new(f"The backup {backup_id} has format {version}, and this program knows {FORMAT}.")
    try:
        manifest = _manifest(fields)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise damaged(f"The manifest of {backup_id} makes no sense: {error}.") from error
    if manifest.backup_id != backup_id:
        raise damaged(f"The manifest of {backup_id} is another one's.")
    check_files(manifest.files)
    return manifest


def _manifest(fields: Mapping[str, Any]) -> Manifest:
    return Manifest(
        backup_id=_text(fields["backup_id"]),
        made_at_ms=_whole(fields["made_at_ms"]),
        node_id=_text(fields["node_id"]),
        node_name=_text(fields["node_name"]),
        program=_text(fields["program"]),
        catalog=tuple((_whole(v), _text(n), _whole(c), _text(s)) for v, n, c, s in fields["catalog"]),
        formats={_text(name): _whole(version) for name, version in dict(fields["formats"]).items()},
        log_epoch=_whole(fields["log"][0]),
        log_next_seq=_whole(fields["log"][1]),
        new_bytes=_whole(fields["new_bytes"]),
        files=tuple(_file(item) for item in fields["files"]),
    )


def _file(item: list[Any]) -> FileEntry:
    name, size, mode, mtime_ns, sha256, ids, stored = item
    ids = _bytes(ids)
    if len(ids) != ID_BYTES * len(stored):
        raise ValueError("names and sizes of pieces don't fit each other")
    pieces = tuple(
        Piece(ids[at * ID_BYTES : (at + 1) * ID_BYTES], _whole(bytes_)) for at, bytes_ in enumerate(stored)
    )
    return FileEntry(
        name=_text(name),
        size=_whole(size),
        mode=_whole(mode),
        mtime_ns=_whole(mtime_ns),
        sha256=_bytes(sha256),
        pieces=pieces,
    )


def check_files(files: Iterable[FileEntry]) -> None:
    """Refuse names that lead elsewhere or are there twice, and sizes that don't fit.

    Raises:
        StorageError: `backup_unsafe`.
    """
    names: set[str] = set()
    folders: set[str] = set()
    for count, file in enumerate(files, 1):
        if count > BACKUP_FILE_COUNT_MAX:
            raise unsafe(f"It has more than {BACKUP_FILE_COUNT_MAX} files.")
        check_name(file.name)
        # A disk that makes no difference between a and A would put one file in the other's place.
        folded = file.name.casefold()
        above = [folded[:at] for at, letter in enumerate(folded) if letter == "/"]
        if folded in names or folded in folders or not names.isdisjoint(above):
            raise unsafe(f"{file.name[:80]!r} is there twice, or as a file and a folder.")
        names.add(folded)
        folders.update(above)
        _check_size(file)


def _check_size(file: FileEntry) -> None:
    if file.mode not in MODES:
        raise unsafe(f"{file.name} has mode {file.mode:o}.")
    if file.size > BACKUP_FILE_BYTES_MAX or len(file.sha256) != SHA256_BYTES:
        raise unsafe(f"{file.name} has an impossible size or hash.")
    if len(file.pieces) != -(-file.size // BACKUP_CHUNK_BYTES):
        raise unsafe(f"{file.name} has {file.size} bytes in {len(file.pieces)} pieces.")
    if not all(HEADER_BYTES < each.stored_bytes <= BACKUP_CHUNK_STORED_BYTES_MAX for each in file.pieces):
        raise unsafe(f"{file.name} has a piece of an impossible size.")


def check_name(name: str) -> None:
    """Refuse a file's name that is not plainly below the data folder.

    Raises:
        StorageError: `backup_unsafe`.
    """
    parts = name.split("/")
    if (
        len(name.encode(errors="replace")) > NAME_BYTES_MAX
        or len(parts) > DEPTH_MAX
        or parts[0] not in TOP_LEVEL
        or (len(parts) == 1) != (parts[0] == "catalog.db")
        or not all(_PART.match(part) for part in parts)
    ):
        raise unsafe(f"It has a file by the name {name[:80]!r}.")


def is_backup_id(text: str) -> bool:
    """Whether a text can be a backup's name, such as 20261127T135804Z-0a1b2c3d."""
    return _BACKUP_ID.match(text) is not None


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{str(value)[:40]!r} is no whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > NAME_BYTES_MAX:
        raise ValueError(f"{str(value)[:40]!r} is no short text")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("bytes are missing")
    return value
