"""Laws of twins: what merging and deltas promise for any documents, and that any bytes give an answer or a clear refusal."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import HomeportError, LimitExceeded, UsageError
from appliance.management.commands import decode_answer, decode_params
from appliance.management.twin import Twin
from appliance.management.twin_json import decode, encode
from appliance.management.twin_merge import (
    change_between,
    difference,
    merged,
    metadata,
    same,
    times_merged,
    without_nulls,
)
from appliance.management.twin_messages import (
    accepted_get,
    accepted_update,
    decode_asked,
    decode_update,
    delta_message,
    documents_message,
    rejected,
)

KEYS = st.sampled_from(["a", "b", "c", ""])
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x"]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.one_of(inner, st.none()), max_size=3), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)
SECTIONS = st.dictionaries(KEYS, VALUES, max_size=4)
CHANGES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    KEYS,
    st.recursive(
        st.one_of(SCALARS, st.none(), st.lists(SCALARS, max_size=2)),
        lambda inner: st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def shape(value: Any) -> Any:
    """The objects and the places of the values in them."""
    return {key: shape(below) for key, below in value.items()} if isinstance(value, dict) else 0


def flat(value: Any) -> Any:
    return {key: flat(below) for key, below in value.items()} if isinstance(value, dict) else 0


@given(SECTIONS, CHANGES)
def test_the_same_change_twice_is_the_change_once(section: dict[str, Any], change: dict[str, Any]) -> None:
    once = merged(section, change)
    assert same(merged(once, change), once)


@given(SECTIONS, CHANGES, CHANGES)
def test_changes_can_be_put_together_where_no_value_becomes_an_object(
    section: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Flat ones always; nested ones lose what a null deleted, so only values count here."""
    one = {key: value for key, value in first.items() if not isinstance(value, dict)}
    two = {key: value for key, value in second.items() if not isinstance(value, dict)}
    assert same(merged(merged(section, one), two), merged(section, {**one, **two}))


@given(SECTIONS)
def test_an_empty_change_changes_nothing(section: dict[str, Any]) -> None:
    assert same(merged(section, {}), section)
    assert same(merged({}, section), section)


@given(SECTIONS, CHANGES)
def test_what_a_change_leaves_has_no_null_outside_of_arrays(
    section: dict[str, Any], change: dict[str, Any]
) -> None:
    def is_clean(value: Any) -> bool:
        return value is not None and (not isinstance(value, dict) or all(map(is_clean, value.values())))

    assert is_clean(merged(section, change))


@given(SECTIONS, SECTIONS)
def test_who_does_what_the_delta_says_has_none(desired: dict[str, Any], reported: dict[str, Any]) -> None:
    delta = difference(desired, reported)
    assert difference(desired, merged(reported, delta)) == {}
    assert (delta == {}) == (difference(desired, reported) == {})


@given(SECTIONS, SECTIONS)
def test_a_change_between_two_sections_makes_one_of_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    change = change_between(before, after)
    assert same(merged(before, change), after)
    assert (change == {}) == same(before, after)


@given(SECTIONS)
def test_who_reports_what_is_desired_has_no_delta(section: dict[str, Any]) -> None:
    assert difference(section, section) == {}


@given(SECTIONS, CHANGES)
def test_times_have_the_shape_of_their_section(section: dict[str, Any], change: dict[str, Any]) -> None:
    times = times_merged({}, {}, section, 1)
    after = merged(section, change)
    assert shape(times_merged(times, section, change, 2)) == flat(after)


@given(SECTIONS, CHANGES)
def test_what_was_named_is_as_young_as_the_change(section: dict[str, Any], change: dict[str, Any]) -> None:
    times = times_merged(times_merged({}, {}, section, 1), section, change, 2)

    def ages(value: Any) -> set[int]:
        if isinstance(value, dict):
            return (
                {value["timestamp"]}
                if set(value) == {"timestamp"}
                else set().union(*map(ages, value.values()))
            )
        return set().union(*map(ages, value))

    told = metadata(without_nulls(change), times)
    assert ages(told) <= {2}
    assert ages(metadata(merged(section, change), times)) <= {1, 2}


@given(st.lists(st.tuples(CHANGES, CHANGES), max_size=4))
def test_a_twin_is_what_its_changes_made_of_it(changes: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    twin = Twin()
    desired: dict[str, Any] = {}
    reported: dict[str, Any] = {}
    for number, (want, say) in enumerate(changes, start=1):
        before = twin
        payload = json.dumps({"state": {"desired": want, "reported": say}, "version": number - 1}).encode()
        change = decode_update(payload)
        twin = twin.updated(change, number)
        desired, reported = merged(desired, want), merged(reported, say)
        assert twin.version == number
        for said in (
            accepted_update(twin, change, now_s=9),
            accepted_get(twin, now_s=9, client_token=None),
            documents_message(before, twin, now_s=9),
        ):
            assert json.loads(said)["timestamp"] == 9
        delta = delta_message(twin, now_s=9)
        assert (json.loads(delta)["state"] if delta else {}) == difference(desired, reported)
    assert same(twin.desired, desired)
    assert same(twin.reported, reported)


ANYTHING = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.one_of(st.none(), SCALARS, st.text(max_size=3)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["state", "desired", "reported", "version", "clientToken", "ok", "r", "e", "x"]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(ANYTHING)
def test_any_bytes_are_an_update_or_are_refused(payload: bytes) -> None:
    try:
        change = decode_update(payload)
        twin = Twin().updated(change, 1)
    except (UsageError, LimitExceeded) as error:
        assert json.loads(rejected(error, now_s=1, client_token=None))["code"] in (400, 413)
        return
    except HomeportError as error:
        assert error.code == "twin_version"
        return
    assert json.loads(accepted_update(twin, change, now_s=1))["version"] == 1


@given(ANYTHING)
def test_any_bytes_are_something_or_are_refused(payload: bytes) -> None:
    for read in (decode_asked, decode_answer, lambda data: decode_params(data.decode("utf-8", "replace"))):
        try:
            read(payload)
        except (UsageError, LimitExceeded) as error:
            assert error.message


@given(VALUES)
def test_what_is_said_is_read_again(value: Any) -> None:
    assert same(decode(encode(value)), value)
