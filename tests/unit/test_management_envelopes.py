"""Messages by form, regular ones as columns; tests/properties/test_pipeline_decoding.py holds the ways against each other."""

from __future__ import annotations

from appliance.management.decoding import REFUSED
from appliance.management.envelopes import Opened, group_by_form, group_indexes, open_envelopes
from appliance.management.mapping import TopicRouter
from appliance.management.readings import Reason

NOW = 1_700_000_000_000
ROUTE = TopicRouter().route(b"dm/a/telemetry")


def opened(*documents: object) -> Opened:
    found = Opened()
    count = len(documents)
    open_envelopes(documents, [ROUTE] * count, [NOW] * count, found, range(100, 100 + count))
    return found


def test_groups_are_in_order_of_first_appearance() -> None:
    assert list(group_indexes("banana").items()) == [("b", [0]), ("a", [1, 3, 5]), ("n", [2, 4])]
    assert group_indexes("aa") == {"a": range(2)}
    assert group_by_form([{"a": 1}, 5, {"a": 2}]) == {("a",): [0, 2], int: [1]}
    assert group_by_form([{"a": 1}, {"a": 2}]) == {("a",): range(2)}


def test_a_regular_group_is_one_and_a_strange_message_costs_only_itself() -> None:
    regular = {"ts": NOW - 1, "seq": 1, "q": "est", "boot_id": "b", "v": {"t": 1}}
    found = opened(regular, {**regular, "q": "fine"}, {**regular, "seq": 2}, {**regular, "boot_id": 7})
    first, second = found.groups
    assert (list(first.index), first.seqs, first.boot_ids) == ([100, 102], [1, 2], ["b", "b"])
    assert (list(first.observed), first.quality) == ([NOW - 1] * 2, b"\1\1")
    assert (list(second.index), second.boot_ids, second.flat) == ([103], ["7"], True)
    assert {index: refusal.reason for index, refusal in found.refusals.items()} == {101: Reason.BAD_QUALITY}


def test_plain_values_and_refused_payloads() -> None:
    found = opened(1.5, REFUSED, "x", True)
    assert [(list(points.index), points.values) for points in found.groups] == [
        ([100], [{"": 1.5}]),
        ([102], [{"": "x"}]),
        ([103], [{"": True}]),
    ]
    assert found.refusals == {}


def test_times_that_cannot_be_believed_are_counted() -> None:
    found = opened(*({"ts": ts, "v": {"t": 1}, "q": "bad"} for ts in (NOW, 5, 10**30)))
    assert found.clocks_absurd == 2
    (points,) = found.groups
    assert (list(points.observed), points.quality) == ([NOW] * 3, b"\2\2\2")


def test_a_flat_objects_time_is_taken_out_of_its_values() -> None:
    (points,) = opened({"ts": NOW, "t": 1}, {"ts": NOW + 1, "t": 2}).groups
    assert (points.values, list(points.observed)) == ([{"t": 1}, {"t": 2}], [NOW, NOW + 1])
