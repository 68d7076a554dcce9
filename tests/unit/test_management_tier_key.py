"""The recorded generation of the tier's key."""

from __future__ import annotations

import pytest

from appliance.core.errors import Conflict, NotFound
from appliance.core.limits_replication import TIER_KEY_GENERATION_MAX
from appliance.management.tier_key import check_sealing, next_generation, recorded


@pytest.mark.parametrize(
    ("value", "generation"),
    [(None, 0), ("3", 0), (True, 0), (0, 0), (1, 1), (7, 7), (TIER_KEY_GENERATION_MAX + 1, 0)],
)
def test_what_no_version_writes_counts_for_nothing(value: object, generation: int) -> None:
    assert recorded(value) == generation


def test_the_next_one_comes_after_file_and_catalog() -> None:
    assert next_generation(1, None) == 2
    assert next_generation(1, 5) == 6
    assert next_generation(9, 5) == 10
    with pytest.raises(Conflict, match="no more than"):
        next_generation(1, TIER_KEY_GENERATION_MAX)


def test_without_a_region_or_a_seal_there_is_nothing_to_change() -> None:
    check_sealing(1, is_sealed=True)
    with pytest.raises(NotFound, match="No region"):
        check_sealing(0, is_sealed=True)
    with pytest.raises(Conflict, match="not sealed"):
        check_sealing(1, is_sealed=False)
