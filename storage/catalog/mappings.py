"""Mappings that operators wrote: by which topics and payloads become readings, in the order in which they are tried.

A change here holds only together with the set that is made of it (mapping_sets.py), in the same transaction.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from appliance.core.errors import ConfigError, LimitExceeded, NotFound, StorageError, UsageError
from appliance.core.ids import RandomBytes
from appliance.core.limits import MAPPING_COUNT_MAX, MAPPING_NOTE_LENGTH_MAX
from appliance.management.mapping import FieldRule, TopicMapping
from storage.catalog.mapping_sets import MappingSetTable

_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenMapping:
    """A mapping with what the catalog adds to it.

    Attributes:
        position: 1 for the one that is tried first.
    """

    mapping_id: str
    position: int
    mapping: TopicMapping
    note: str
    created_at_ms: int
    updated_at_ms: int
    version: int


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    """The column `fields`."""

    only: bool
    rules: list[_Rule]


class _Rule(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    path: str
    metric: str
    scale: float = 1.0
    offset: float = 0.0


_decode_fields = msgspec.json.Decoder(_Fields | None).decode


class MappingTable(MappingSetTable):
    """Methods of the catalog about operators' mappings."""

    def mappings_in_force(self) -> tuple[TopicMapping, ...]:
        """Those that operators wrote, in order. Raises as list_mappings."""
        return tuple(each.mapping for each in self.list_mappings())

    def list_mappings(self) -> list[WrittenMapping]:
        """All of them in the order in which they are tried.

        Raises:
            StorageError: `mapping_unreadable`: a newer Homeport wrote one.
        """
        return [_written(row) for row in self.rows("SELECT * FROM mappings ORDER BY position, mapping_id")]

    def get_mapping(self, mapping_id: str) -> WrittenMapping:
        """Raises:
        NotFound: `mapping_unknown`. StorageError: as list_mappings.
        """
        found = self.row("SELECT * FROM mappings WHERE mapping_id = ?", (mapping_id,))
        if found is None:
            raise NotFound(
                f"There is no mapping “{mapping_id[:100]}”.",
                hint="Look at the list of mappings; those of the configuration are changed there.",
                code="mapping_unknown",
            )
        return _written(found)

    def add_mapping(
        self,
        mapping: TopicMapping,
        *,
        note: str = "",
        position: int | None = None,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> WrittenMapping:
        """Add a mapping, as the last one or at a place of the order.

        Raises:
            LimitExceeded: `mapping_count`. UsageError: `mapping_note_invalid`, `mapping_position_invalid`.
        """
        _check_note(note)
        with self.transaction():
            ids = self._mapping_ids()
            if len(ids) >= MAPPING_COUNT_MAX:
                raise LimitExceeded(
                    f"There are {MAPPING_COUNT_MAX} mappings already.",
                    hint="Remove one, or let one pattern with + or {metric} do the work of several.",
                    code="mapping_count",
                )
            mapping_id = random_bytes(_ID_BYTES).hex()
            now_ms = self._clock.now_ms()
            self.execute(
                "INSERT INTO mappings (mapping_id, position, pattern, format, metric, fields, note, created_at_ms, "
                "updated_at_ms, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    mapping_id,
                    len(ids) + 1,
                    mapping.pattern,
                    mapping.format,
                    mapping.metric or None,
                    _fields_text(mapping),
                    note,
                    now_ms,
                    now_ms,
                    self.origin,
                    self.hlc,
                ),
            )
            self._put_at([*ids, mapping_id], mapping_id, position)
            return self.get_mapping(mapping_id)

    def edit_mapping(
        self,
        mapping_id: str,
        *,
        mapping: TopicMapping | None = None,
        note: str | None = None,
        position: int | None = None,
    ) -> WrittenMapping:
        """Change a mapping, its note or its place; None leaves one as it is. Raises as get_mapping and add_mapping."""
        with self.transaction():
            before = self.get_mapping(mapping_id)
            after, words = mapping or before.mapping, before.note if note is None else note
            _check_note(words)
            if (after, words) != (before.mapping, before.note):
                self.execute(
                    "UPDATE mappings SET pattern = ?, format = ?, metric = ?, fields = ?, note = ?, updated_at_ms = ?, "
                    "origin = ?, hlc = ? WHERE mapping_id = ?",
                    (
                        after.pattern,
                        after.format,
                        after.metric or None,
                        _fields_text(after),
                        words,
                        self._clock.now_ms(),
                        self.origin,
                        self.hlc,
                        mapping_id,
                    ),
                )
            self._put_at(self._mapping_ids(), mapping_id, position)
            return self.get_mapping(mapping_id)

    def remove_mapping(self, mapping_id: str) -> None:
        """Raises:
        NotFound: `mapping_unknown`.
        """
        with self.transaction():
            self.get_mapping(mapping_id)
            self.execute("DELETE FROM mappings WHERE mapping_id = ?", (mapping_id,))
            self._number(self._mapping_ids())

    def _mapping_ids(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT mapping_id FROM mappings ORDER BY position, mapping_id")]

    def _put_at(self, ids: list[str], mapping_id: str, position: int | None) -> None:
        if position is not None:
            if not 1 <= position <= len(ids):
                raise UsageError(
                    f"A position must be from 1 to {len(ids)}.",
                    hint="1 is the mapping that is tried first.",
                    code="mapping_position_invalid",
                )
            ids.remove(mapping_id)
            ids.insert(position - 1, mapping_id)
        self._number(ids)

    def _number(self, ids: list[str]) -> None:
        for position, mapping_id in enumerate(ids, start=1):
            self.execute(
                "UPDATE mappings SET position = ?, updated_at_ms = ?, origin = ?, hlc = ? "
                "WHERE mapping_id = ? AND position <> ?",
                (position, self._clock.now_ms(), self.origin, self.hlc, mapping_id, position),
            )


def _check_note(note: str) -> None:
    if len(note) > MAPPING_NOTE_LENGTH_MAX or not note.replace("\n", "").isprintable():
        raise UsageError(
            f"A note is at most {MAPPING_NOTE_LENGTH_MAX} characters, without control characters.",
            hint="Shorten it.",
            code="mapping_note_invalid",
        )


def _fields_text(mapping: TopicMapping) -> str:
    if not mapping.fields:
        return "null"
    rules = [_Rule(each.path, each.metric, each.scale, each.offset) for each in mapping.fields]
    return msgspec.json.encode(_Fields(mapping.only_fields, rules)).decode()


def _written(row: Any) -> WrittenMapping:
    try:
        fields = _decode_fields(row["fields"])
        mapping = TopicMapping(
            pattern=row["pattern"],
            format=row["format"],
            metric=row["metric"],
            fields=tuple(
                FieldRule(path=each.path, metric=each.metric, scale=each.scale, offset=each.offset)
                for each in (fields.rules if fields else ())
            ),
            only_fields=fields is not None and fields.only,
        )
    except (ConfigError, msgspec.DecodeError) as error:
        raise StorageError(
            f"The mapping {row['mapping_id']} can't be read: {error}.",
            hint="A newer Homeport wrote it: start that one again.",
            code="mapping_unreadable",
        ) from error
    return WrittenMapping(
        mapping_id=row["mapping_id"],
        position=row["position"],
        mapping=mapping,
        note=row["note"],
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        version=row["hlc"],
    )
