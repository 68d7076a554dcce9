"""The recovery kit: the only copy of a site's secrets outside its boxes, to be printed or saved at the first run.

It holds the site key (without which every token and every sealed column is worthless) and the root secret (of which
the root of the site's certificate authority is made, ca_certificates.py). The root secret is on the box only until
somebody has confirmed that the kit is kept elsewhere: `identity/ca/root.secret`, mode 0600.

As text it is lines of 20 characters of Crockford's alphabet, each with two check characters, so that a typing error
is found in its line; a checksum of 32 bits covers the whole. As a QR code it is the same characters in one run.

    version (1) · day it was made (4) · node id (16) · site key (32) · root secret (32) · checksum (4)

Must not know: who confirms, and how it is shown.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from appliance.core.errors import ConfigError, NotFound, UsageError
from appliance.core.limits import RECOVERY_KIT_BYTES_MAX
from appliance.identity import crockford, files
from appliance.identity.backup_public_key import write_public_key
from appliance.identity.ca_certificates import RootSeed, fingerprint, root_certificate
from appliance.identity.keys import NODE_ID_BYTES, SITE_KEY_BYTES

VERSION: Final = 1
ROOT_SECRET_BYTES: Final = 32
PENDING: Final = Path("identity") / "ca" / "root.secret"
"""Below data_dir; there is one until the kit is confirmed. Its text is the day that the root was made, and the secret."""
QR_PREFIX: Final = "HOMEPORT-KIT:"
_TITLE: Final = "HOMEPORT RECOVERY KIT"
_BODY: Final = struct.Struct(f">BI{NODE_ID_BYTES}s{SITE_KEY_BYTES}s{ROOT_SECRET_BYTES}s")
_CHECKSUM_BYTES: Final = 4
_CODE_LENGTH: Final = -(-(_BODY.size + _CHECKSUM_BYTES) * 8 // 5)
_LINE_LENGTH: Final = 20
_GROUP_LENGTH: Final = 5
_CHECK_LENGTH: Final = 2
_LINE: Final = re.compile(r"\s*(\d{2})\s+([0-9A-Za-z][0-9A-Za-z -]*?)\s*")
_EPOCH: Final = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryKit:
    """See the module's docstring. Its secrets are not in its repr.

    Attributes:
        node_id: Of the box that made it, 16 bytes.
        made_day: Days since 1970 of the day when the authority's root was made; its certificate says so.
        site_key, root_secret: 32 bytes each.
    """

    node_id: bytes
    made_day: int
    site_key: bytes = field(repr=False)
    root_secret: bytes = field(repr=False)

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """The kit of this box, while it is not confirmed.

        Raises:
            NotFound: `recovery_kit_gone`: it was confirmed, and the box keeps no copy.
            ConfigError: a file is not what it should be.
        """
        pending_text = files.read_secret(data_dir / PENDING)
        if pending_text is None:
            raise NotFound(
                "The recovery kit was saved and confirmed: the box keeps no copy of it.",
                hint="Look where it was put; `homeport recovery-kit check FILE` says whether one is right.",
                code="recovery_kit_gone",
            )
        identity = data_dir / "identity"
        made_day, root_secret = read_pending(data_dir / PENDING, pending_text)
        return cls(
            node_id=_hex_of(identity / "node.id", NODE_ID_BYTES),
            made_day=made_day,
            site_key=_hex_of(identity / "site.key", SITE_KEY_BYTES),
            root_secret=root_secret,
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The kit of its text, as it was printed or typed again, or of what its QR code holds.

        Raises:
            UsageError: `recovery_kit_typing_error` names the line; `recovery_kit_invalid`: it is none, or of a newer version.
        """
        if len(text) > RECOVERY_KIT_BYTES_MAX:
            raise _no_kit("It is too long.")
        code = _code_of(text)
        try:
            data = crockford.decode(code)
        except UsageError as error:
            raise _no_kit(error.message) from error
        body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if len(body) != _BODY.size or not hmac.compare_digest(_checksum(body), checksum):
            raise _no_kit("Its checksum is wrong.")
        version, made_day, node_id, site_key, root_secret = _BODY.unpack(body)
        if version != VERSION:
            raise _no_kit(f"It is of version {version}, and this program knows version {VERSION}.")
        return cls(node_id=node_id, made_day=made_day, site_key=site_key, root_secret=root_secret)

    @property
    def seed(self) -> RootSeed:
        """What the site's authority is made of."""
        return RootSeed(secret=self.root_secret, node_id=self.node_id, made_day=self.made_day)

    @property
    def ca_fingerprint(self) -> str:
        """SHA-256 of the root's certificate, `AB:CD:…`."""
        return fingerprint(root_certificate(self.seed)[1])

    @property
    def made_on(self) -> dt.date:
        """The day on which the authority was made."""
        return _EPOCH + dt.timedelta(days=self.made_day)

    @property
    def code(self) -> str:
        """All of it in 143 characters."""
        body = _BODY.pack(VERSION, self.made_day, self.node_id, self.site_key, self.root_secret)
        return crockford.encode(body + _checksum(body))

    @property
    def qr_text(self) -> str:
        """What the QR code holds: 156 characters of its alphanumeric mode (version 7 at level M)."""
        return QR_PREFIX + self.code

    def lines(self) -> list[str]:
        """The lines to be typed: a number, four groups of five characters, and two check characters."""
        code = self.code
        found = []
        for start in range(0, len(code), _LINE_LENGTH):
            part = code[start : start + _LINE_LENGTH]
            groups = "-".join(part[at : at + _GROUP_LENGTH] for at in range(0, len(part), _GROUP_LENGTH))
            number = start // _LINE_LENGTH + 1
            found.append(f"{number:02}  {groups:<23}  {_line_check(number, part)}")
        return found

    def text(self, box: str = "") -> str:
        """The kit for paper or a file, ASCII; `parse` reads it.

        Args:
            box: What people call the box.
        """
        facts = [
            ("Box", box),
            ("Node id", self.node_id.hex()),
            ("Authority made on", self.made_on.isoformat()),
            ("Authority's root, SHA-256", self.ca_fingerprint),
        ]
        return "\n".join(
            [
                f"{_TITLE}, VERSION {VERSION}",
                "",
                "Keep it where the box is not. Who has it can be the site: its devices, its people, its secrets.",
                "It is needed for a new box in place of this one, and to renew the authority of the devices.",
                "",
                *(f"{name:<27}{value}" for name, value in facts if value),
                "",
                *self.lines(),
                "",
                "Check a copy with:  homeport recovery-kit check FILE",
                "",
            ]
        )


def pending(data_dir: Path) -> RecoveryKit | None:
    """The kit that still waits for being saved, None once it was confirmed. Raises ConfigError."""
    return RecoveryKit.of(data_dir) if (data_dir / PENDING).exists() else None


def confirm(data_dir: Path) -> bool:
    """Forget the root secret: somebody has the kit. Durable when it returns, and so is the key for backups that is made of it.

    Returns:
        Whether there was one to forget.
    Raises:
        ConfigError: it is not what it should be. StorageError: it can't be removed, or the key not be written.
    """
    content = files.read_secret(data_dir / PENDING)
    if content is not None:
        write_public_key(data_dir, read_pending(data_dir / PENDING, content)[1])
    return files.remove(data_dir / PENDING)


def write_pending(made_day: int, root_secret: bytes) -> bytes:
    """The content of the pending file."""
    return f"{made_day} {root_secret.hex()}\n".encode()


def read_pending(path: Path, content: bytes) -> tuple[int, bytes]:
    """Day and secret of the pending file. Raises ConfigError: `key_file_invalid`."""
    found = re.fullmatch(rb"(\d{1,6}) ([0-9a-f]{64})\n?", content)
    if found is None:
        raise ConfigError(
            f"{path} does not hold a root secret.",
            hint="Put it back from a backup, or remove it if you have the recovery kit.",
            code="key_file_invalid",
        )
    return int(found[1]), bytes.fromhex(found[2].decode())


def _code_of(text: str) -> str:
    """The characters of a kit, whole and in order. Raises UsageError."""
    compact = "".join(text.split()).upper()
    if compact.startswith(QR_PREFIX):
        return compact.removeprefix(QR_PREFIX)
    parts: dict[int, str] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        number, typed = int(found[1]), crockford.normal(found[2])
        part, check = typed[:-_CHECK_LENGTH], typed[-_CHECK_LENGTH:]
        if _line_check(number, part) != check:
            raise UsageError(
                f"Line {number:02} of the recovery kit has a typing error.",
                hint="Compare it with the printed one, character by character.",
                code="recovery_kit_typing_error",
            )
        parts[number] = part
    wanted = range(1, -(-_CODE_LENGTH // _LINE_LENGTH) + 1)
    if missing := [number for number in wanted if number not in parts]:
        if len(missing) == len(wanted):
            raise _no_kit("It has no numbered lines.")
        raise _no_kit(f"Line {missing[0]:02} is missing.")
    return "".join(parts[number] for number in wanted)


def _line_check(number: int, part: str) -> str:
    digest = hashlib.sha256(f"{number}:{part}".encode()).digest()
    return crockford.encode(digest[:2])[:_CHECK_LENGTH]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(b"homeport recovery kit" + body).digest()[:_CHECKSUM_BYTES]


def _no_kit(why: str) -> UsageError:
    return UsageError(
        f"This is no recovery kit that can be used. {why}",
        hint="Give the file that was saved, or its numbered lines typed again, or what the QR code says.",
        code="recovery_kit_invalid",
    )


def _hex_of(path: Path, size_bytes: int) -> bytes:
    content = files.read_secret(path)
    try:
        value = bytes.fromhex((content or b"").decode("ascii").strip())
    except ValueError:
        value = b""
    if len(value) != size_bytes:
        raise ConfigError(
            f"{path} does not hold {2 * size_bytes} hexadecimal digits.",
            hint="Start Homeport once, or put it back from a backup.",
            code="key_file_invalid",
        )
    return value
