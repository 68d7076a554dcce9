"""Which set of mappings each record of the log is read by: the one that was in force when it was read first.

A set holds from a position of the log on, until the next one. So a rebuild reads every record as it was read before,
whatever was changed since. Positions are compared by sequence, which counts on from one epoch to the next; the epoch is there to be read.

Pure. Must not know where sets are kept, or who else reads them: one thread at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from appliance.core.limits import MAPPING_ROUTER_COUNT_MAX
from appliance.management.mapping import FieldRule, TopicMapping, TopicRouter

BEGINNING: Final = (0, 1)
"""The position before any record: (epoch, sequence)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSet:
    """All mappings that were in force at once, in the order in which they are tried.

    Attributes:
        number: Counts up from 1; of two sets that hold, the higher one counts.
        epoch, from_seq: The first record that is read by it; never inside a block.
    """

    number: int
    epoch: int
    from_seq: int
    mappings: tuple[TopicMapping, ...]

    @property
    def position(self) -> tuple[int, int]:
        return self.epoch, self.from_seq


class MappingHistory:
    """All sets that were ever in force.

    Args:
        sets: At least one that holds from the beginning on.
        router_count_max: Routers kept at a time; each remembers the topics it has seen.
    """

    def __init__(
        self, sets: Iterable[MappingSet], *, router_count_max: int = MAPPING_ROUTER_COUNT_MAX
    ) -> None:
        self._sets = sorted(sets, key=lambda each: each.number)
        self._routers: OrderedDict[int, TopicRouter] = OrderedDict()
        self._router_count_max = router_count_max
        assert any(each.from_seq <= BEGINNING[1] for each in self._sets), (
            "some set holds from the beginning on"
        )

    @property
    def newest(self) -> MappingSet:
        """The set with the highest number."""
        return self._sets[-1]

    def __len__(self) -> int:
        return len(self._sets)

    def add(self, new: MappingSet) -> None:
        """Put a set in force; does nothing when it is known already."""
        if all(each.number != new.number for each in self._sets):
            self._sets.append(new)
            self._sets.sort(key=lambda each: each.number)

    def set_at(self, epoch: int, seq: int) -> MappingSet:
        """The set by which the record at a position is read."""
        return next(each for each in reversed(self._sets) if each.from_seq <= seq)

    def at(self, epoch: int, seq: int) -> tuple[TopicRouter, int | None]:
        """How to read from a position on.

        Returns:
            The router for the record there, and the first sequence that is read by another set; None for none yet.
        """
        now = self.set_at(epoch, seq)
        later = [each.from_seq for each in self._sets if each.number > now.number and each.from_seq > seq]
        return self.router(now), min(later, default=None)

    def router(self, of: MappingSet) -> TopicRouter:
        """The set's router; the least recently used are forgotten and made again."""
        found = self._routers.get(of.number)
        if found is None:
            found = self._routers[of.number] = TopicRouter(of.mappings, defaults=())
            while len(self._routers) > self._router_count_max:
                self._routers.popitem(last=False)
        self._routers.move_to_end(of.number)
        return found


class _WrittenField(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    path: str
    metric: str
    scale: float = 1.0
    offset: float = 0.0


class _Written(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    pattern: str
    format: str = "json"
    metric: str | None = None
    fields: tuple[_WrittenField, ...] = ()
    only_fields: bool = False


_decode: Final = msgspec.json.Decoder(list[_Written]).decode


def write_mappings(mappings: Sequence[TopicMapping]) -> str:
    """Mappings as JSON; equal ones give equal text."""
    written = [
        _Written(
            each.pattern,
            each.format,
            each.metric or None,
            tuple(_WrittenField(f.path, f.metric, f.scale, f.offset) for f in each.fields),
            each.only_fields,
        )
        for each in mappings
    ]
    return msgspec.json.encode(written).decode()


def read_mappings(text: str) -> tuple[TopicMapping, ...]:
    """Mappings from what write_mappings made.

    Raises:
        ConfigError: a pattern that can't be used. msgspec.DecodeError: it is no such text, or a newer program's.
    """
    return tuple(
        TopicMapping(
            pattern=each.pattern,
            format=each.format,
            metric=each.metric,
            fields=tuple(
                FieldRule(path=f.path, metric=f.metric, scale=f.scale, offset=f.offset) for f in each.fields
            ),
            only_fields=each.only_fields,
        )
        for each in _decode(text)
    )
