"""Rollouts over the real engine and catalog, on a clock that is turned by hand: what docs/ROLLOUTS.md promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict
from appliance.management.audit import Act, Actor
from appliance.management.executions import FAILURES, State
from appliance.management.gates import Gate, Health
from appliance.management.rollout_machine import View
from appliance.management.rollout_plan import Plan, Targets
from appliance.management.rollouts import RolloutState
from appliance.management.waves import Wave
from appliance.management.windows import Window
from appliance.updates import rollout_acts as acts
from appliance.updates import rollout_planner
from appliance.updates.desk import Operation
from appliance.updates.device_health import STEADY_MS_MIN
from appliance.updates.fence import raise_fence_and_tell
from appliance.updates.rollout_acts import Author, Draft
from appliance.updates.rollout_planner import RolloutPlanner
from storage.catalog import Catalog
from storage.catalog.rollouts import Rollout
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST
from tests.rollout_kit import add_artifact, add_devices, names
from tests.updates_kit import Bench, a_bench

ANNA = Author("anna")
BY = Act(action="rollout.start", actor=Actor(name="anna", kind="user"))
S, R = State, RolloutState
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
QUICK = Plan(start_spread_s=0, gate=Gate(soak_s=60))


@dataclass
class SaidHealth:
    """Health that a test says; well if it says nothing."""

    by_device: dict[str, Health] = field(default_factory=dict)
    steady_ms: int = 0

    def of(self, device_id: str, now_ms: int, *, steady_ms: int = STEADY_MS_MIN) -> Health:
        self.steady_ms = steady_ms
        return self.by_device.get(device_id, Health(is_fresh=True, is_steady=True))


@dataclass
class Site:
    """Devices that do as a test says, and one rollout for all of them."""

    bench: Bench
    health: SaidHealth = field(default_factory=SaidHealth)

    async def act(self, do: Callable[[Catalog], Any]) -> Any:
        found = await self.bench.catalog.write(do, by=BY)
        self.bench.engine.look_soon()
        await self.bench.settle()
        return found

    async def start(self, plan: Plan = QUICK, rollout_id: str = "r1", **more: Any) -> None:
        """Make, submit and start it."""
        draft = Draft(
            name="May", artifact_id=more.pop("artifact_id", "a1"), targets=Targets(all=True), plan=plan
        )

        def do(catalog: Catalog) -> None:
            catalog.set_setting("firmware.approval", "never")
            acts.create(catalog, rollout_id, draft, ANNA)
            acts.submit(catalog, rollout_id, ANNA, self.bench.clock.now_ms())
            acts.start(catalog, rollout_id, ANNA, self.bench.clock.now_ms())

        await self.act(do)

    async def rollout(self, rollout_id: str = "r1") -> Rollout:
        return await self.bench.catalog.read(lambda catalog: catalog.get_rollout(rollout_id))

    async def states(self, rollout_id: str = "r1") -> dict[str, State]:
        """Of each device's execution."""
        found = await self.bench.catalog.read(
            lambda catalog: catalog.rows(
                "SELECT device_id, state FROM executions WHERE rollout_id = ? ORDER BY device_id",
                (rollout_id,),
            )
        )
        return {device_id: State(state) for device_id, state in found}

    async def who(
        self, *, wave: int | None = None, admitted: bool | None = None, rollout_id: str = "r1"
    ) -> list[str]:
        """Devices of a wave, or that may start."""
        found = await self.bench.catalog.read(
            lambda catalog: catalog.rows(
                "SELECT device_id FROM executions WHERE rollout_id = ? AND wave = coalesce(?, wave) "
                "AND (? IS NULL OR (is_admitted = ? AND state = 'queued')) ORDER BY device_id",
                (rollout_id, wave, admitted, admitted),
            )
        )
        return [row[0] for row in found]

    async def id_of(self, device_id: str, rollout_id: str = "r1") -> str:
        found = await self.bench.catalog.read(
            lambda catalog: catalog.row(
                "SELECT execution_id FROM executions WHERE device_id = ? AND rollout_id = ?",
                (device_id, rollout_id),
            )
        )
        assert found
        return str(found[0])

    async def succeeds(self, device_id: str, rollout_id: str = "r1") -> None:
        """Its device goes all the way."""
        await self.goes(device_id, "rebooting", rollout_id)
        await self.bench.runs(NEW_DIGEST, device_id, boot_id=f"new-{rollout_id}", is_confirmed=True)

    async def goes(self, device_id: str, phase: str, rollout_id: str = "r1") -> None:
        """Its device goes as far as a phase."""
        await self.bench.report(await self.id_of(device_id, rollout_id), phase, boot_id=f"old-{rollout_id}")

    async def falls_back(self, device_id: str) -> None:
        """Its bootloader does."""
        await self.goes(device_id, "rebooting")
        await self.bench.runs(OLD_DIGEST, device_id, boot_id="fell-back")

    async def finish_wave(self) -> None:
        """Whoever may start succeeds, until the wave is done."""
        while who := await self.who(admitted=True):
            for device_id in who:
                await self.succeeds(device_id)
            await self.bench.settle()

    async def complete(self) -> None:
        """Wave after wave."""
        for _ in range(5):
            await self.finish_wave()
            await self.bench.after(MINUTE_MS)


@asynccontextmanager
async def a_site(
    tmp_path: Path, count: int, *, online: int | None = None, clock: ManualClock | None = None
) -> AsyncIterator[Site]:
    """So many devices of the group `hall` with an artifact; all are there, or the first `online`."""
    health = SaidHealth()
    async with a_bench(tmp_path / "catalog.db", planner=RolloutPlanner(health=health), clock=clock) as bench:

        def put(catalog: Catalog) -> None:
            add_artifact(catalog, sha256=NEW_DIGEST)
            add_devices(catalog, names(count), groups=("hall",), digest=OLD_DIGEST)

        await bench.catalog.write(put, by=BY)
        for device_id in names(count)[: count if online is None else online]:
            bench.engine.online(device_id, True)
            bench.engine.listening(device_id, True)
        await bench.settle()
        yield Site(bench, health=health)


async def test_it_goes_wave_by_wave_to_the_end(tmp_path: Path) -> None:
    async with a_site(tmp_path, 20) as site:
        await site.start()
        (first,) = await site.who(admitted=True)
        assert await site.who(wave=0) == [first]
        assert site.bench.told.count(first) >= 1
        await site.succeeds(first)
        assert (await site.rollout()).state is R.SOAKING
        assert await site.who(admitted=True) == []
        await site.bench.after(59_000)
        assert (await site.rollout()).state is R.SOAKING
        await site.bench.after(1_000)
        rollout = await site.rollout()
        assert (rollout.state, rollout.wave) == (R.RUNNING, 1)
        await site.complete()
        rollout = await site.rollout()
        assert (rollout.state, rollout.reason) == (R.COMPLETED, "")
        assert rollout.ended_at_ms is not None
        assert set((await site.states()).values()) == {S.SUCCEEDED}
        history = await site.bench.catalog.read(lambda catalog: catalog.rollout_history("r1"))
        assert [move.event for move in reversed(history)] == [
            "submit_without_approval", "start", "wave_done", "gate_open", "wave_done", "gate_open", "wave_done", "all_done",
        ]  # fmt: skip
        assert {move.actor for move in history} == {"anna", ""}


async def test_first_wave_failure(tmp_path: Path) -> None:
    async with a_site(tmp_path, 10) as site:
        await site.start()
        (first,) = await site.who(admitted=True)
        await site.falls_back(first)
        rollout = await site.rollout()
        assert (rollout.state, rollout.reason) == (R.PAUSED, "1 device failed in the first wave.")
        assert sum(state is S.PAUSED for state in (await site.states()).values()) == 9
        await site.bench.after(DAY_MS)
        assert await site.who(admitted=True) == []
        # Whoever goes on has seen it: it is not stopped by the same failure again.
        await site.act(lambda catalog: acts.resume(catalog, "r1", ANNA, site.bench.clock.now_ms()))
        await site.bench.after(MINUTE_MS)
        assert (await site.rollout()).state in (R.RUNNING, R.SOAKING)


@pytest.mark.parametrize(
    ("on_stop", "expected"), [("pause", R.PAUSED), ("rollback_wave", R.ROLLING_BACK), ("rollback_all", R.ROLLING_BACK)]
)  # fmt: skip
async def test_the_stop_rule(tmp_path: Path, on_stop: Any, expected: RolloutState) -> None:
    plan = replace(QUICK, waves=(Wave(1, False), Wave(100, True)), on_stop=on_stop)
    async with a_site(tmp_path, 10) as site:
        await site.start(plan)
        await site.finish_wave()
        await site.bench.after(MINUTE_MS)
        who = await site.who(admitted=True)
        assert len(who) == 9
        await site.succeeds(who[0])
        await site.falls_back(who[1])
        assert (await site.rollout()).state is R.RUNNING
        await site.goes(who[3], "installing")
        await site.falls_back(who[2])
        rollout = await site.rollout()
        assert rollout.state is expected
        assert "2 devices failed of 5 started" in rollout.reason
        states = await site.states()
        assert states[who[3]] is S.INSTALLING  # whoever installs is never interrupted
        first = next(device for device in names(10) if device not in who)
        if on_stop == "pause":
            assert states[who[0]] is S.SUCCEEDED
            assert states[who[5]] is S.PAUSED
            return
        assert states[who[0]] is S.ROLLBACK_PENDING
        assert states[who[5]] is S.CANCELED
        assert states[first] is (S.SUCCEEDED if on_stop == "rollback_wave" else S.ROLLBACK_PENDING)


async def test_a_rollback_of_all_ends_when_everybody_is_back(tmp_path: Path) -> None:
    plan = replace(QUICK, waves=(Wave(100, True),))
    async with a_site(tmp_path, 3) as site:
        await site.start(plan)
        await site.finish_wave()
        await site.bench.after(MINUTE_MS)
        assert (await site.rollout()).state is R.COMPLETED
        await site.act(
            lambda catalog: acts.roll_back(catalog, "r1", ANNA, wave=0, reason="It hums.", confirm_count=3)
        )
        assert set((await site.states()).values()) == {S.ROLLBACK_PENDING}
        for number, device_id in enumerate(names(3)):
            assert (await site.rollout()).state is R.ROLLING_BACK, number
            await site.bench.runs(OLD_DIGEST, device_id, boot_id="back")
        rollout = await site.rollout()
        assert (rollout.state, rollout.reason) == (R.ROLLED_BACK, "It hums.")


async def test_device_away_in_a_wave_is_replaced(tmp_path: Path) -> None:
    plan = replace(
        QUICK, waves=(Wave(2, False), Wave(100, True)), canaries=("d008", "d009"), wave_deadline_s=3_600
    )
    async with a_site(tmp_path, 10, online=9) as site:
        await site.start(plan)
        assert await site.who(wave=0) == ["d008", "d009"]
        await site.finish_wave()
        assert (await site.rollout()).state is R.RUNNING
        await site.bench.after(HOUR_MS)
        first_wave = await site.who(wave=0)
        assert len(first_wave) == 2
        assert "d009" not in first_wave
        await site.finish_wave()
        assert (await site.rollout()).state is R.SOAKING
        await site.bench.after(MINUTE_MS)
        await site.finish_wave()
        # The last wave waits for it; when it comes back it has its turn.
        assert (await site.rollout()).state is R.RUNNING
        site.bench.engine.online("d009", True)
        site.bench.engine.listening("d009", True)
        await site.bench.after(10_000)
        assert await site.who(admitted=True) == ["d009"]
        await site.succeeds("d009")
        await site.bench.after(MINUTE_MS)
        assert (await site.rollout()).state is R.COMPLETED


async def test_whoever_never_comes_is_given_up_in_the_end(tmp_path: Path) -> None:
    """Also one that never could start: its deadline is known to the engine all the same."""
    async with a_site(tmp_path, 2, online=1) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        await site.finish_wave()
        await site.bench.after(14 * DAY_MS)
        await site.bench.after(MINUTE_MS)
        states = await site.states()
        assert states == {"d000": S.SUCCEEDED, "d001": S.TIMED_OUT}
        assert (await site.rollout()).state is R.COMPLETED  # who was never there is no failure


async def test_a_wave_of_which_nobody_is_there_pauses_at_its_deadline(tmp_path: Path) -> None:
    async with a_site(tmp_path, 3, online=0) as site:
        await site.start()
        await site.bench.after(DAY_MS)
        rollout = await site.rollout()
        assert rollout.state is R.PAUSED
        assert "No device of the wave was there" in rollout.reason


async def test_never_more_at_once_than_the_cap(tmp_path: Path) -> None:
    plan = replace(QUICK, waves=(Wave(100, True),), concurrency_max=3)
    async with a_site(tmp_path, 12) as site:
        await site.start(plan)
        done = 0
        while done < 12:
            who = await site.who(admitted=True)
            assert len(who) <= 3
            await site.goes(who[0], "downloading")
            assert len(await site.who(admitted=True)) + 1 <= 3
            await site.succeeds(who[0])
            done += 1
        await site.bench.after(MINUTE_MS)
        assert (await site.rollout()).state is R.COMPLETED


async def test_nobody_is_started_while_the_window_is_closed(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=1_795_863_600_000 // DAY_MS * DAY_MS + 12 * HOUR_MS)  # noon, UTC
    plan = replace(QUICK, waves=(Wave(100, True),), window=Window.of((), "22:00", "23:00"), concurrency_max=2)
    async with a_site(tmp_path, 4, clock=clock) as site:
        await site.start(plan)
        assert await site.who(admitted=True) == []
        await site.bench.after(10 * HOUR_MS - 1)
        assert await site.who(admitted=True) == []
        await site.bench.after(1)
        who = await site.who(admitted=True)
        assert len(who) == 2
        await site.bench.after(HOUR_MS - MINUTE_MS)
        await site.goes(who[0], "downloading")
        await site.bench.after(MINUTE_MS)
        assert await site.who(admitted=True) == []
        assert (await site.states())[who[0]] is S.DOWNLOADING  # it has begun: it goes on
        await site.bench.after(23 * HOUR_MS)
        assert who[1] in await site.who(admitted=True)


async def test_starts_are_spread(tmp_path: Path) -> None:
    async with a_site(tmp_path, 8) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),), start_spread_s=600))
        now_ms = site.bench.clock.now_ms()
        due = await site.bench.catalog.read(
            lambda catalog: [row[0] - now_ms for row in catalog.rows("SELECT push_due_at_ms FROM executions")]
        )
        assert len(set(due)) == 8
        assert all(0 <= each < 600_000 for each in due)
        site.bench.told.clear()
        await site.bench.after(600_000)
        assert set(site.bench.told) == set(names(8))


async def test_pause_and_resume_at_every_state_on_the_way(tmp_path: Path) -> None:
    phases = {
        "d001": "downloading",
        "d002": "downloaded",
        "d003": "verified",
        "d004": "installing",
        "d005": "rebooting",
    }
    async with a_site(tmp_path, 7) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        for device_id, phase in phases.items():
            await site.goes(device_id, phase)
        before = await site.states()
        await site.act(lambda catalog: acts.pause(catalog, "r1", ANNA, "Lightning."))
        halted = {
            device for device, state in before.items() if state in (S.QUEUED, S.NOTIFIED, S.DOWNLOADING)
        }
        expected = {device: S.PAUSED if device in halted else state for device, state in before.items()}
        assert await site.states() == expected
        await site.act(lambda catalog: acts.resume(catalog, "r1", ANNA, site.bench.clock.now_ms()))
        assert await site.states() == before
        for device_id in names(7):
            await site.succeeds(device_id)
        await site.bench.after(MINUTE_MS)
        assert (await site.rollout()).state is R.COMPLETED


async def test_abort_lets_off_and_waits_for_who_is_in_the_middle(tmp_path: Path) -> None:
    async with a_site(tmp_path, 4) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        await site.goes("d001", "downloading")
        await site.goes("d002", "installing")
        await site.succeeds("d003")
        await site.act(
            lambda catalog: acts.abort(
                catalog, "r1", ANNA, "", confirm_count=3, now_ms=site.bench.clock.now_ms()
            )
        )
        assert await site.states() == {
            "d000": S.CANCELED, "d001": S.CANCELED, "d002": S.INSTALLING, "d003": S.SUCCEEDED,
        }  # fmt: skip
        assert (await site.rollout()).state is R.STOPPING
        await site.succeeds("d002")
        rollout = await site.rollout()
        assert (rollout.state, rollout.reason) == (R.STOPPED, "Stopped by hand.")
        assert rollout.ended_at_ms is not None


async def test_superseding_rollout(tmp_path: Path) -> None:
    async with a_site(tmp_path, 3) as site:
        await site.bench.catalog.write(
            lambda catalog: add_artifact(catalog, "a2", sha256="9" * 64, version="3.0"), by=BY
        )
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        await site.goes("d001", "downloading")
        site.bench.clock.advance(1)
        await site.start(replace(QUICK, waves=(Wave(100, True),)), rollout_id="r2", artifact_id="a2")
        assert await site.states() == {"d000": S.SUPERSEDED, "d001": S.DOWNLOADING, "d002": S.SUPERSEDED}
        assert await site.who(admitted=True, rollout_id="r2") == ["d000", "d002"]
        await site.succeeds("d001")  # later states finish first
        await site.bench.after(10_000)
        assert "d001" in await site.who(admitted=True, rollout_id="r2")


async def test_what_a_later_update_brought_stays(tmp_path: Path) -> None:
    """Rolling back an older rollout leaves alone devices that have had another update since."""
    plan, third = replace(QUICK, waves=(Wave(100, True),)), "9" * 64
    async with a_site(tmp_path, 2) as site:
        await site.bench.catalog.write(
            lambda catalog: add_artifact(catalog, "a2", sha256=third, version="3.0"), by=BY
        )
        await site.start(plan)
        await site.complete()
        site.bench.clock.advance(1)
        await site.start(plan, rollout_id="r2", artifact_id="a2")
        await site.goes("d001", "rebooting", "r2")
        await site.bench.runs(third, "d001", boot_id="third", is_confirmed=True)
        first = await site.id_of("d001", "r1")
        async with trio.open_nursery() as nursery:
            await nursery.start(site.bench.engine.run)
            with pytest.raises(Conflict, match="later update"):
                await site.bench.updates.operate(first, Operation.ROLLBACK, BY.actor)
            nursery.cancel_scope.cancel()
        await site.act(
            lambda catalog: acts.roll_back(catalog, "r1", ANNA, wave=0, reason="", confirm_count=1)
        )
        assert await site.states("r1") == {"d000": S.ROLLBACK_PENDING, "d001": S.SUCCEEDED}
        await site.bench.runs(OLD_DIGEST, "d000", boot_id="back")
        assert (await site.rollout("r1")).state is R.ROLLED_BACK


async def test_a_wave_waits_only_while_devices_may_start(tmp_path: Path) -> None:
    """A day of waiting is six nights of four hours."""
    clock = ManualClock(now_ms=1_795_863_600_000 // DAY_MS * DAY_MS + 12 * HOUR_MS)
    plan = replace(QUICK, window=Window.of((), "00:00", "04:00"))
    async with a_site(tmp_path, 3, online=0, clock=clock) as site:
        await site.start(plan)
        await site.bench.after(5 * DAY_MS)
        assert (await site.rollout()).state is R.RUNNING
        await site.bench.after(DAY_MS)
        assert (await site.rollout()).state is R.PAUSED


async def test_a_device_that_was_taken_out_is_removed(tmp_path: Path) -> None:
    async with a_site(tmp_path, 2) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        await site.act(lambda catalog: catalog.decommission_device("d000"))
        assert (await site.states())["d000"] is S.REMOVED


async def test_devices_that_are_worse_than_before_hold_the_gate(tmp_path: Path) -> None:
    async with a_site(tmp_path, 10) as site:
        await site.start()
        (first,) = await site.who(admitted=True)
        await site.succeeds(first)
        site.health.by_device[first] = Health(is_fresh=False, is_steady=True)
        await site.bench.after(MINUTE_MS)
        rollout = await site.rollout()
        assert rollout.state is R.PAUSED
        assert rollout.reason == "0 of 1 updated devices send fresh readings, 1 did before."
        # Its connection is as old as its update's reboot: no longer than it was watched is asked for.
        assert site.health.steady_ms == QUICK.gate.soak_s * 1000


async def test_higher_fence(tmp_path: Path) -> None:
    async with a_site(tmp_path, 2) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        await site.goes("d000", "downloading")
        site.bench.told.clear()
        fence = await site.bench.do(raise_fence_and_tell)
        assert (await site.rollout()).fence == fence > 0
        assert "d000" in site.bench.told
        execution = await site.bench.get(await site.id_of("d000"))
        assert (await site.bench.updates.document(execution))["fence"] == fence


async def test_a_clock_that_jumps_soaks_nothing_away(tmp_path: Path) -> None:
    async with a_site(tmp_path, 10) as site:
        await site.start()
        await site.finish_wave()
        soaking = await site.rollout()
        clock = site.bench.clock
        clock.set_wall(clock.now_ms() + 30 * DAY_MS)
        await site.bench.settle()
        jumped = await site.rollout()
        assert jumped.state is R.SOAKING
        assert soaking.soak_until_at_ms is not None
        assert jumped.soak_until_at_ms == soaking.soak_until_at_ms + 30 * DAY_MS
        await site.bench.after(MINUTE_MS)
        assert (await site.rollout()).state is R.RUNNING


async def test_a_node_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """The planner has no memory that counts: another one over the same catalog does the same."""
    clock = ManualClock()
    async with a_site(tmp_path, 5, clock=clock) as site:
        await site.start()
        (first,) = await site.who(admitted=True)
        await site.goes(first, "installing")
    async with a_bench(
        tmp_path / "catalog.db", clock=clock, planner=RolloutPlanner(health=SaidHealth())
    ) as bench:
        site = Site(bench)
        for device_id in names(5):
            bench.engine.online(device_id, True)
            bench.engine.listening(device_id, True)
        await bench.settle()
        assert await site.who(admitted=True) == []
        await site.goes(first, "rebooting")
        await site.bench.runs(NEW_DIGEST, first, boot_id="new", is_confirmed=True)
        assert (await site.rollout()).state is R.SOAKING
        await site.complete()
        assert (await site.rollout()).state is R.COMPLETED
        assert not FAILURES & set((await site.states()).values())


async def test_devices_away_until_the_end_make_nobody_go_back(tmp_path: Path) -> None:
    async with a_site(tmp_path, 10, online=6) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),), on_stop="rollback_all", deadline_s=86_400))
        await site.finish_wave()
        await site.bench.after(2 * DAY_MS)
        states = await site.states()
        assert [states[each] for each in names(10)] == [S.SUCCEEDED] * 6 + [S.TIMED_OUT] * 4
        assert (await site.rollout()).state in (R.SOAKING, R.COMPLETED)


async def test_who_was_lost_goes_back_with_its_rollout_when_it_comes(tmp_path: Path) -> None:
    async with a_site(tmp_path, 3) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        await site.goes("d000", "rebooting")
        site.bench.engine.online("d000", False)
        site.bench.engine.listening("d000", False)
        await site.bench.after(10 * MINUTE_MS)
        await site.bench.after(DAY_MS)
        assert (await site.states())["d000"] is S.LOST
        count = await site.bench.catalog.read(lambda catalog: acts.back_count(catalog.standings("r1"), 0))
        await site.act(
            lambda catalog: acts.roll_back(catalog, "r1", ANNA, wave=0, reason="", confirm_count=count)
        )
        assert (await site.states())["d000"] is S.ROLLBACK_PENDING
        await site.bench.runs(NEW_DIGEST, "d000", boot_id="late", is_confirmed=True)
        assert (await site.states())["d000"] is S.ROLLBACK_PENDING, (
            "it is not let stay on what all others left"
        )


async def test_a_rollout_that_makes_no_sense_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_site(tmp_path, 2) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))

        def fails_once(view: View, *rest: Any, **more: Any) -> Any:
            monkeypatch.undo()
            raise KeyError(view.state)

        monkeypatch.setattr(rollout_planner, "decide", fails_once)
        await site.start(replace(QUICK, waves=(Wave(100, True),)), "r2")
        assert "d001" in await site.who(admitted=True, rollout_id="r2")


async def test_what_is_left_of_a_rollout_that_is_over_ends_with_its_device(tmp_path: Path) -> None:
    async with a_site(tmp_path, 1) as site:
        await site.start(replace(QUICK, waves=(Wave(100, True),)))
        await site.goes("d000", "rebooting")
        await site.bench.runs("9" * 64, "d000", boot_id="other", version="9.9")
        assert (await site.states())["d000"] is S.MANUAL
        await site.act(
            lambda catalog: acts.abort(
                catalog, "r1", ANNA, "", confirm_count=0, now_ms=site.bench.clock.now_ms()
            )
        )
        assert (await site.rollout()).state is R.STOPPED
        await site.act(lambda catalog: catalog.decommission_device("d000"))
        assert (await site.states())["d000"] is S.REMOVED
