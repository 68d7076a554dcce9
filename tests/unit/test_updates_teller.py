"""Who is told what is wanted, and what counts as told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.errors import Unavailable
from appliance.management.executions import State
from appliance.updates.teller import Teller
from appliance.updates.work import Work
from tests.broker_kit import wait_until
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST
from tests.updates_kit import Bench, a_rollout, a_running_bench, queued


class Broker:
    """Takes pushes, and says to how many connections they went."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.pushed: list[tuple[str, list[tuple[str, bytes]]]] = []
        self.failures = 0

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        if self.failures:
            self.failures -= 1
            raise Unavailable("The broker is away.", hint="Wait.")
        self.pushed.append((principal, list(messages)))
        return self.count


async def waiting(bench: Bench, **changes: Any) -> None:
    await a_rollout(bench)
    await bench.runs(OLD_DIGEST, boot="A")
    execution = queued(bench.clock.now_ms(), **changes)
    await bench.engine.do(lambda work: work.insert(execution))
    bench.engine.surroundings.note_listening("pump-1", True)


async def test_told_natively_and_by_the_alias(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await waiting(bench)
        broker = Broker()
        teller = Teller(bench.updates, broker, clock=bench.clock)
        assert await teller.tell_now("pump-1") == 1
        await wait_until(lambda: bench.engine.statistics().moves.get("taken"))
        ((device, messages),) = broker.pushed
        topics = [topic for topic, _ in messages]
        assert device == "pump-1"
        assert topics == [
            f"{prefix}/jobs/{name}"
            for prefix in ("dm/pump-1", "$aws/things/pump-1")
            for name in ("notify", "notify-next")
        ]
        native, alias = json.loads(messages[1][1]), json.loads(messages[3][1])
        assert native["execution"]["jobId"] == alias["execution"]["jobId"] == "e1"
        assert native["ts"] // 1_000 == alias["timestamp"]
        assert await bench.state() is State.NOTIFIED
        assert bench.engine.statistics().pushes == {"told": 1}


async def test_who_has_no_connection_that_listens_is_not_told(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await waiting(bench)
        teller = Teller(bench.updates, Broker(0), clock=bench.clock)
        assert await teller.tell_now("pump-1") == 0
        assert bench.engine.statistics().pushes == {"nobody": 1}
        assert await teller.tell_now("somebody") == 0
        assert await bench.state() is State.QUEUED


async def test_nothing_to_do_is_said_too(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await waiting(bench, is_admitted=False)
        broker = Broker()
        await Teller(bench.updates, broker, clock=bench.clock).tell_now("pump-1")
        assert json.loads(broker.pushed[0][1][1][1])["execution"] == {}


async def test_a_broker_that_is_away_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.updates.teller.UPDATES_RETRY_MS", 1)
    async with a_running_bench(tmp_path / "catalog.db") as bench, trio.open_nursery() as nursery:
        await waiting(bench)
        broker = Broker()
        broker.failures = 1
        teller = Teller(bench.updates, broker, clock=bench.clock)
        nursery.start_soon(teller.run)
        teller.tell(["pump-1", "pump-1"])
        await wait_until(lambda: broker.pushed)
        assert bench.engine.statistics().pushes["failed"] == 1
        nursery.cancel_scope.cancel()


async def test_an_update_without_an_artifact_is_not_offered(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await waiting(bench, rollout_id="r9")
        broker = Broker()
        assert await Teller(bench.updates, broker, clock=bench.clock).tell_now("pump-1") == 0
        assert broker.pushed == []


async def test_what_is_known_bad_is_not_offered(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await waiting(bench)
        await bench.engine.do(
            lambda work: work.catalog.add_known_bad(
                "pump-1", NEW_DIGEST, execution_id="x", reason="r", now_ms=1
            )
        )
        broker = Broker()
        await Teller(bench.updates, broker, clock=bench.clock).tell_now("pump-1")
        assert json.loads(broker.pushed[0][1][1][1])["execution"] == {}
        assert await bench.state() is State.REJECTED


async def test_a_row_that_makes_no_sense_keeps_nobody_else_from_being_told(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench, trio.open_nursery() as nursery:
        await waiting(bench)

        def spoil(work: Work) -> None:
            work.insert(queued(bench.clock.now_ms(), "other", execution_id="bad", number=2))
            work.catalog.execute(
                "UPDATE executions SET state = 'nonsense', origin = ?, hlc = ? WHERE execution_id = 'bad'",
                (work.catalog.origin, work.catalog.hlc),
            )

        await bench.engine.do(spoil)
        bench.engine.surroundings.note_listening("other", True)
        broker = Broker()
        teller = Teller(bench.updates, broker, clock=bench.clock)
        nursery.start_soon(teller.run)
        teller.tell(["other"])
        await wait_until(lambda: bench.engine.statistics().pushes.get("failed"))
        teller.tell(["pump-1"])
        await wait_until(lambda: broker.pushed)
        assert [device_id for device_id, _ in broker.pushed] == ["pump-1"]
        nursery.cancel_scope.cancel()
