"""What tracing costs messages that are not traced: one core, without sockets and a disk.

A block's whole way through the broker's own code, with tracing on (one message in a thousand) and off, in turns: bytes are cut into columns, what is
traced is chosen, the block is packed, its spans are made. The limits are the broker's: of the
million messages a second that one core cuts, 100 are traced. Times are CPU seconds of this process, so that neighbours count less; a round is one of
both, and the median of the rounds' ratios counts. Off is a tracer that never chooses, so the second row is the tracer's calls alone.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Final

import click

from broker.committer import batch_body
from broker.mqtt.batch import Batch
from broker.mqtt.publish_parser import PublishParser
from broker.publish_check import keep_publish_properties
from broker.tracer import Tracer
from tests.bench import harness
from tests.bench.harness import Goal
from tests.protocol import builder

PAYLOAD: Final = b'{"ts":1772000000123,"seq":42,"boot_id":"5f0c3a9be211","v":{"temperature_celsius":21.37}}'
RATIO_WANTED: Final = 0.98
"""Messages a second with tracing for those without."""
UNSAMPLED: Final = "MQTT 3.1.1, none is traced"
"""What all the others pay: asked once for each block."""
KINDS: Final = {
    UNSAMPLED: None,
    "MQTT 3.1.1": None,
    "MQTT 5, a content type": builder.u8(0x03) + builder.text("application/json"),
    "MQTT 5, an unsampled traceparent": builder.puser("traceparent", f"00-{'a' * 32}-{'b' * 16}-00"),
    "MQTT 5, all ask to be traced": builder.puser("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),
}
SHARE: Final = 0.001


def _packets(count: int, properties: bytes | None) -> bytes:
    return b"".join(
        builder.publish(
            f"dm/device-{number % 50}/telemetry",
            PAYLOAD,
            qos=1,
            packet_id=number % 65_535 + 1,
            properties=properties,
        )
        for number in range(count)
    )


def _parser(*, has_properties: bool) -> PublishParser:
    return PublishParser(
        has_properties=has_properties,
        packet_bytes_max=1 << 20,
        admit_topic=lambda _topic: True,
        keep_properties=lambda raw: keep_publish_properties(raw, 0),
    )


def _run(tracer: Tracer | None, data: bytes, parser: PublishParser, blocks: int) -> float:
    """CPU seconds for so many blocks."""
    began = time.process_time()
    for number in range(blocks):
        batch = Batch()
        batch.mark_time(1_772_000_000_000)
        slot = batch.client_slot(("c", "d"))
        parser.parse(data, 0, batch)
        batch.close_run(slot, len(batch), len(data))
        if tracer is not None:
            tracer.choose(batch)
        batch_body(batch)
        if tracer is not None:
            tracer.durable()
            tracer.acknowledged(batch, 1 + number)
            tracer.take_spans()
    return time.process_time() - began


@click.command("tracing")
@click.option(
    "--messages", default=4_000_000, show_default=True, type=click.IntRange(1_000), help="Of a round."
)
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1, 99))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def tracing(messages: int, rounds: int, json_path: Path | None) -> None:
    """CPU time per message with tracing and without, for blocks of different sizes."""
    rows, goals = [], []
    for kind, properties in KINDS.items():
        for size in (1, 100, 2_000):
            data, blocks = _packets(size, properties), max(1, messages // (20 * max(size, 20)))
            parser = _parser(has_properties=properties is not None)
            ratios, costs = [], []
            gc.collect()
            tracer = Tracer(
                sample_ratio=0.0 if kind == UNSAMPLED else SHARE,
                mono_ms=lambda: time.process_time_ns() // 1_000_000,
            )
            for number in range(rounds):
                order = (None, tracer) if number % 2 else (tracer, None)
                spent = {each is not None: _run(each, data, parser, blocks) for each in order}
                ratios.append(spent[False] / spent[True])
                costs.append((spent[True] - spent[False]) / (blocks * size) * 1e9)
            ratio, cost = harness.median(ratios), harness.median(costs)
            rows.append((kind, size, round(ratio, 4), round(cost, 1)))
            if kind == UNSAMPLED and size > 1:
                what = f"{kind}, blocks of {size}: messages a second with tracing for those without"
                goals.append(
                    Goal(what=what, value=round(ratio, 4), wanted=RATIO_WANTED, reached=ratio >= RATIO_WANTED)
                )
    headers = ("messages", "in a block", "on / off", "ns a message")
    click.echo(harness.table(headers, rows))
    result = {"messages": messages, "rows": [dict(zip(headers, row, strict=True)) for row in rows]}
    harness.finish("tracing", result, goals, json_path)
