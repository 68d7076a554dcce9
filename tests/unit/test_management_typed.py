"""Shapes that are earned, used, missed and lost."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from appliance.core.limits import PAYLOAD_DECODE_BYTES_MAX
from appliance.management.envelopes import Opened
from appliance.management.mapping import Route, TopicRouter
from appliance.management.messages import Messages, Payloads, Routes
from appliance.management.readings import ValueKind
from appliance.management.typed import (
    MISS_COUNT_MAX,
    MISS_PAUSE_COUNT,
    PROMOTE_COUNT,
    UNFIT_PAUSE_COUNT,
    TypedShapes,
    key_of,
)

NOW = 1_700_000_000_000
PAYLOAD = b'{"ts":1700000000000,"seq":1,"v":{"t":1.5,"on":true,"mode":"eco"},"q":"good"}'


def route(name: str = "a") -> Route:
    return TopicRouter().route(f"dm/{name}/telemetry".encode())


def learned(topic: Route, payload: bytes, shapes: TypedShapes) -> None:
    shapes.learn([topic] * PROMOTE_COUNT, [msgspec.json.decode(payload)] * PROMOTE_COUNT)


def read(shapes: TypedShapes, payloads: list[bytes], routes: list[Route]) -> tuple[Opened, list[int]]:
    opened = Opened()
    count = len(payloads)
    messages = Messages(np.arange(count), Routes.of(routes), np.full(count, NOW), [Payloads.of(payloads)])
    rest = shapes.read(messages, opened)
    return opened, rest.tolist()


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"t": 1, "h": 2.5}, ("", (), ("h", "t"), (ValueKind.NUMBER, ValueKind.NUMBER))),
        ({"t": 1, "ts": NOW}, ("", ("ts",), ("t",), (ValueKind.NUMBER,))),
        ({"v": {"t": "x"}, "seq": 1}, ("v", ("seq",), ("t",), (ValueKind.TEXT,))),
        ({"values": {"t": True}, "ts": 1}, ("values", ("ts",), ("t",), (ValueKind.BOOLEAN,))),
        ({"v": {"t": 1}, "x": 1}, None),
        ({}, None),
        ([], None),
        (5, None),
        ({"ts": 1}, None),
        ({"t": None}, None),
        ({"": 1}, None),
        ({'a"b': 1}, None),
        ({"ts": 1.5, "t": 1}, None),
        ({"v": {"t": 1}, "boot_id": 4}, None),
        ({"v": {"t": 1}, "seq": "x"}, None),
        ({str(n): n for n in range(200)}, None),
    ],
)
def test_key_of(document: object, key: Any) -> None:
    assert key_of(document) == key


def test_a_topic_earns_a_shape_and_the_next_one_gets_it_at_once() -> None:
    shapes, first, second = TypedShapes(), route("a"), route("b")
    document = msgspec.json.decode(PAYLOAD)
    shapes.learn([first] * (PROMOTE_COUNT - 1), [document] * (PROMOTE_COUNT - 1))
    assert [first.shape, second.shape] == [None, None]
    shapes.learn([first], [document])
    shapes.learn([second], [document])
    assert len({first.shape, second.shape, None}) == 2
    assert len(shapes) == 1


def test_what_fits_becomes_columns() -> None:
    shapes, topic = TypedShapes(), route()
    learned(topic, PAYLOAD, shapes)
    other = b'{"v":{"mode":"x","on":false,"t":2},"q":"bad","seq":2,"ts":1700000000001}'
    opened, rest = read(shapes, [PAYLOAD, b"junk", other, b'{"t":1}'], [topic] * 4)
    assert rest == [1, 3]
    (points,) = opened.groups
    assert list(points.index) == [0, 2]
    assert points.keys == ("mode", "on", "t")
    assert points.columns is not None
    assert [list(column) for column in points.columns] == [["eco", "x"], [1.0, 0.0], [1.5, 2.0]]
    assert points.seqs is not None
    assert points.seqs.tolist() == [1, 2]
    assert list(points.observed) == [NOW, NOW + 1]
    assert list(points.quality) == [0, 2]
    kept = points.keep(np.array([False, True]))
    assert (list(kept.index), [list(c) for c in kept.columns or ()]) == ([2], [["x"], [0.0], [2.0]])


def test_a_topic_that_misses_often_loses_its_shape_for_a_while() -> None:
    shapes, topic = TypedShapes(), route()
    learned(topic, b'{"t":1}', shapes)
    _, rest = read(shapes, [b'{"u":1}'] * MISS_COUNT_MAX, [topic] * MISS_COUNT_MAX)
    assert len(rest) == MISS_COUNT_MAX
    assert topic.shape is None
    assert topic.untyped == -MISS_PAUSE_COUNT
    assert shapes.misses_total == MISS_COUNT_MAX


def test_a_topic_that_fits_no_shape_is_not_tried_each_time() -> None:
    shapes, topic = TypedShapes(), route()
    shapes.learn([topic] * PROMOTE_COUNT, [[1]] * PROMOTE_COUNT)
    assert topic.shape is None
    assert topic.untyped == -UNFIT_PAUSE_COUNT


def test_the_shapes_are_bounded() -> None:
    shapes = TypedShapes(shape_count_max=2)
    for name in "abc":
        learned(route(name), f'{{"{name}":1}}'.encode(), shapes)
    assert len(shapes) == 1


def test_a_payload_too_large_goes_the_general_way() -> None:
    shapes, topic = TypedShapes(), route()
    learned(topic, b'{"t":1}', shapes)
    large = b'{"t":1' + b" " * PAYLOAD_DECODE_BYTES_MAX + b"}"
    _, rest = read(shapes, [large, b'{"t":1}'], [topic] * 2)
    assert rest == [0, 1]


def test_many_chunks_and_two_topics() -> None:
    shapes, a, b = TypedShapes(), route("a"), route("b")
    learned(a, b'{"t":1}', shapes)
    learned(b, b'{"h":1,"p":2}', shapes)
    count = 4_500
    payloads = [b'{"t":%d}' % n if n % 3 else b'{"p":%d,"h":0}' % n for n in range(count)]
    opened, rest = read(shapes, payloads, [a if n % 3 else b for n in range(count)])
    assert rest == []
    by_keys = {points.keys: points for points in opened.groups}
    assert list(by_keys["t",].index) == [n for n in range(count) if n % 3]
    assert by_keys["t",].columns is not None
    assert list(by_keys["t",].columns[0]) == [float(n) for n in range(count) if n % 3]
    assert by_keys["h", "p"].columns is not None
    assert list(by_keys["h", "p"].columns[1]) == [float(n) for n in range(count) if not n % 3]


def test_many_chunks_of_an_envelope() -> None:
    shapes, topic = TypedShapes(), route()
    learned(topic, PAYLOAD, shapes)
    count = 4_500
    payloads = [PAYLOAD.replace(b'"seq":1', b'"seq":%d' % n) for n in range(count)]
    opened, rest = read(shapes, payloads, [topic] * count)
    assert rest == []
    (points,) = opened.groups
    assert list(points.index) == list(range(count))
    assert points.seqs is not None
    assert points.seqs.tolist() == list(range(count))
