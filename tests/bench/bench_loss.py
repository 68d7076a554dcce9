"""What a broker still has of what it acknowledged, after SIGKILL under load and a restart.

mosquitto with persistence on and its default autosave, and amqtt, are asked through a persistent session that subscribed
before; Homeport is asked through its log. Only acknowledged messages count: what was in flight may be lost.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from device_fw_sim.load import Credential, LoadOptions, LoadReport, run_load
from storage.log.columns import Kind
from storage.log.reader import LogReader
from tests.bench import harness
from tests.bench.harness import Goal
from tests.interop import brokers
from tests.interop.brokers import LiveBroker

CONNECTIONS = 10
TOPIC = "dm/loss-{index}/telemetry"
KEEPER_WAIT_S = 10


@click.command("loss")
@click.option(
    "--seconds", default=3.0, show_default=True, type=click.FloatRange(0.5, 60), help="Load before SIGKILL."
)
@click.option(
    "--rate", default=2_000.0, show_default=True, help="Messages per second: what amqtt can hold too."
)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def loss(seconds: float, rate: float, data: Path | None, json_path: Path | None) -> None:
    """Acknowledged messages lost by a SIGKILL: mosquitto (persistence on), amqtt and Homeport."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    rows = []
    for name, start, found_after, ended_by in (
        # The first row shows that the method finds what is there: mosquitto saves when it is asked to end.
        ("mosquitto", _persistent_mosquitto, _kept_by_session, signal.SIGTERM),
        ("mosquitto", _persistent_mosquitto, _kept_by_session, signal.SIGKILL),
        ("amqtt", brokers.amqtt, _kept_by_session, signal.SIGKILL),
        ("homeport", lambda path: brokers.homeport(path, devices=["bench"]), _kept_in_log, signal.SIGKILL),
    ):
        rows.append((name, ended_by.name, *_one(start, found_after, ended_by, seconds, rate, data)))
    headers = ("broker", "ended by", "acknowledged", "found", "lost")
    click.echo(harness.table(headers, rows))
    _, _, acknowledged, _, lost = rows[-1]
    goals = [
        Goal(
            what="acknowledged and lost by Homeport",
            value=lost,
            wanted=0,
            reached=lost == 0 < acknowledged,
        )
    ]
    result = {"machine": machine, "rows": [dict(zip(headers, row, strict=True)) for row in rows]}
    harness.finish("loss", result, goals, json_path)


def _persistent_mosquitto(folder: Path) -> AbstractContextManager[LiveBroker]:
    return brokers.mosquitto(folder, persistence=True)


def _one(
    start: Callable[[Path], AbstractContextManager[LiveBroker]],
    found_after: Callable[[LiveBroker], Counter[str]],
    ended_by: signal.Signals,
    seconds: float,
    rate: float,
    data: Path | None,
) -> tuple[int, int, int]:
    with harness.data_folder(data) as folder, start(folder) as broker:
        if found_after is _kept_by_session:
            _subscribe_and_leave(broker)
        report = _load_until_ended(broker, ended_by, seconds, rate)
        broker.start()
        found = found_after(broker)
        topics = [TOPIC.replace("{index}", str(index)) for index in range(CONNECTIONS)]
        # A connection's messages are acknowledged in order, so a count per topic is enough to find a missing one.
        lost = sum(
            max(acknowledged - found[topic], 0)
            for topic, acknowledged in zip(topics, report.acknowledged_by_connection, strict=True)
        )
        return report.acknowledged, sum(found.values()), lost


def _load_until_ended(
    broker: LiveBroker, ended_by: signal.Signals, seconds: float, rate: float
) -> LoadReport:
    options = LoadOptions(
        port=broker.port,
        credentials=tuple(Credential(**harness.login(each)) for each in broker.credentials),
        connections=CONNECTIONS,
        window=50,
        rate=rate,
        duration_s=seconds + 30,
        warm_up_s=0,
        drain_s=1,
        topic=TOPIC,
        tolerate_loss=True,
    )
    reports: list[LoadReport] = []
    worker = threading.Thread(target=lambda: reports.append(run_load(options)))
    worker.start()
    time.sleep(seconds)
    if ended_by is signal.SIGKILL:
        broker.kill()
    else:
        broker.stop()
    worker.join()
    return reports[0]


def _subscribe_and_leave(broker: LiveBroker) -> None:
    """A persistent session with a QoS 1 subscription to everything, whose client is away while the load runs."""
    _mosquitto_sub(broker, ["-E"], timeout_s=30)


def _kept_by_session(broker: LiveBroker) -> Counter[str]:
    """What the persistent session is given when its client comes back, by topic."""
    output = _mosquitto_sub(broker, ["-W", str(KEEPER_WAIT_S), "-F", "%t"], timeout_s=KEEPER_WAIT_S + 30)
    return Counter(output.split())


def _mosquitto_sub(broker: LiveBroker, arguments: list[str], *, timeout_s: float) -> str:
    done = subprocess.run(
        [
            "mosquitto_sub",
            "-h",
            broker.host,
            "-p",
            str(broker.port),
            "-c",
            "-i",
            "keeper",
            "-q",
            "1",
            "-t",
            "dm/#",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode not in (0, 27):  # 27: the time given with -W is over.
        raise harness.BenchError(f"mosquitto_sub failed: {done.stderr}")
    return done.stdout


def _kept_in_log(broker: LiveBroker) -> Counter[str]:
    """PUBLISH records in Homeport's log, by topic."""
    reader = LogReader(broker.folder / "data" / "log" / "telemetry")
    found: Counter[str] = Counter()
    seq = reader.first_seq()
    while blocks := reader.read(seq):
        for block in blocks:
            columns = block.columns()
            topics: list[Any] = [
                columns.topics[columns.topic_index[at]] for at in columns.of_kind(Kind.PUBLISH)
            ]
            found.update(topic.decode() for topic in topics)
            seq = block.next_seq
    reader.close()
    return found
