"""Firmware that a twin reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.management.twin import Twin
from appliance.updates.twin_firmware import TwinFirmware
from storage.catalog.twins import KeptTwin, TwinChanged
from tests.updates_kit import Bench, a_bench


def kept(reported: dict[str, Any], at_ms: int | None, name: str = "") -> KeptTwin:
    return KeptTwin(
        device_id="pump-1",
        name=name,
        twin=Twin(reported=reported),
        desired_version=0,
        desired_set_at_ms=None,
        reported_at_ms=at_ms,
    )


def changed(
    before: dict[str, Any], after: dict[str, Any], at_ms: int | None = 5, name: str = ""
) -> TwinChanged:
    return TwinChanged(before=kept(before, None, name), after=kept(after, at_ms, name))


def waiting(bench: Bench) -> int:
    return bench.engine.batches.waiting_count()


ONE, TWO = {"fw": {"version": "1.0"}}, {"fw": {"version": "2.0"}}


async def test_what_is_said_is_handed_on(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        firmware = TwinFirmware(bench.engine, clock=bench.clock)
        firmware.note(changed({}, ONE | {"boot_id": "b"}))
        await bench.settle()
        known = await bench.updates.firmware_of("pump-1")
        assert known is not None
        assert (known.report.version, known.report.boot_id, known.report.source) == ("1.0", "b", "twin")


async def test_the_same_again_once_a_minute(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        firmware = TwinFirmware(bench.engine, clock=bench.clock)
        for before, after, count in (({}, ONE, 1), (ONE, ONE, 0), (ONE, TWO, 1), (TWO, TWO, 0)):
            firmware.note(changed(before, after))
            assert waiting(bench) == count
            await bench.settle()
        bench.clock.advance(60_000)
        firmware.note(changed(TWO, TWO))
        assert waiting(bench) == 1


async def test_what_is_none(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        firmware = TwinFirmware(bench.engine, clock=bench.clock)
        firmware.note(changed({}, {"led": True}))
        firmware.note(changed({}, ONE, name="config"))
        firmware.note(changed({}, ONE, at_ms=None))
        assert waiting(bench) == 0


async def test_how_many_are_remembered_is_bounded(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("appliance.updates.twin_firmware.ASKED_COUNT_MAX", 0)
    async with a_bench(tmp_path / "catalog.db") as bench:
        firmware = TwinFirmware(bench.engine, clock=bench.clock)
        firmware.note(changed({}, ONE))
        await bench.settle()
        firmware.note(changed(ONE, ONE))
        assert waiting(bench) == 1
