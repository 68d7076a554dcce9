"""By which set of mappings a record is read."""

from __future__ import annotations

import msgspec
import pytest

from appliance.core.errors import ConfigError
from appliance.management.mapping import DEFAULT_MAPPINGS, FieldRule, TopicMapping
from appliance.management.mapping_history import (
    MappingHistory,
    MappingSet,
    read_mappings,
    write_mappings,
)


def made(number: int, epoch: int, from_seq: int, metric: str = "m") -> MappingSet:
    mapping = TopicMapping(pattern="t/{device}", metric=f"{metric}{number}")
    return MappingSet(number=number, epoch=epoch, from_seq=from_seq, mappings=(mapping,))


def test_each_record_is_read_by_the_set_in_force_and_is_told_where_the_next_begins() -> None:
    history = MappingHistory([made(1, 0, 1), made(2, 1, 100), made(3, 1, 200)])
    for seq, prefix, until in [(1, "m1", 100), (99, "m1", 100), (100, "m2", 200), (200, "m3", None)]:
        router, end = history.at(1, seq)
        assert (router.route(b"t/a").prefix, end) == (prefix, until)
    assert history.newest.number == 3
    assert len(history) == 3


def test_the_position_before_any_block_is_the_beginning() -> None:
    history = MappingHistory([made(1, 0, 1), made(2, 0, 1)])
    router, end = history.at(0, 1)
    assert (router.route(b"t/a").prefix, end) == ("m2", None)


def test_a_set_of_a_later_epoch_holds_from_its_sequence_on_also_before_its_first_block_is_read() -> None:
    history = MappingHistory([made(1, 0, 1), made(2, 1, 1), made(3, 2, 10)])
    assert history.set_at(0, 1).number == 2
    assert history.at(1, 9)[1] == 10
    router, end = history.at(1, 10)
    assert (router.route(b"t/a").prefix, end) == ("m3", None)


def test_the_newest_of_those_that_begin_before_a_record_holds_whatever_came_behind_it_in_a_log_that_is_gone() -> (
    None
):
    history = MappingHistory([made(1, 0, 1), made(2, 1, 1_000), made(3, 1, 5)])
    assert [history.set_at(1, seq).number for seq in (4, 5, 1_000)] == [1, 3, 3]


def test_a_set_is_added_once() -> None:
    history = MappingHistory([made(1, 0, 1)])
    for _ in range(2):
        history.add(made(2, 1, 10))
    assert len(history) == 2
    assert history.at(1, 5)[1] == 10


def test_a_router_keeps_its_topics_and_the_least_recently_used_is_forgotten() -> None:
    history = MappingHistory([made(number, 0, number) for number in (1, 2, 3)], router_count_max=2)
    first, second = history.at(0, 1)[0], history.at(0, 2)[0]
    assert history.at(0, 1)[0] is first
    history.at(0, 3)
    assert history.at(0, 1)[0] is first
    assert history.at(0, 2)[0] is not second


def test_a_set_has_no_mappings_but_its_own() -> None:
    router, _ = MappingHistory([made(1, 0, 1)]).at(0, 1)
    assert router.route(b"dm/a/telemetry").kind.name == "UNMAPPED"


def test_mappings_come_back_as_they_were_written() -> None:
    mappings = (
        TopicMapping(pattern="a/{device}/{metric}", format="text"),
        TopicMapping(
            pattern="b/{device}",
            fields=(
                FieldRule(path="x.y", metric="z", scale=0.1, offset=-40.0),
                FieldRule(path="", metric="all"),
            ),
            only_fields=True,
        ),
        *DEFAULT_MAPPINGS,
    )
    text = write_mappings(mappings)
    assert read_mappings(text) == mappings
    assert write_mappings(read_mappings(text)) == text


def test_what_a_newer_program_wrote_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        read_mappings('[{"pattern": "a/{device}", "filter": 1}]')
    with pytest.raises(ConfigError):
        read_mappings('[{"pattern": "a/{device}", "format": "morse"}]')
