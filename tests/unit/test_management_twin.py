"""Twins: versions, sections, bounds, names."""

from __future__ import annotations

import pytest

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits_twins import TWIN_LEAF_COUNT_MAX, TWIN_SECTION_BYTES_MAX
from appliance.management.twin import (
    SectionChange,
    Twin,
    TwinChange,
    check_name,
    too_many,
    unknown,
)


def desired(**values: object) -> TwinChange:
    return TwinChange(desired=SectionChange(values=values))


def reported(**values: object) -> TwinChange:
    return TwinChange(reported=SectionChange(values=values))


def test_both_sides_count_one_version() -> None:
    twin = Twin().updated(desired(rate_s=5, mode="eco"), 100).updated(reported(rate_s=10), 200)
    assert (twin.version, twin.is_there) == (2, True)
    assert twin.delta == {"rate_s": 5, "mode": "eco"}
    assert (twin.desired_at, twin.reported_at) == ({"rate_s": 100, "mode": 100}, {"rate_s": 200})
    done = twin.updated(reported(rate_s=5, mode="eco"), 300)
    assert done.delta == {}
    assert done.desired_at == twin.desired_at


def test_both_sides_may_change_at_once_and_a_section_can_be_cleared() -> None:
    twin = Twin().updated(
        TwinChange(desired=SectionChange(values={"a": 1}), reported=SectionChange(values={"a": 1})), 1
    )
    cleared = twin.updated(TwinChange(desired=SectionChange(is_cleared=True)), 2)
    assert (cleared.desired, cleared.desired_at, cleared.reported) == ({}, {}, {"a": 1})


@pytest.mark.parametrize("version", [0, 2, 99])
def test_who_saw_another_version_changes_nothing(version: int) -> None:
    twin = Twin().updated(desired(a=1), 1)
    with pytest.raises(Conflict) as refused:
        twin.updated(TwinChange(desired=SectionChange(values={"a": 2}), version=version), 2)
    assert refused.value.code == "twin_version"
    assert twin.updated(TwinChange(version=1), 2).version == 2


def test_a_deleted_twin_leaves_its_version_behind() -> None:
    twin = Twin().updated(desired(a=1), 1)
    with pytest.raises(Conflict):
        twin.deleted(version=7)
    gone = twin.deleted(version=1)
    assert gone == Twin(version=2)
    with pytest.raises(NotFound) as nothing:
        gone.deleted()
    assert nothing.value.code == "twin_unknown"
    assert gone.updated(desired(b=1), 3).version == 3


def test_a_section_is_bounded_as_it_is_after_the_change() -> None:
    full = Twin().updated(desired(text="x" * (TWIN_SECTION_BYTES_MAX - len('{"text":""}'))), 1)
    with pytest.raises(LimitExceeded) as too_large:
        full.updated(desired(one=1), 2)
    assert too_large.value.code == "twin_too_large"
    assert full.updated(desired(one=1, text=None), 2).desired == {"one": 1}
    Twin().updated(reported(many=[1] * TWIN_LEAF_COUNT_MAX), 1)
    with pytest.raises(LimitExceeded) as too_many_values:
        Twin().updated(reported(many=[1] * (TWIN_LEAF_COUNT_MAX + 1)), 1)
    assert "501 values" in too_many_values.value.message


def test_eight_levels_are_enough() -> None:
    levels: object = 1
    for _ in range(8):
        levels = [levels]
    Twin().updated(reported(a=levels), 1)
    with pytest.raises(UsageError) as too_deep:
        Twin().updated(reported(a=[levels]), 1)
    assert too_deep.value.code == "twin_too_deep"


@pytest.mark.parametrize("name", ["", "config", "a:b_c-9", "x" * 64])
def test_names_that_are_taken(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["a/b", "ä", "$x", "x" * 65, "a b", "a\n"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_name(name)
    assert refused.value.code == "twin_name_invalid"


def test_refusals_say_which_twin() -> None:
    assert "“config”" in unknown("config").message
    assert "without a name" in unknown().message
    assert too_many().code == "twin_count"
