"""The plain header of a repository, `homeport-backup.json`: what it is, whose, and its key, sealed. Pure.

It is the only thing in a repository that is readable. Its tag is made with a key that only the site has, so that a
header which somebody else made with the public key alone is not believed.

Must not know: how the key is sealed (appliance/identity/backup_keys.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from storage.backup.errors import damaged, too_new

NAME: Final = "homeport-backup.json"
FORMAT: Final = 1
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+\Z")
_ABOUT: Final = (
    "Backups of a Homeport appliance, encrypted with its recovery kit. Restore with: homeport restore FOLDER"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """See the module. All are hexadecimal.

    Attributes:
        repository_id: 16 random bytes.
        node_id: Of the box that made it, 16 bytes.
        recipient: The public key that the repository's key is sealed to, 32 bytes.
        sealed_key: The repository's key.
        tag: Over all else, 32 bytes.
    """

    repository_id: str
    node_id: str
    recipient: str
    sealed_key: str = field(repr=False)
    made_at_ms: int = 0
    tag: str = field(default="", repr=False)

    def tagged_bytes(self) -> bytes:
        """What the tag is made of."""
        parts = (
            str(FORMAT),
            self.repository_id,
            self.node_id,
            self.recipient,
            self.sealed_key,
            str(self.made_at_ms),
        )
        return "\n".join(parts).encode()


def encode_header(header: Header) -> bytes:
    """The file's content."""
    fields = {
        "about": _ABOUT,
        "format": FORMAT,
        "repository_id": header.repository_id,
        "node_id": header.node_id,
        "made_at_ms": header.made_at_ms,
        "recipient": header.recipient,
        "sealed_key": header.sealed_key,
        "tag": header.tag,
    }
    return json.dumps(fields, indent=2).encode() + b"\n"


def decode_header(content: bytes) -> Header:
    """The header of a file's content.

    Raises:
        StorageError: `backup_damaged`, `backup_too_new`.
    """
    try:
        fields = json.loads(content)
        version = fields["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(f"{NAME} can't be read.") from error
    if version != FORMAT:
        raise too_new(f"{NAME} has format {str(version)[:20]}, and this program knows {FORMAT}.")
    try:
        return Header(
            repository_id=_hex(fields["repository_id"], 16),
            node_id=_hex(fields["node_id"], 16),
            recipient=_hex(fields["recipient"], 32),
            sealed_key=_hex(fields["sealed_key"], None),
            made_at_ms=_ms(fields["made_at_ms"]),
            tag=_hex(fields["tag"], 32),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(f"{NAME} makes no sense: {error}.") from error


def _hex(value: Any, size: int | None) -> str:
    if not isinstance(value, str) or not _HEX.match(value) or (size is not None and len(value) != 2 * size):
        raise ValueError("a hexadecimal value is missing or of another length")
    return value


def _ms(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("a time is missing")
    return value
