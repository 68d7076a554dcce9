"""Names, tags and roles of devices."""

from __future__ import annotations

import pytest

from appliance.core.errors import UsageError
from storage.catalog.device_checks import check_name, check_role, check_tags


def test_space_around_is_taken_off_and_a_tag_stands_once() -> None:
    assert check_name(" Pump ") == "Pump"
    assert check_tags([" a ", "b", "a"]) == ("a", "b")


@pytest.mark.parametrize("name", ["x" * 201, "a\nb"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_name(name)
    assert refused.value.code == "device_name_invalid"


@pytest.mark.parametrize("tags", [[""], ["x" * 65], [str(n) for n in range(33)], ["a\0"]])
def test_tags_that_are_refused(tags: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        check_tags(tags)
    assert refused.value.code == "device_tags_invalid"


def test_a_role_stands_beside_its_own_topics_only() -> None:
    check_role("own", "board")
    check_role("site", "")
    with pytest.raises(UsageError) as refused:
        check_role("site", "board")
    assert refused.value.code == "role_with_site"
