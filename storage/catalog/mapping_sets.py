"""Sets of mappings that were ever in force on this node, and from which record of its log on.

Written once, in the transaction that changes the mappings. A set goes only when there are too many of them and the log
keeps no record that was read by it. Other nodes have logs of their own: their sets are not ours to read.
"""

from __future__ import annotations

import msgspec

from appliance.core.errors import ConfigError, LimitExceeded, StorageError
from appliance.core.limits import MAPPING_SET_BYTES_MAX, MAPPING_SET_COUNT_MAX
from appliance.management.mapping import TopicMapping
from appliance.management.mapping_history import BEGINNING, MappingSet, read_mappings, write_mappings
from storage.catalog.database import CatalogDatabase


class MappingSetTable(CatalogDatabase):
    """Methods of the catalog about sets of mappings."""

    def list_mapping_sets(self, *, after: int = 0) -> list[MappingSet]:
        """This node's sets with a number above that, in their order.

        Raises:
            StorageError: `mapping_set_unreadable`: a newer Homeport wrote one.
        """
        found = self.rows(
            "SELECT number, epoch, from_seq, mappings FROM mapping_sets "
            "WHERE origin = (SELECT node_id FROM change_clock) AND number > ? ORDER BY number",
            (after,),
        )
        return [
            MappingSet(
                number=row["number"],
                epoch=row["epoch"],
                from_seq=row["from_seq"],
                mappings=_read(row["number"], row["mappings"]),
            )
            for row in found
        ]

    def put_mapping_set(
        self, position: tuple[int, int], mappings: tuple[TopicMapping, ...], *, first_seq: int = 1
    ) -> MappingSet | None:
        """Have a set hold from a position of the log on; this node's first one holds from the beginning.

        Args:
            position: (epoch, sequence) that no record before was read behind.
            mappings: All of them, in order. first_seq: The oldest record that the log keeps.
        Returns:
            The set, or None when the newest one is the same.
        Raises:
            LimitExceeded: `mapping_set_bytes`, `mapping_set_count`.
        """
        text = write_mappings(mappings)
        if len(text.encode()) > MAPPING_SET_BYTES_MAX:
            raise LimitExceeded(
                f"All mappings together are larger than {MAPPING_SET_BYTES_MAX // 1024} KiB.",
                hint="Leave out fields that keep their names, or mappings that no topic fits.",
                code="mapping_set_bytes",
            )
        with self.transaction():
            newest = self.row(
                "SELECT number, from_seq, mappings FROM mapping_sets WHERE origin = ? ORDER BY number DESC LIMIT 1",
                (self.origin,),
            )
            # A set that begins behind the log's end is of a log that is gone.
            if newest is not None and newest["mappings"] == text and newest["from_seq"] <= position[1]:
                return None
            number = 1 if newest is None else newest["number"] + 1
            epoch, from_seq = BEGINNING if newest is None else position
            self._make_room(first_seq)
            self.execute(
                "INSERT INTO mapping_sets (set_id, number, epoch, from_seq, mappings, made_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    f"{self.origin}-{number}",
                    number,
                    epoch,
                    from_seq,
                    text,
                    self._clock.now_ms(),
                    self.origin,
                    self.hlc,
                ),
            )
        return MappingSet(number=number, epoch=epoch, from_seq=from_seq, mappings=mappings)

    def _make_room(self, first_seq: int) -> None:
        """Forget sets behind whose end the log begins, when there are too many. The oldest then stands for the beginning."""
        sets = self.rows(
            "SELECT set_id, epoch, from_seq FROM mapping_sets WHERE origin = ? ORDER BY number",
            (self.origin,),
        )
        excess = len(sets) + 1 - MAPPING_SET_COUNT_MAX
        if excess <= 0:
            return
        unread = (
            [at for at in range(excess) if sets[at + 1]["from_seq"] <= first_seq]
            if excess < len(sets)
            else []
        )
        if len(unread) < excess:
            raise LimitExceeded(
                f"The mappings were changed {len(sets)} times, and the log still has messages from before.",
                hint="Change them again when the log has moved on, and several of them before you look.",
                code="mapping_set_count",
            )
        for at in unread:
            self.execute("DELETE FROM mapping_sets WHERE set_id = ?", (sets[at]["set_id"],))
        epoch, from_seq = BEGINNING
        self.execute(
            "UPDATE mapping_sets SET epoch = ?, from_seq = ?, hlc = ? WHERE set_id = ?",
            (epoch, from_seq, self.hlc, sets[excess]["set_id"]),
        )


def _read(number: int, text: str) -> tuple[TopicMapping, ...]:
    try:
        return read_mappings(text)
    except (ConfigError, msgspec.DecodeError) as error:
        raise StorageError(
            f"The set of mappings {number} can't be read: {error}.",
            hint="A newer Homeport wrote it: start that one again.",
            code="mapping_set_unreadable",
        ) from error
