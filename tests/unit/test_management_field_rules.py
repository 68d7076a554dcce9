"""Fields of a payload under other names, in other units, or left out."""

from __future__ import annotations

import math

import pytest

from appliance.core.errors import ConfigError
from appliance.management.mapping import FieldRule, TopicMapping
from tests.log_kit import Record
from tests.pipeline_kit import Bench

RULES = (
    FieldRule(path="ENERGY.Power", metric="power_kw", scale=0.001),
    FieldRule(path="t", metric="celsius", offset=-273.15),
)


def built(
    mapping: TopicMapping, *payloads: bytes, topic: bytes = b"tele/a/S"
) -> tuple[dict[str, object], list[str]]:
    """The values by metric of some messages, and the details of those that were refused."""
    bench = Bench([mapping])
    batch, _ = bench.build([Record(payload, topic=topic) for payload in payloads])
    return (
        {row.metric: row.value for row in bench.rows(batch)},
        [letter.detail for letter in batch.dead_letters],
    )


def test_fields_are_renamed_and_scaled_and_the_others_kept() -> None:
    mapping = TopicMapping(pattern="tele/{device}/S", fields=RULES)
    values, _ = built(mapping, b'{"ENERGY": {"Power": 1500}, "t": 300, "mode": "eco"}')
    assert values == {"power_kw": 1.5, "celsius": pytest.approx(26.85), "mode": "eco"}


def test_only_the_listed_fields_are_kept_when_that_is_wanted() -> None:
    mapping = TopicMapping(pattern="tele/{device}/S", fields=RULES, only_fields=True)
    values, refused = built(mapping, b'{"t": 300, "mode": "eco"}', b'{"mode": "eco"}')
    assert values == {"celsius": pytest.approx(26.85)}
    assert refused == ["none of the fields that its mapping names"]


def test_a_new_name_stands_behind_the_front_part_and_before_a_field_of_that_name() -> None:
    mapping = TopicMapping(pattern="tele/{device}/{metric}", fields=(FieldRule(path="a", metric="b"),))
    values, _ = built(mapping, b'{"a": 1, "b": 2}')
    assert values == {"S.b": 1.0}


def test_texts_and_booleans_are_not_scaled() -> None:
    fields = (
        FieldRule(path="on", metric="running", scale=2),
        FieldRule(path="word", metric="state", scale=2),
    )
    values, _ = built(TopicMapping(pattern="tele/{device}/S", fields=fields), b'{"on": true, "word": "x"}')
    assert values == {"running": True, "state": "x"}


def test_a_plain_value_is_the_field_without_a_path() -> None:
    mapping = TopicMapping(pattern="tele/{device}/S", fields=(FieldRule(path="", metric="level", scale=10),))
    assert built(mapping, b"4.5")[0] == {"level": 45.0}


def test_one_batch_may_have_topics_with_rules_and_without() -> None:
    bench = Bench([TopicMapping(pattern="tele/{device}/S", fields=(FieldRule(path="t", metric="k"),))])
    topics = (b"tele/a/S", b"dm/b/telemetry", b"tele/c/S")
    batch, _ = bench.build([Record(b'{"t": 1}', topic=topic) for topic in topics * 40])
    assert {(row.device, row.metric) for row in bench.rows(batch)} == {("a", "k"), ("b", "t"), ("c", "k")}
    assert batch.counts.rows == 120


def test_points_of_one_message_may_lose_all_their_fields_as_long_as_one_keeps_some() -> None:
    mapping = TopicMapping(
        pattern="tele/{device}/S", fields=(FieldRule(path="t", metric="k"),), only_fields=True
    )
    values, refused = built(mapping, b'[{"t": 1}, {"x": 2}]')
    assert (values, refused) == ({"k": 1.0}, [])


def test_a_number_that_a_scale_brings_beyond_the_doubles_stays_at_their_end() -> None:
    mapping = TopicMapping(pattern="tele/{device}/S", fields=(FieldRule(path="t", metric="k", scale=-1e300),))
    (value,) = built(mapping, b'{"t": 1e300}')[0].values()
    assert isinstance(value, float)
    assert math.isfinite(value)
    assert value < -1e308


@pytest.mark.parametrize(
    "fields",
    [
        (FieldRule(path="a", metric=""),),
        (FieldRule(path="a", metric="x" * 257),),
        (FieldRule(path="a\n", metric="b"),),
        (FieldRule(path="a", metric="b", scale=0),),
        (FieldRule(path="a", metric="b", scale=math.inf),),
        (FieldRule(path="a", metric="b", offset=math.nan),),
        (FieldRule(path="a", metric="b"), FieldRule(path="a", metric="c")),
        (FieldRule(path="a", metric="c"), FieldRule(path="b", metric="c")),
        tuple(FieldRule(path=str(i), metric=str(i)) for i in range(257)),
    ],
)
def test_rules_that_make_no_sense_are_refused(fields: tuple[FieldRule, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        TopicMapping(pattern="a/{device}", fields=fields)
    assert refused.value.code == "mapping_invalid"


def test_a_mapping_must_let_something_through() -> None:
    with pytest.raises(ConfigError, match="lets no field through"):
        TopicMapping(pattern="a/{device}", only_fields=True)
