"""An alarm that an update brings sends the device back: the real desk beside the real engine, on a clock turned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.alarms.book import AlarmBook
from appliance.alarms.desk import AlarmDesk
from appliance.core.clock import ManualClock
from appliance.management.execution import HealthSeen
from appliance.management.executions import State
from storage.catalog import AsyncCatalog, Catalog
from tests.acts import ACT
from tests.alarm_kit import EVERYTHING, FLAP_MS, WAIT_MS, MemoryOutbox, definition, found, put_rule
from tests.execution_kit import MINUTE_MS, NEW_DIGEST, OLD_DIGEST
from tests.updates_kit import Bench, a_bench, a_rollout, queued

WELL = HealthSeen(has_readings=True, has_session=True, fresh_reading_count=9, is_online=True)


async def on_trial(bench: Bench) -> None:
    """The device has started with the new image, and is as well as before."""
    bench.health.by_device["pump-1"] = WELL
    await a_rollout(bench)
    await bench.runs(OLD_DIGEST, boot="A")
    bench.engine.listening("pump-1", True)
    await bench.make(queued(bench.clock.now_ms()))
    for seq, phase in enumerate(("downloading", "downloaded", "verified", "installing", "rebooting"), 1):
        await bench.after(1_000)
        await bench.report("e1", phase, seq=seq)
    await bench.after(5_000)
    await bench.runs(NEW_DIGEST, boot="B", is_confirmed=None)
    assert await bench.state() is State.TESTING


@pytest.mark.parametrize(
    ("rule", "began_ms", "how", "state"),
    [
        ("urgent", 1_000, "", State.ROLLBACK_PENDING),
        ("urgent", -60_000, "", State.SUCCEEDED),
        ("mild", 1_000, "", State.SUCCEEDED),
        ("urgent", 1_000, "maintenance", State.SUCCEEDED),
        ("urgent", 1_000, "other device", State.SUCCEEDED),
    ],
)
async def test_a_new_urgent_alarm_sends_the_device_back(
    tmp_path: Path, rule: str, began_ms: int, how: str, state: State
) -> None:
    clock, outbox = ManualClock(), MemoryOutbox()
    desks: list[AlarmDesk] = []

    def make(catalog: AsyncCatalog) -> AlarmDesk:
        book = AlarmBook(clock=clock, flap_ms=FLAP_MS, wait_ms=WAIT_MS)
        desks.append(AlarmDesk(catalog, book, clock=clock, outbox=outbox))
        return desks[0]

    async with a_bench(tmp_path / "catalog.db", clock=clock, alarms=make) as bench:
        (desk,) = desks
        await on_trial(bench)

        def rules(catalog: Catalog) -> None:
            put_rule(catalog, "urgent", definition(severity="P1"))
            put_rule(catalog, "mild", definition(severity="P3"))

        await bench.catalog.write(rules, by=ACT)
        await bench.after(10_000)
        since_ms = (await bench.get()).state_since_ms
        if how == "maintenance":
            await bench.catalog.write(
                lambda catalog: catalog.add_maintenance(
                    "m1",
                    scope=EVERYTHING,
                    reason="x",
                    from_at_ms=clock.now_ms(),
                    until_at_ms=clock.now_ms() + 60 * MINUTE_MS,
                    by="anna",
                ),
                by=ACT,
            )
        device = "pump-2" if how == "other device" else "pump-1"
        outbox.put(found(device, rule, at_ms=since_ms + began_ms))
        await desk.load()
        desk.wake()
        await desk.settle()
        for _ in range(60):
            await bench.after(MINUTE_MS)
            if await bench.state() is not State.TESTING:
                break
        execution = await bench.get()
        assert execution.state is state
        assert execution.error_text == ("alarm" if state is State.ROLLBACK_PENDING else "")
