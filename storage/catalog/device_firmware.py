"""What each device last said that it runs, and images that a device or a kind of hardware must not be offered again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import NotFound
from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.management.firmware_report import FirmwareReport
from appliance.management.permissions import Scope, scope_to_json
from storage.catalog.database import CatalogDatabase

_COLUMNS: Final = "device_id, version, digest, slot, is_confirmed, epoch, hw, boot_id, session, seq, source, reported_at_ms, booted_at_ms"
HARDWARE_FELL_BACK_COUNT_MIN: Final = 2
"""So many devices of one kind of hardware, and no fewer than 5 % of those that tried, speak against an image for all of it."""
HARDWARE_FELL_BACK_PERCENT_MIN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFirmware:
    """The last report of a device; `booted_at_ms` is when the first one of its boot came, UTC ms."""

    report: FirmwareReport
    booted_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBad:
    """An image that is not offered again: to a device, or with `hw` to a kind of hardware."""

    known_bad_id: str
    device_id: str
    hw: str
    digest: str
    execution_id: str
    reason: str
    created_at_ms: int


class DeviceFirmwareTable(CatalogDatabase):
    """Methods of the catalog about what runs on devices."""

    def device_firmware(self, device_id: str) -> DeviceFirmware | None:
        """What it last said, None when it never did."""
        found = self.row(f"SELECT {_COLUMNS} FROM device_firmware WHERE device_id = ?", (device_id,))  # noqa: S608
        return _firmware(found) if found else None

    def all_device_firmware(self) -> Iterator[DeviceFirmware]:
        """Of all devices, by their id."""
        last = ""
        while found := self.rows(
            f"SELECT {_COLUMNS} FROM device_firmware WHERE device_id > ? ORDER BY device_id LIMIT ?",  # noqa: S608
            (last, PAGE_ITEM_COUNT_MAX),
        ):
            yield from map(_firmware, found)
            last = found[-1]["device_id"]

    def save_device_firmware(self, report: FirmwareReport, booted_at_ms: int) -> None:
        """Keep a device's newest report in place of the one before."""
        confirmed = None if report.is_confirmed is None else int(report.is_confirmed)
        self.execute(
            f"INSERT OR REPLACE INTO device_firmware ({_COLUMNS}) "  # noqa: S608
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                report.device_id,
                report.version,
                report.digest,
                report.slot,
                confirmed,
                report.epoch,
                report.hw,
                report.boot_id,
                report.session,
                report.seq,
                report.source,
                report.at_ms,
                booted_at_ms,
            ),
        )
        self.touched("device_firmware", report.device_id)

    def shift_device_firmware(self, by_ms: int) -> None:
        """Move the times of all reports with the wall clock."""
        self.execute(
            "UPDATE device_firmware SET reported_at_ms = reported_at_ms + ?, booted_at_ms = booted_at_ms + ?",
            (by_ms, by_ms),
        )

    # --- Known bad -----------------------------------------------------------------------------------------

    def known_bad(self, device_id: str, digest: str) -> KnownBad | None:
        """Why an image is not offered to a device: its own way back, or its hardware's; None when it may be."""
        found = self.row(
            "SELECT known_bad_id, device_id, hw, digest, execution_id, reason, created_at_ms FROM known_bad "
            "WHERE digest = ?1 AND (device_id = ?2 OR (hw <> '' AND hw = "
            "(SELECT f.hw FROM device_firmware f WHERE f.device_id = ?2))) ORDER BY device_id DESC LIMIT 1",
            (digest, device_id),
        )
        return KnownBad(**dict(found)) if found else None

    def list_known_bad(
        self, *, digest: str | None = None, device_id: str | None = None, scope: Scope = None
    ) -> list[KnownBad]:
        """What is known bad, the newest first; at most PAGE_ITEM_COUNT_MAX.

        Args:
            digest: Only of this image. device_id: Only what counts for this device, its hardware's marks among it.
            scope: Marks of devices outside are left out; those of hardware are not.
        """
        found = self.rows(
            "SELECT known_bad_id, device_id, hw, digest, execution_id, reason, created_at_ms FROM known_bad "
            "WHERE (?1 IS NULL OR digest = ?1) AND (?2 IS NULL OR device_id = ?2 OR (hw <> '' AND hw = "
            "(SELECT f.hw FROM device_firmware AS f WHERE f.device_id = ?2))) AND (?3 IS NULL OR device_id = '' OR device_id IN "
            "(SELECT d.device_id FROM devices AS d, json_each(d.groups) AS g WHERE g.value IN (SELECT value FROM json_each(?3)))) "
            "ORDER BY created_at_ms DESC, known_bad_id LIMIT ?4",
            (digest, device_id, None if scope is None else scope_to_json(scope), PAGE_ITEM_COUNT_MAX),
        )
        return [KnownBad(**dict(row)) for row in found]

    def add_known_bad(
        self, device_id: str, digest: str, *, execution_id: str, reason: str, now_ms: int
    ) -> list[KnownBad]:
        """A device went back from an image; when enough of its kind did, it is known bad for the hardware as well.

        Returns:
            What is known bad since now.
        """
        added = []
        if self._put(f"{device_id}/{digest}", device_id, "", digest, execution_id, reason, now_ms):
            added.append(f"{device_id}/{digest}")
        found = self.row("SELECT hw FROM device_firmware WHERE device_id = ?", (device_id,))
        hardware = str(found[0]) if found else ""
        if hardware and self._speaks_for_all(hardware, digest):
            key = f"hw:{hardware}/{digest}"
            said = f"Devices of hardware {hardware} went back from it."
            if self._put(key, "", hardware, digest, execution_id, said, now_ms):
                added.append(key)
        return [self.get_known_bad(key) for key in added]

    def forgive_known_bad(self, known_bad_id: str) -> KnownBad:
        """Let an image be offered again.

        Raises:
            NotFound: `known_bad_unknown`.
        """
        found = self.get_known_bad(known_bad_id)
        self.execute("DELETE FROM known_bad WHERE known_bad_id = ?", (known_bad_id,))
        return found

    def forgive_device(self, device_id: str, digest: str) -> None:
        """Let an image be offered to one device again, whatever it did with it before."""
        self.execute("DELETE FROM known_bad WHERE device_id = ? AND digest = ?", (device_id, digest))

    def _put(
        self,
        key: str,
        device_id: str,
        hardware: str,
        digest: str,
        execution_id: str,
        reason: str,
        now_ms: int,
    ) -> bool:
        return bool(
            self.execute(
                "INSERT OR IGNORE INTO known_bad (known_bad_id, device_id, hw, digest, execution_id, reason, created_at_ms, "
                "origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (key, device_id, hardware, digest, execution_id, reason, now_ms, self.origin, self.hlc),
            )
        )

    def get_known_bad(self, known_bad_id: str) -> KnownBad:
        """One mark. Raises NotFound: `known_bad_unknown`."""
        found = self.row(
            "SELECT known_bad_id, device_id, hw, digest, execution_id, reason, created_at_ms FROM known_bad "
            "WHERE known_bad_id = ?",
            (known_bad_id,),
        )
        if found is None:
            raise NotFound(
                f"Nothing is known bad by the name “{known_bad_id[:200]}”.",
                hint="Look at the list of what is known bad.",
                code="known_bad_unknown",
            )
        return KnownBad(**dict(found))

    def _speaks_for_all(self, hardware: str, digest: str) -> bool:
        found = self.row(
            "SELECT count(*) FROM known_bad k JOIN device_firmware f ON f.device_id = k.device_id "
            "WHERE k.digest = ? AND f.hw = ?",
            (digest, hardware),
        )
        tried = self.row(
            "SELECT count(DISTINCT e.device_id) FROM executions e JOIN device_firmware f ON f.device_id = e.device_id "
            "WHERE e.to_digest = ? AND f.hw = ? AND e.slot_touched = 1",
            (digest, hardware),
        )
        assert found
        assert tried
        bad_count, tried_count = int(found[0]), int(tried[0])
        return (
            bad_count >= HARDWARE_FELL_BACK_COUNT_MIN
            and bad_count * 100 >= tried_count * HARDWARE_FELL_BACK_PERCENT_MIN
        )


def _firmware(row: Any) -> DeviceFirmware:
    return DeviceFirmware(
        report=FirmwareReport(
            device_id=row["device_id"],
            version=row["version"],
            digest=row["digest"],
            slot=row["slot"],
            is_confirmed=None if row["is_confirmed"] is None else bool(row["is_confirmed"]),
            epoch=row["epoch"],
            boot_id=row["boot_id"],
            session=row["session"],
            seq=row["seq"],
            hw=row["hw"],
            at_ms=row["reported_at_ms"],
            source=row["source"],
        ),
        booted_at_ms=row["booted_at_ms"],
    )
