"""What holds for a record follows from its position alone."""

from __future__ import annotations

from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.rules import LogRules


def test_erasures_and_archived_days_end_where_they_say() -> None:
    rules = LogRules(
        MappingSets.always([]), lambda: {"gone": (1, 50), "old": (1, 10)}, {19_000: 30, 19_001: 70}
    )
    with rules.reading(1, 20) as at:
        assert at.erased == {"gone"}
        assert at.archived == {19_000, 19_001}
        assert at.until_seq == 30
    with rules.reading(1, 50) as at:
        assert not at.erased
        assert at.archived == {19_001}
        assert at.until_seq == 70
    with rules.reading(1, 70) as at:
        assert (at.erased, at.archived, at.until_seq) == (frozenset(), frozenset(), None)


def test_nobody_reads_beyond_where_a_change_of_mappings_began() -> None:
    sets = MappingSets.always([])
    rules = LogRules(sets)
    sets.hold(lambda: (1, 40))
    with rules.reading(1, 20) as at:
        assert at.until_seq == 40
    sets.release([])
    with rules.reading(1, 20) as at:
        assert at.until_seq is None
