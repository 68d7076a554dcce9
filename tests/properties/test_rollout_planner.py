"""The planner over the real engine and catalog, with devices that do as chance has it: what holds whatever happens.

Every device is in one wave, the first wave has the size it should, never more are updated at once than the cap says, nobody is started while the window is
closed, and in the end each one has ended or waits for a person.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from datetime import UTC
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.management.execution_report import ReportStatus
from appliance.management.executions import ENDED, NEEDS_A_HAND, State
from appliance.management.gates import Gate
from appliance.management.rollout_plan import Plan
from appliance.management.rollouts import LIVE, RolloutState
from appliance.management.wave_counts import Counts
from appliance.management.waves import Wave, sizes
from appliance.management.windows import Window, closes_at_ms
from appliance.updates import rollout_acts as acts
from storage.catalog import Catalog
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, THIRD_DIGEST
from tests.integration.test_rollout_scenarios import ANNA, DAY_MS, HOUR_MS, Site, a_site
from tests.rollout_kit import names

START_MS = 1_795_824_000_000
UTC_HOURS = Window.of((), "08:00", "20:00")


class Chance:
    """Devices that download, boot, fall back, fail, vanish and come back."""

    def __init__(self, site: Site, plan: Plan, count: int, seed: int) -> None:
        self.site, self.plan, self.random = site, plan, random.Random(seed)
        self.devices = names(count)
        self.boot = 0

    async def check(self) -> None:
        """What holds at every moment."""
        rollout = await self.site.rollout()
        standings = await self.site.bench.catalog.read(lambda catalog: catalog.standings("r1"))
        counts = Counts.of(standings)
        assert counts.total == len(self.devices)
        assert counts.updating <= self.plan.concurrency_max
        expected = sizes(self.plan.waves, len(self.devices))
        by_wave = [
            sum(each.count for each in standings if each.wave == wave) for wave in range(len(expected))
        ]
        assert tuple(by_wave) == expected
        if rollout.state in (RolloutState.RUNNING, RolloutState.SOAKING):
            started_beyond = [
                each
                for each in standings
                if each.wave > rollout.wave and each.state is not State.QUEUED and not each.is_settled
            ]
            assert not started_beyond
        now_ms = self.site.bench.clock.now_ms()
        if self.plan.window and closes_at_ms(self.plan.window, now_ms, UTC) is None:
            assert await self.site.who(admitted=True) == []

    async def step(self) -> None:
        """One thing happens."""
        what = self.random.random()
        device_id = self.random.choice(self.devices)
        if what < 0.1:
            is_there = self.random.random() < 0.7
            self.site.bench.engine.online(device_id, is_there)
            self.site.bench.engine.listening(device_id, is_there)
            await self.site.bench.settle()
        elif what < 0.2:
            await self.site.bench.after(self.random.choice([60_000, 600_000, HOUR_MS, DAY_MS // 4]))
        elif what < 0.25:
            await self._person()
        else:
            await self._device(device_id)

    async def _person(self) -> None:
        rollout, now_ms = await self.site.rollout(), self.site.bench.clock.now_ms()
        if rollout.state is RolloutState.PAUSED:
            await self.site.act(lambda catalog: acts.resume(catalog, "r1", ANNA, now_ms))
        elif rollout.state in (RolloutState.RUNNING, RolloutState.SOAKING) and self.random.random() < 0.3:
            await self.site.act(lambda catalog: acts.pause(catalog, "r1", ANNA, ""))

    async def _device(self, device_id: str) -> None:
        """A device goes a step on, if it has anything to do."""
        offered = await self.site.bench.updates.pending(device_id)
        await self.site.bench.settle()
        if not offered:
            return
        execution, chance = offered[0], self.random.random()
        boot_id = f"{device_id}-{self.boot}"
        way = {
            State.QUEUED: "downloading", State.NOTIFIED: "downloading", State.DOWNLOADING: "verified",
            State.VERIFIED: "installing", State.WAIT_WINDOW: "installing", State.INSTALLING: "rebooting",
        }  # fmt: skip
        if execution.state in way and chance < 0.9:
            await self.site.bench.report(execution.execution_id, way[execution.state], boot_id=boot_id)
        elif execution.state in way:
            await self.site.bench.report(
                execution.execution_id, "", status=ReportStatus.FAILED, boot_id=boot_id, err="unlucky"
            )
        else:
            self.boot += 1
            digest = NEW_DIGEST if chance < 0.8 else OLD_DIGEST if chance < 0.97 else THIRD_DIGEST
            if execution.state in (State.ROLLBACK_PENDING, State.ROLLING_BACK):
                digest = OLD_DIGEST
            await self.site.bench.runs(
                digest, device_id, boot_id=f"{device_id}-{self.boot}", is_confirmed=True
            )

    async def finish(self) -> None:
        """Everybody comes back, and time passes until nothing moves."""
        for device_id in self.devices:
            self.site.bench.engine.online(device_id, True)
            self.site.bench.engine.listening(device_id, True)
        for _ in range(60):
            rollout, now_ms = await self.site.rollout(), self.site.bench.clock.now_ms()
            if rollout.state not in LIVE:
                return
            if rollout.state is RolloutState.PAUSED:
                await self.site.act(partial(acts.resume, rollout_id="r1", author=ANNA, now_ms=now_ms))
            for device_id in self.devices:
                for _ in range(6):
                    await self._device(device_id)
                await self.check()
            await self.site.bench.after(DAY_MS // 4 + 1)


async def _play(folder: Path, count: int, cap: int, seed: int, *, has_window: bool) -> None:
    clock = ManualClock(START_MS // DAY_MS * DAY_MS + 9 * HOUR_MS)
    plan = replace(
        Plan(start_spread_s=0, gate=Gate(soak_s=60), concurrency_max=cap),
        waves=(Wave(1, False), Wave(30, True), Wave(100, True)),
        window=UTC_HOURS if has_window else None,
    )
    async with a_site(folder, count, clock=clock) as site:
        await site.start(plan)
        chance = Chance(site, plan, count, seed)
        for _ in range(60):
            await chance.step()
            await chance.check()
        await chance.finish()
        rollout = await site.rollout()
        assert rollout.state not in LIVE, rollout

        def forgotten(catalog: Catalog) -> list[str]:
            return [
                f"{row['device_id']} {row['state']}"
                for row in catalog.rows(
                    "SELECT device_id, state, ended_at_ms, needs_manual_intervention FROM executions"
                )
                if row["ended_at_ms"] is None
                and State(row["state"]) not in ENDED | NEEDS_A_HAND
                and not row["needs_manual_intervention"]
            ]

        assert await site.bench.catalog.read(forgotten) == []


def _run(count: int, cap: int, seed: int, *, has_window: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(lambda: _play(Path(folder), count, cap, seed, has_window=has_window))


SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),  # a smaller seed is no simpler story
)
PLAYED = given(
    count=st.integers(1, 12), cap=st.integers(1, 5), seed=st.integers(0, 2**32), has_window=st.booleans()
)


@settings(SETTINGS, max_examples=6)
@PLAYED
def test_whatever_devices_do(count: int, cap: int, seed: int, has_window: bool) -> None:
    _run(count, cap, seed, has_window=has_window)


@pytest.mark.long
@settings(SETTINGS, max_examples=500)
@PLAYED
def test_whatever_devices_do_for_long(count: int, cap: int, seed: int, has_window: bool) -> None:
    _run(count, cap, seed, has_window=has_window)
