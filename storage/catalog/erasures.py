"""Erasures: devices whose readings must go, and how far that has come.

    requested   by a person; nothing is gone yet
    erased      store and archive have nothing of it any more; what came before `before_seq` is never stored again
    complete    the log does not have these records any more either

`before_seq` of a requested one is the log's head when it was asked for; when the store has been cleared it becomes the
store's cursor of that moment, which is later. Rows are never deleted: a rebuild of the store asks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.core.errors import Conflict, NotFound
from appliance.management.access import check_device_id
from storage.catalog.database import CatalogDatabase
from storage.catalog.homes import OWN_ORIGIN

ErasureState = Literal["requested", "erased", "complete"]
_COLUMNS: Final = "erasure_id, device_id, epoch, before_seq, state, reading_count, requested_at_ms, erased_at_ms, completed_at_ms"

_FOLLOWS: Final = "@"
"""Stands in the id of an erasure that follows another node's: positions are of a node's own log, so each has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One erasure. Times are UTC ms.

    Attributes:
        epoch, before_seq: Position in the log: no record of the device before it is stored.
        reading_count: Readings that were in the store and the archive.
    """

    erasure_id: str
    device_id: str
    epoch: int
    before_seq: int
    state: ErasureState
    reading_count: int
    requested_at_ms: int
    erased_at_ms: int | None
    completed_at_ms: int | None


class ErasureTable(CatalogDatabase):
    """Methods of the catalog about erasures."""

    def request_erasure(self, device_id: str, *, epoch: int, before_seq: int) -> Erasure:
        """Note that a device's readings are to go. The device need not be known: its readings may be older than that.

        Args:
            epoch, before_seq: The log's head.
        Raises:
            UsageError: `device_id_invalid`. Conflict: `erasure_under_way`.
        """
        check_device_id(device_id)
        with self.transaction():
            waiting = self.row(
                "SELECT erasure_id FROM erasures WHERE device_id = ? AND state = 'requested'", (device_id,)
            )
            if waiting:
                raise Conflict(
                    f"An erasure of “{device_id}” is under way.",
                    hint="The page Storage says how far it is.",
                    code="erasure_under_way",
                )
            now_ms = self._clock.now_ms()
            found = self.row("SELECT count(*) FROM erasures")
            assert found
            erasure_id = f"{now_ms:012x}-{self.origin[:8]}-{found[0] + 1}"
            self.execute(
                f"INSERT INTO erasures ({_COLUMNS}, origin, hlc) VALUES (?, ?, ?, ?, 'requested', 0, ?, NULL, NULL, ?, ?)",  # noqa: S608
                (erasure_id, device_id, epoch, before_seq, now_ms, self.origin, self.hlc),
            )
            return self.get_erasure(erasure_id)

    def follow_erasures(self, *, epoch: int, before_seq: int) -> list[str]:
        """What was to go on another node goes here too: an erasure of this node's own for each that it has none for.

        Args:
            epoch, before_seq: The log's head.
        Returns:
            Devices of new ones.
        """
        with self.transaction():
            found = self.rows(
                f"SELECT erasure_id, device_id, requested_at_ms FROM erasures AS theirs WHERE NOT theirs.{OWN_ORIGIN} "  # noqa: S608
                "AND instr(erasure_id, ?) = 0 AND NOT EXISTS (SELECT 1 FROM erasures AS ours "
                "WHERE ours.erasure_id = theirs.erasure_id || ? || ?) ORDER BY requested_at_ms",
                (_FOLLOWS, _FOLLOWS, self.origin[:8]),
            )
            for row in found:
                self.execute(
                    f"INSERT INTO erasures ({_COLUMNS}, origin, hlc) VALUES (?, ?, ?, ?, 'requested', 0, ?, NULL, NULL, ?, ?)",  # noqa: S608
                    (
                        f"{row['erasure_id']}{_FOLLOWS}{self.origin[:8]}", row["device_id"], epoch, before_seq,
                        row["requested_at_ms"], self.origin, self.hlc,
                    ),
                )  # fmt: skip
            return [row["device_id"] for row in found]

    def get_erasure(self, erasure_id: str) -> Erasure:
        """One erasure. Raises NotFound: `erasure_unknown`."""
        found = self.row(f"SELECT {_COLUMNS} FROM erasures WHERE erasure_id = ?", (erasure_id,))  # noqa: S608
        if found is None:
            raise NotFound(
                f"There is no erasure “{erasure_id[:64]}”.",
                hint="Look at the list of erasures.",
                code="erasure_unknown",
            )
        return _erasure(found)

    def list_erasures(self, *, device_id: str | None = None, limit: int = 100) -> list[Erasure]:
        """The newest first; all, or a device's."""
        found = self.rows(
            f"SELECT {_COLUMNS} FROM erasures WHERE ? IS NULL OR device_id = ?"  # noqa: S608
            " ORDER BY requested_at_ms DESC, erasure_id DESC LIMIT ?",
            (device_id, device_id, limit),
        )
        return list(map(_erasure, found))

    def erasures_in(self, state: ErasureState, *, limit: int = 100) -> list[Erasure]:
        """Those of this node's log in a state, the oldest first."""
        found = self.rows(
            f"SELECT {_COLUMNS} FROM erasures WHERE state = ? AND {OWN_ORIGIN} ORDER BY requested_at_ms, erasure_id LIMIT ?",  # noqa: S608
            (state, limit),
        )
        return list(map(_erasure, found))

    def erasures_for_pipeline(self) -> dict[str, tuple[int, int]]:
        """By device: the position (epoch, before_seq) before which none of its records is stored, the last one of each.

        Complete ones are among them: a log that was put back from a backup has their records.
        """
        found = self.rows(
            f"SELECT device_id, epoch, before_seq FROM erasures WHERE {OWN_ORIGIN} ORDER BY epoch, before_seq"  # noqa: S608
        )
        return {row["device_id"]: (row["epoch"], row["before_seq"]) for row in found}

    def note_erased(self, erasure_id: str, *, epoch: int, before_seq: int, reading_count: int) -> Erasure:
        """Store and archive have nothing of the device any more, from before that position. Raises NotFound."""
        with self.transaction():
            before = self.get_erasure(erasure_id)
            if before.state == "requested":
                self.execute(
                    "UPDATE erasures SET state = 'erased', epoch = ?, before_seq = ?, reading_count = ?, erased_at_ms = ?,"
                    " origin = ?, hlc = ? WHERE erasure_id = ?",
                    (
                        epoch,
                        before_seq,
                        reading_count,
                        self._clock.now_ms(),
                        self.origin,
                        self.hlc,
                        erasure_id,
                    ),
                )
            return self.get_erasure(erasure_id)

    def note_complete(self, erasure_id: str) -> Erasure:
        """The log has nothing of it any more either. Raises NotFound."""
        with self.transaction():
            if self.get_erasure(erasure_id).state == "erased":
                self.execute(
                    "UPDATE erasures SET state = 'complete', completed_at_ms = ?, origin = ?, hlc = ? WHERE erasure_id = ?",
                    (self._clock.now_ms(), self.origin, self.hlc, erasure_id),
                )
            return self.get_erasure(erasure_id)


def _erasure(row: Any) -> Erasure:
    return Erasure(**{name: row[name] for name in _COLUMNS.split(", ")})
