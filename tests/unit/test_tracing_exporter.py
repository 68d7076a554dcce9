"""What becomes of spans when the collector takes them, is busy, refuses, or is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from appliance.core.limits_tracing import OTLP_ATTEMPT_COUNT_MAX, OTLP_BATCH_COUNT_MAX, OTLP_TIMEOUT_S
from appliance.tracing.exporter import Exporter, Posted
from appliance.tracing.ring import SpanRing
from appliance.tracing.span import Span
from tests.unit.test_tracing_span import span

pytestmark = pytest.mark.trio
OK = Posted(status=200)


class Collector:
    """Answers one after another, the last again and again; None is no answer at all."""

    def __init__(self, *answers: Posted | None) -> None:
        self.answers = list(answers)
        self.batches: list[list[Span]] = []
        self.times_s: list[float] = []

    async def post(self, spans: list[Span]) -> Posted:
        self.times_s.append(trio.current_time())
        self.batches.append(spans)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await trio.sleep_forever()
            raise AssertionError
        return answer


@asynccontextmanager
async def running(exporter: Exporter) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exporter.run)
        yield
        nursery.cancel_scope.cancel()


async def test_what_gathers_is_sent_in_batches(autojump_clock: trio.testing.MockClock) -> None:
    ring, collector = SpanRing(), Collector(OK)
    exporter = Exporter(ring, collector.post)
    async with running(exporter):
        ring.add([span()] * (OTLP_BATCH_COUNT_MAX + 1))
        await trio.sleep(5)
    assert [len(batch) for batch in collector.batches] == [OTLP_BATCH_COUNT_MAX, 1]
    numbers = exporter.statistics()
    assert (numbers.exported, numbers.dropped, numbers.failures, numbers.failing) == (
        OTLP_BATCH_COUNT_MAX + 1,
        0,
        0,
        "",
    )


async def test_a_busy_collector_gets_them_later(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector(
        Posted(status=503), Posted(status=429, retry_after_s=7), Posted(status=0, words="gone"), OK
    )
    exporter = Exporter(SpanRing(), collector.post)
    await exporter.send([span()])
    pauses = [after - before for before, after in zip(collector.times_s, collector.times_s[1:], strict=False)]
    assert pauses == pytest.approx([1, 7, 4])
    numbers = exporter.statistics()
    assert (numbers.exported, numbers.dropped, numbers.requests, numbers.failures) == (1, 0, 4, 3)


async def test_a_retry_after_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector(Posted(status=429, retry_after_s=999_999), OK)
    await Exporter(SpanRing(), collector.post).send([span()])
    assert collector.times_s[1] - collector.times_s[0] == pytest.approx(30)


async def test_what_is_refused_is_not_tried_again() -> None:
    collector = Collector(Posted(status=400, words="HTTP 400"))
    exporter = Exporter(SpanRing(), collector.post)
    await exporter.send([span(), span()])
    assert len(collector.batches) == 1
    assert (exporter.statistics().dropped, exporter.statistics().failing) == (2, "HTTP 400")


async def test_a_collector_that_is_gone_costs_spans_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ring, collector = SpanRing(10), Collector(None)
    exporter = Exporter(ring, collector.post)
    async with running(exporter):
        ring.add([span()])
        await trio.sleep(3)
        ring.add([span()] * 25)
        await trio.sleep(OTLP_ATTEMPT_COUNT_MAX * (OTLP_TIMEOUT_S + 10))
    assert len(collector.batches) >= OTLP_ATTEMPT_COUNT_MAX
    numbers = exporter.statistics()
    assert numbers.exported == 0
    assert numbers.dropped >= 15 + 1, "those without room, and the batch that nobody took"
    assert numbers.failing == "No answer within 10 s."


async def test_a_part_that_was_not_taken_counts_as_dropped() -> None:
    exporter = Exporter(SpanRing(), Collector(Posted(status=200, rejected=5)).post)
    await exporter.send([span(), span(), span()])
    assert (exporter.statistics().exported, exporter.statistics().dropped) == (0, 3)


async def test_it_says_when_it_fails_and_when_it_is_over(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector(Posted(status=401), OK)
    exporter = Exporter(SpanRing(), collector.post)
    await exporter.send([span()])
    assert exporter.statistics().failing == "HTTP 401"
    await exporter.send([span()])
    assert exporter.statistics().failing == ""
