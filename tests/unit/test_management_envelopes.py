"""Messages by form, regular ones as columns; tests/properties/test_pipeline_decoding.py holds the ways against each other."""

from __future__ import annotations

import numpy as np

from appliance.management.decoding import REFUSED
from appliance.management.envelopes import Opened, group_by_form, group_indexes, open_envelopes
from appliance.management.mapping import TopicRouter
from appliance.management.messages import Routes
from appliance.management.readings import Reason

NOW = 1_700_000_000_000
ROUTE = TopicRouter().route(b"dm/a/telemetry")


def opened(*documents: object) -> Opened:
    found = Opened()
    count = len(documents)
    index = np.arange(100, 100 + count)
    open_envelopes(documents, Routes.of([ROUTE] * count), np.full(count, NOW), found, index)
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
    assert first.seqs is not None
    assert (list(first.index), first.seqs.tolist(), first.boot_ids) == ([100, 102], [1, 2], ["b", "b"])
    assert (list(first.observed), first.quality.tolist()) == ([NOW - 1] * 2, [1, 1])
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
    assert (list(points.observed), points.quality.tolist()) == ([NOW] * 3, [2, 2, 2])


def test_a_flat_objects_time_is_taken_out_of_its_values() -> None:
    (points,) = opened({"ts": NOW, "t": 1}, {"ts": NOW + 1, "t": 2}).groups
    assert (points.values, list(points.observed)) == ([{"t": 1}, {"t": 2}], [NOW, NOW + 1])


def test_a_flat_object_with_a_strange_time_costs_only_itself() -> None:
    found = opened({"ts": NOW, "t": 1}, {"ts": "noon", "t": 2})
    (points,) = found.groups
    assert (list(points.index), points.values) == ([100], [{"t": 1}])
    assert {index: refusal.reason for index, refusal in found.refusals.items()} == {101: Reason.BAD_TS}
    assert not opened({"ts": "noon", "t": 2}).groups
