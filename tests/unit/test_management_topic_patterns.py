"""Topic patterns: what one opens, held against every topic that there is in a small world."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.management.topic_patterns import PatternSet, is_plain_level, parse_pattern
from broker.mqtt.topics import matches

WORLD = ["/".join(levels) for depth in range(1, 6) for levels in product(("a", "b", "$s", ""), repeat=depth)]
"""All topics of up to five levels: more than any filter or pattern below has, plus one."""
LEVELS = st.lists(st.sampled_from(["a", "b", "$s", "", "+"]), min_size=1, max_size=3)
FILTERS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]), LEVELS, st.sampled_from([[], ["#"]])
) | st.just("#")


def opens(pattern: str, wanted: str, *, name: str = "d1", client_id: str = "c1") -> bool:
    return PatternSet([pattern]).opens(wanted.split("/"), name=name, client_id=client_id)


@given(FILTERS.filter(bool), FILTERS.filter(bool))
@settings(max_examples=400, deadline=None)
def test_a_filter_is_open_if_and_only_if_all_that_it_matches_is(pattern: str, wanted: str) -> None:
    reached = [topic for topic in WORLD if topic and matches(wanted, topic)]
    assert opens(pattern, wanted) is all(matches(pattern, topic) for topic in reached)


@given(st.lists(FILTERS.filter(bool), max_size=4), FILTERS.filter(bool))
@settings(max_examples=300, deadline=None)
def test_several_patterns_open_what_one_of_them_opens(patterns: list[str], wanted: str) -> None:
    alone = any(opens(pattern, wanted) for pattern in patterns)
    assert PatternSet(patterns).opens(wanted.split("/"), name="d1", client_id="c1") is alone


@given(FILTERS.filter(bool), st.sampled_from([topic for topic in WORLD if topic]))
@settings(max_examples=400, deadline=None)
def test_a_topic_is_open_if_and_only_if_the_pattern_matches_it(pattern: str, topic: str) -> None:
    assert opens(pattern, topic) is matches(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "wanted", "expected"),
    [
        ("#", "a/b", True),
        ("#", "#", True),
        ("#", "$SYS/broker", False),
        ("+/#", "#", True),
        ("$SYS/#", "$SYS/#", True),
        ("$SYS/#", "#", False),
        ("+/x", "$SYS/x", False),
        ("a/#", "a", True),
        ("a/+/#", "a/#", False),
        ("a/+", "a/#", False),
        ("a/+", "a/+", True),
        ("a/b", "a/+", False),
        ("room/%u/#", "room/d1/+/x", True),
        ("room/%u/#", "room/d2", False),
        ("room/{device}", "room/d1", True),
        ("room/%c", "room/c1", True),
        ("room/%c", "room/d1", False),
        ("shop/{metric}/{stream}", "shop/x/y", True),
        ("shop/{metric}", "shop/+", True),
        ("a/b/c", "a/b", False),
        ("a/b", "a/b/c", False),
        ("room/%u", "room/%u", False),
        ("room/%c/x", "room/%c/x", False),
    ],
)
def test_what_a_pattern_opens(pattern: str, wanted: str, expected: bool) -> None:
    assert opens(pattern, wanted) is expected


@pytest.mark.parametrize("hostile", ["+", "#", "a/b", "a/#", "", "$SYS", "$", "x+", "\0", "+/+"])
@pytest.mark.parametrize("pattern", ["%c/#", "%u/#", "x/%c", "x/%c/#", "x/{device}", "%u"])
def test_no_name_widens_a_pattern(pattern: str, hostile: str) -> None:
    """Nothing that such a name could be made to mean is open: the filter it spells, what that would match, or `$SYS`."""
    assert not is_plain_level(hostile)
    spelt = pattern.replace("%c", hostile).replace("%u", hostile).replace("{device}", hostile)
    for wanted in (spelt, "x/a", "x/b/c", "a", "a/b", "$SYS/broker", "#", "x/#", "x/+", "+"):
        assert not opens(pattern, wanted, name=hostile, client_id=hostile)


@given(st.text(alphabet="ab+#/$", max_size=4), FILTERS.filter(bool))
@settings(max_examples=300, deadline=None)
def test_a_client_id_opens_at_most_its_own_level(client_id: str, wanted: str) -> None:
    if opens("x/%c", "x/" + wanted, client_id=client_id):
        assert wanted == client_id
        assert is_plain_level(client_id)


@pytest.mark.parametrize(
    "pattern",
    ["", "a\0", "a/#/b", "a#", "a+/b", "x{device}/y", "{device}/{device}", "a/%ub", "%c%u", "$share/g/a", "/" * 32, "a" * 65_536],
)  # fmt: skip
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_pattern(pattern)
    assert refused.value.code == "topic_pattern_invalid"
    assert refused.value.hint
    assert len(refused.value.message) < 400
