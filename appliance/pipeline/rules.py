"""What holds for records of the log by their position, so that a rebuild reads each as it was read the first time.

Four things change with the position only: the mappings in force, erasures (nothing of a device from before one is stored
again), which days' readings the archive has already, and by which rules readings are watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from appliance.management.mapping import TopicRouter
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.rule_sets import NO_RULES, RuleSet, RuleSets


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds from a position on.

    Attributes:
        until_seq: Where something of it changes; None where nothing does any more. A batch doesn't go beyond.
        erased: Devices whose records are passed over.
        archived: Days (since 1970-01-01 UTC) whose readings in these records the archive has.
        held: Days of which the archive may have what is sent again in these records, read ahead of those that say so.
        watched_by: The rules.
    """

    router: TopicRouter
    until_seq: int | None = None
    erased: frozenset[str] = frozenset()
    archived: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    watched_by: RuleSet = NO_RULES


def _nothing() -> dict[str, tuple[int, int]]:
    return {}


@dataclass(slots=True)
class LogRules:
    """Gives the rules of a position.

    Attributes:
        mappings: By position.
        erasures: Asked for each batch: device → (epoch, sequence) before which none of its records is stored.
        archived: Day → sequence before which the archive has all of its readings. held: As in Rules.
        watched_by: Rules by position.
    """

    mappings: MappingSets
    erasures: Callable[[], Mapping[str, tuple[int, int]]] = _nothing
    archived: Mapping[int, int] = field(default_factory=dict)
    held: frozenset[int] = frozenset()
    watched_by: RuleSets = field(default_factory=RuleSets)

    @contextmanager
    def reading(self, epoch: int, seq: int) -> Iterator[Rules]:
        """The rules for the record `seq`, while blocks from there on are read."""
        with (
            self.mappings.reading(epoch, seq) as (router, mapped_until_seq),
            self.watched_by.reading(epoch, seq) as (watched_by, watched_until_seq),
        ):
            ends = [each for each in (mapped_until_seq, watched_until_seq) if each is not None]
            yield self._rules(router, min(ends, default=None), seq, watched_by)

    def _rules(self, router: TopicRouter, until_seq: int | None, seq: int, watched_by: RuleSet) -> Rules:
        erasures = {
            device: before_seq for device, (_, before_seq) in self.erasures().items() if seq < before_seq
        }
        archived = {day: before_seq for day, before_seq in self.archived.items() if seq < before_seq}
        borders = [*erasures.values(), *archived.values(), *(() if until_seq is None else (until_seq,))]
        return Rules(
            router,
            min(borders, default=None),
            frozenset(erasures),
            frozenset(archived),
            self.held,
            watched_by,
        )
