"""Archived days as nodes announce them: by the digest of a generation's manifest, which names its files by theirs.

A row is written by the node whose day it is, and by no other. A day that is written anew (late readings, an erasure, a class that is over) has
another digest in its row; one that is let go has no row. Whoever holds copies follows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import UsageError
from storage.archive.layout import day_text
from storage.catalog.database import CatalogDatabase
from storage.catalog.homes import OWN_ORIGIN

_COLUMNS: Final = (
    "lineage, day, generation, manifest_sha256, manifest_bytes, total_bytes, content, made_at_ms"
)
_HEX: Final = frozenset("0123456789abcdef")
LINEAGE_LENGTH: Final = 16
"""Characters; hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedDay:
    """One day of one node.

    Attributes:
        node_id: Whose, 32 hexadecimal digits. lineage: Of its archive: see the module announcing of appliance/run.
        day: Days since 1970-01-01 UTC. made_at_ms: When the generation was made, UTC ms.
        manifest_sha256: Lowercase hexadecimal. total_bytes: Of the files and the manifest.
        content: Equal where two nodes have the same readings of the day: all boxes of a site make the same of the same logs.
    """

    node_id: str
    lineage: str
    day: int
    generation: int
    manifest_sha256: str
    manifest_bytes: int
    total_bytes: int
    content: str
    made_at_ms: int

    @property
    def key(self) -> str:
        """The row's."""
        return f"{self.node_id}:{self.lineage}:{day_text(self.day)}"


class ArchivedDayTable(CatalogDatabase):
    """Methods of the catalog about archived days."""

    def archived_days(self) -> list[ArchivedDay]:
        """Of all nodes of the site, the newest day first."""
        found = self.rows(f"SELECT origin, {_COLUMNS} FROM archived_days ORDER BY day DESC, archived_day_id")  # noqa: S608
        return list(map(_day, found))

    def own_archived_days(self) -> list[ArchivedDay]:
        """Of this node, of all lineages, the newest day first."""
        found = self.rows(
            f"SELECT origin, {_COLUMNS} FROM archived_days WHERE {OWN_ORIGIN} ORDER BY day DESC, archived_day_id"  # noqa: S608
        )
        return list(map(_day, found))

    def announce_days(self, days: Iterable[ArchivedDay], gone: Collection[str] = ()) -> None:
        """Write days of this node, and take out rows of it.

        Args:
            gone: Keys. Those of other nodes are left alone.
        Raises:
            UsageError: `archived_day_invalid`: a day is another node's, or no day.
        """
        with self.transaction():
            for each in days:
                self._announce(each)
            for key in gone:
                self.execute(f"DELETE FROM archived_days WHERE archived_day_id = ? AND {OWN_ORIGIN}", (key,))  # noqa: S608

    def _announce(self, each: ArchivedDay) -> None:
        is_named = len(each.manifest_sha256) == 64 and _HEX.issuperset(each.manifest_sha256)
        is_lineage = len(each.lineage) == LINEAGE_LENGTH and _HEX.issuperset(each.lineage)
        numbers = (each.generation, each.manifest_bytes, each.total_bytes - each.manifest_bytes + 1)
        if each.node_id != self.origin or not is_named or not is_lineage or min(numbers) < 1:
            raise UsageError(
                f"The archived day “{each.key[:80]}” can't be announced from here.",
                hint="A node announces its own days, as they lie in its archive.",
                code="archived_day_invalid",
            )
        self.execute(
            f"INSERT INTO archived_days (archived_day_id, {_COLUMNS}, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
            " ON CONFLICT (archived_day_id) DO UPDATE SET generation = excluded.generation, manifest_sha256 = excluded.manifest_sha256,"
            " manifest_bytes = excluded.manifest_bytes, total_bytes = excluded.total_bytes, content = excluded.content, made_at_ms = excluded.made_at_ms,"
            " origin = excluded.origin, hlc = excluded.hlc",
            (
                each.key, each.lineage, each.day, each.generation, each.manifest_sha256, each.manifest_bytes, each.total_bytes,
                each.content, each.made_at_ms, self.origin, self.hlc,
            ),
        )  # fmt: skip


def _day(row: Any) -> ArchivedDay:
    return ArchivedDay(node_id=row["origin"], **{name: row[name] for name in _COLUMNS.split(", ")})
