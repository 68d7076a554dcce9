"""What a device says that it runs: the only truth about it. Read from a status, a twin or a report, and bounded. Pure.

A member that is missing or makes no sense is left empty, and what is empty proves nothing: a report without a digest is compared by its
version, one without a boot id is no evidence of a boot. Two reports are the same when boot, session and seq are.

Must not know: executions, tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from appliance.core.limits_executions import (
    BOOT_ID_LENGTH_MAX,
    FIRMWARE_EPOCH_MAX,
    FIRMWARE_VERSION_LENGTH_MAX,
    HARDWARE_LENGTH_MAX,
    REPORT_SEQ_MAX,
    SLOT_LENGTH_MAX,
)

Source = Literal["status", "twin", "job", "hawkbit"]
"""How it was said."""
SelfTest = Literal["", "passed", "failed"]
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareReport:
    """What runs on a device.

    Attributes:
        digest: SHA-256 of the image, 64 hexadecimal digits, or "".
        is_confirmed: Whether the bootloader will start it again; None when it does not say.
        boot_id: Another one is another boot. session: Of the connection. seq: Of the status within the session, 0 for none.
        hw: Its kind of hardware, or "".
        self_test: What its own test said, or "".
        at_ms: When the box received it, UTC ms.
    """

    device_id: str
    version: str = ""
    digest: str = ""
    slot: str = ""
    is_confirmed: bool | None = None
    epoch: int | None = None
    boot_id: str = ""
    session: str = ""
    seq: int = 0
    hw: str = ""
    self_test: SelfTest = ""
    at_ms: int = 0
    source: Source = "status"

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes two reports of a device the same."""
        return self.boot_id, self.session, self.seq

    def runs(self, version: str, digest: str) -> bool:
        """Whether it is this firmware: by digest where both are known, by version otherwise."""
        if self.digest and digest:
            return self.digest == digest
        return bool(self.version) and self.version == version


def parse_status(device_id: str, fields: Mapping[str, object], at_ms: int) -> FirmwareReport | None:
    """The firmware of a status (docs/DEVICE_CONTRACT.md), or None when it says none.

    Args:
        fields: The decoded payload.
        at_ms: When the broker received it, UTC ms.
    """
    firmware = fields.get("fw")
    if not isinstance(firmware, Mapping):
        return None
    return _parse(device_id, {**fields, **firmware}, at_ms, "status")


def parse_twin(device_id: str, reported: Mapping[str, object], at_ms: int) -> FirmwareReport | None:
    """The firmware in what a twin reports: member `fw` as in a status, with `boot_id` and `hw` in it or beside it."""
    firmware = reported.get("fw")
    if not isinstance(firmware, Mapping):
        return None
    beside = {name: reported[name] for name in ("boot_id", "hw") if name in reported}
    return _parse(device_id, {**beside, **firmware}, at_ms, "twin")


def parse_details(device_id: str, details: Mapping[str, object], at_ms: int) -> FirmwareReport | None:
    """The firmware in a job's `statusDetails`: `running` is a digest or a version, `version` a version."""
    running = details.get("running")
    if not isinstance(running, str) or not running:
        return None
    is_digest = bool(digest_of(running))
    named = {"digest": running} if is_digest else {"version": running}
    return _parse(device_id, {**details, **named}, at_ms, "job")


def digest_of(said: object) -> str:
    """`sha256:` and 64 hexadecimal digits, or the digits alone, as digits in lower case; "" for anything else."""
    found = _DIGEST.fullmatch(said) if isinstance(said, str) else None
    return found.group(1).lower() if found else ""


def text_of(said: object, length_max: int) -> str:
    """A short text without control characters, or the digits of a number; "" for anything else or longer."""
    if isinstance(said, int) and not isinstance(said, bool) and abs(said) < 2**64:
        said = str(said)
    return said if isinstance(said, str) and len(said) <= length_max and said.isprintable() else ""


def number_of(said: object, highest: int) -> int | None:
    """A whole number from 0, also as its digits (AWS has nothing but texts there); None for anything else."""
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) <= 19:
        said = int(said)
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= highest else None


def truth_of(said: object) -> bool | None:
    """true or false, also as a text; None for anything else."""
    if isinstance(said, bool):
        return said
    return {"true": True, "false": False}.get(said) if isinstance(said, str) else None


def _parse(device_id: str, fields: Mapping[str, object], at_ms: int, source: Source) -> FirmwareReport | None:
    version = text_of(fields.get("version"), FIRMWARE_VERSION_LENGTH_MAX)
    digest = digest_of(fields.get("digest"))
    if not version and not digest:
        return None
    self_test = fields.get("self_test")
    return FirmwareReport(
        device_id=device_id,
        version=version,
        digest=digest,
        slot=text_of(fields.get("slot"), SLOT_LENGTH_MAX),
        is_confirmed=truth_of(fields.get("confirmed")),
        epoch=number_of(fields.get("epoch"), FIRMWARE_EPOCH_MAX),
        boot_id=text_of(fields.get("boot_id"), BOOT_ID_LENGTH_MAX),
        session=text_of(fields.get("session"), BOOT_ID_LENGTH_MAX),
        seq=number_of(fields.get("seq"), REPORT_SEQ_MAX) or 0,
        hw=text_of(fields.get("hw"), HARDWARE_LENGTH_MAX),
        self_test="passed" if self_test == "passed" else "failed" if self_test == "failed" else "",
        at_ms=at_ms,
        source=source,
    )
