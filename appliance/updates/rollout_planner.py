"""The planner: within the engine's transactions it moves rollouts, and has their executions begin, wait, go back and end.

What is due is appliance/management/rollout_machine.py's to say; here it is looked up and carried out. Everything follows from the catalog and
the time, so that a look that was lost with its transaction, or with the node, is made up for by the next one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from appliance.core import logs
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits_updates import (
    ROLLOUT_ADMISSION_MS_MAX,
    ROLLOUT_ARM_INTERVAL_MS,
    ROLLOUT_EVENT_COUNT_MAX,
    ROLLOUT_MOVE_COUNT_MAX,
    ROLLOUT_SWEEP_INTERVAL_MS,
)
from appliance.management.execution import Ordered
from appliance.management.executions import Event, State
from appliance.management.gates import Health
from appliance.management.rollout_machine import (
    FAR_MS,
    GO_BACK,
    MOVES,
    RESUME,
    Decision,
    View,
    decide,
    is_overdue,
    places,
)
from appliance.management.rollouts import ENDED, LIVE, RolloutEvent, RolloutState, target
from appliance.management.wave_counts import Standing
from appliance.management.waves import start_delay_ms
from appliance.management.windows import closes_at_ms, open_ms, opens_at_ms
from appliance.updates.device_health import STEADY_MS_MIN, DeviceHealth, UnknownHealth
from appliance.updates.wave_swaps import swaps
from appliance.updates.work import Window, Work
from storage.catalog.catalog import Catalog
from storage.catalog.rollout_executions import Waiting
from storage.catalog.rollouts import Rollout
from storage.catalog.site_zone import site_zone

_log = logs.get(__name__)
ERROR: Final = "rollout"
"""Why an execution goes back, as a code: its rollout does."""
SUPERSEDED: Final = "A newer rollout is for this device too."
GONE: Final = "The device was rejected, decommissioned or removed."
_TAKES_ON: Final = frozenset({RolloutState.RUNNING, RolloutState.SOAKING})


@dataclass(slots=True)
class RolloutPlanner:
    """See the module's docstring; a RolloutPlanner of work.py.

    Args:
        health: How devices are, before their update and after it.
    """

    health: DeviceHealth = field(default_factory=UnknownHealth)
    _armed_at_ms: dict[str, int] = field(default_factory=dict)

    def look(self, work: Work) -> int | None:
        """Carry out what is due; returns when to look again, None while no rollout is under way."""
        live = work.catalog.rollouts_in(LIVE, own=True)
        if not live:
            self._armed_at_ms.clear()
        # A person may have tried again what is left of a rollout that is over.
        if not live and not work.catalog.has_open_executions():
            return None
        look = _Look(work=work, zone=site_zone(work.catalog), health=self.health)
        for rollout in live:
            self._arm(work, rollout)
        look.make_room()
        for rollout in live:
            self._alone(look, rollout, look.go_on)
        # Of a device that came here from the node that drives its rollout: whether it pauses or stops is said there.
        for rollout in work.catalog.rollouts_followed():
            self._alone(look, rollout, look.follow)
        return look.again_at_ms()

    def window(self, catalog: Catalog, rollout_id: str, now_ms: int) -> Window:
        """Whether devices of a rollout may install now."""
        rollout = catalog.find_rollout(rollout_id)
        window = rollout.plan.window if rollout else None
        if window is None:
            return Window()
        zone = site_zone(catalog)
        closes_ms = closes_at_ms(window, now_ms, zone)
        next_ms = closes_at_ms(window, opens_at_ms(window, now_ms, zone), zone)
        return Window(is_open=closes_ms is not None, ends_at_ms=closes_ms or next_ms)

    def shift(self, catalog: Catalog, by_ms: int) -> None:
        """The wall clock jumped: the times of rollouts move with it."""
        catalog.shift_rollouts(by_ms)

    def _alone(self, look: _Look, rollout: Rollout, move: Callable[[Rollout], None]) -> None:
        """One rollout that nobody can make anything of must not stop the others."""
        kept = look.work.checkpoint()
        try:
            with look.work.catalog.part():
                move(rollout)
        except (Unavailable, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
            look.work.restore(kept)
            _log.error(
                "a rollout could not be moved on, and is left as it is",
                rollout=rollout.rollout_id,
                exc_info=error,
            )

    def _arm(self, work: Work, rollout: Rollout) -> None:
        """Have the engine know executions that were made outside of it: their deadlines come, started or not.

        Again every hour: the transaction of a look may fail, and then the engine does not know them.
        """
        armed_at_ms = self._armed_at_ms.get(rollout.rollout_id)
        if armed_at_ms is not None and abs(work.now_ms - armed_at_ms) < ROLLOUT_ARM_INTERVAL_MS:
            return
        for execution_id in work.catalog.open_executions(rollout.rollout_id):
            work.executions.setdefault(execution_id, work.get(execution_id))
        self._armed_at_ms[rollout.rollout_id] = work.now_ms


@dataclass(slots=True)
class _Look:
    """One look at all that is under way."""

    work: Work
    zone: dt.tzinfo
    health: DeviceHealth
    moves_left: int = field(default_factory=lambda: ROLLOUT_MOVE_COUNT_MAX)
    look_again_ms: int = FAR_MS

    def make_room(self) -> None:
        """End what a newer rollout makes needless, and executions whose device is no more."""
        catalog = self.work.catalog
        for each in catalog.of_devices_gone(limit=self.moves_left):
            self._order(each, Event.REMOVE, GONE)
        for each in catalog.superseded(limit=self.moves_left):
            self._order(each, Event.SUPERSEDE, SUPERSEDED)

    def go_on(self, rollout: Rollout) -> None:
        """Move one rollout as far as it goes now, then let devices start."""
        for _ in range(ROLLOUT_EVENT_COUNT_MAX):
            self._move_executions(rollout)
            standings = self.work.catalog.standings(rollout.rollout_id)
            view = view_of(rollout, standings, self.work.now_ms, self.zone)
            if is_overdue(view) and self._swap(rollout):
                rollout = self.work.catalog.change_rollout(
                    rollout.rollout_id, wave_started_at_ms=self.work.now_ms
                )
                continue
            if self.moves_left <= 0:
                return  # What stands is not what will be once all have moved.
            decision = decide(
                view, standings, self.work.now_ms, health=partial(self._pairs, rollout, view.wave)
            )
            if decision.event is None:
                rollout = self._forget_accepted(rollout, standings)
                self._admit(rollout, view, standings)
                self._note_times(rollout, view)
                return
            rollout = self._apply(rollout, decision.event, decision)

    def follow(self, rollout: Rollout) -> None:
        """Bring executions that are driven here to where a rollout of another node wants them."""
        self._move_executions(rollout)

    def again_at_ms(self) -> int:
        """When to look again: at once where something is left over, else at the next time, or after a while."""
        if self.moves_left <= 0:
            return self.work.now_ms
        return min(self.look_again_ms, self.work.now_ms + ROLLOUT_SWEEP_INTERVAL_MS)

    # --- Moving --------------------------------------------------------------------------------------------

    def _move_executions(self, rollout: Rollout) -> None:
        """Bring executions to where their rollout wants them."""
        moves = MOVES.get(rollout.state, {})
        for each in self._to_move(rollout, moves, wave_min=0):
            event = (
                RESUME[each.before_pause]
                if each.state is State.PAUSED and not _ends(rollout)
                else moves[each.state]
            )
            self._order(each, event, rollout.reason)
        if rollout.state is RolloutState.ROLLING_BACK:
            for each in self._to_move(rollout, GO_BACK, wave_min=rollout.rollback_from_wave or 0):
                self._order(each, Event.ROLL_BACK, rollout.reason)

    def _to_move(self, rollout: Rollout, states: Iterable[State], *, wave_min: int) -> list[Waiting]:
        wanted = list(states)
        if not wanted or self.moves_left <= 0:
            return []
        return self.work.catalog.executions_to_move(
            rollout.rollout_id, wanted, wave_min=wave_min, limit=self.moves_left
        )

    def _order(self, waiting: Waiting, event: Event, reason: str) -> None:
        self.work.step(waiting.execution_id, Ordered(event, reason, error=ERROR))
        self.moves_left -= 1

    def _apply(self, rollout: Rollout, event: RolloutEvent, decision: Decision) -> Rollout:
        state = target(rollout.state, event)
        assert state is not None, f"{rollout.state} has no {event}"
        now_ms = self.work.now_ms
        columns: dict[str, Any] = {"reason": decision.reason}
        if decision.wave is not None:
            columns |= {"wave": decision.wave, "wave_started_at_ms": now_ms}
        if decision.soak_until_at_ms is not None:
            columns["soak_until_at_ms"] = decision.soak_until_at_ms
        if event is RolloutEvent.ROLL_BACK:
            columns["rollback_from_wave"] = decision.rollback_from
        if state is RolloutState.PAUSED:
            columns["before_pause"] = rollout.state
        if state in ENDED:
            columns["ended_at_ms"] = now_ms
            if not decision.reason:
                del columns["reason"]  # Why it stopped or went back is said already.
        self.work.forget_terms(rollout.rollout_id)
        return self.work.catalog.move_rollout(rollout, event, state, **columns)

    def _forget_accepted(self, rollout: Rollout, standings: list[Standing]) -> Rollout:
        """Failures that somebody accepted and that are none any more must not excuse later ones."""
        failed = sum(each.count for each in standings if each.is_failure)
        if rollout.accepted_failures <= failed:
            return rollout
        return self.work.catalog.change_rollout(rollout.rollout_id, accepted_failures=failed)

    def _swap(self, rollout: Rollout) -> bool:
        """Replace devices of the wave that stay away by others of their groups; whether any was."""
        is_there = self.work.surroundings.is_reachable
        found = swaps(
            self.work.catalog.queued_with_groups(rollout.rollout_id), wave=rollout.wave, is_there=is_there
        )
        for away, instead in found:
            for each, wave in ((away, instead.wave), (instead, away.wave)):
                before = self.work.get(each.execution_id)
                self.work.change(before, wave=wave, is_admitted=False, push_due_at_ms=None)
        return bool(found)

    # --- Starting ------------------------------------------------------------------------------------------

    def _admit(self, rollout: Rollout, view: View, standings: list[Standing]) -> None:
        """Let devices start, as many as there are places; whose window closed, or who went away before it began, waits again."""
        if rollout.state not in _TAKES_ON:
            return
        now_ms, catalog = self.work.now_ms, self.work.catalog
        window = rollout.plan.window
        closes_ms = closes_at_ms(window, now_ms, self.zone) if window else FAR_MS
        if self._take_back(rollout, is_closed=closes_ms is None):
            standings = catalog.standings(rollout.rollout_id)
        room = places(view, standings, is_window_open=closes_ms is not None)
        if closes_ms is None or room <= 0:
            return
        spread_ms = min(rollout.plan.start_spread_s * 1000, closes_ms - now_ms)
        for each in catalog.waiting_for_admission(rollout.rollout_id, wave_max=rollout.wave):
            if room <= 0 or self.moves_left <= 0:
                return
            if not self.work.surroundings.is_reachable(each.device_id):
                continue
            before = self.work.get(each.execution_id)
            delay_ms = start_delay_ms(rollout.rollout_id, each.device_id, spread_ms)
            health = self.health.of(each.device_id, now_ms)
            self.work.change(
                before,
                is_admitted=True,
                push_due_at_ms=now_ms + delay_ms,
                health={
                    **before.health,
                    "before": {"is_fresh": health.is_fresh, "is_steady": health.is_steady},
                },
            )
            room -= 1
            self.moves_left -= 1

    def _take_back(self, rollout: Rollout, *, is_closed: bool) -> int:
        """Have those wait again that may not start any more, or went away an hour ago; how many."""
        count = 0
        since_max_ms = None if is_closed else self.work.now_ms - ROLLOUT_ADMISSION_MS_MAX
        for each in self.work.catalog.admitted(rollout.rollout_id, since_max_ms=since_max_ms):
            if self.moves_left <= 0:
                break
            if is_closed or not self.work.surroundings.is_reachable(each.device_id):
                self.work.change(self.work.get(each.execution_id), is_admitted=False, push_due_at_ms=None)
                self.moves_left -= 1
                count += 1
        return count

    def _pairs(self, rollout: Rollout, wave: int) -> Iterator[tuple[Health, Health]]:
        """Before and now, of the devices of the waves so far that succeeded.

        Each lost its connection to the update's own reboot, and was watched since for no longer than the soak: more is not asked for.
        """
        steady_ms = min(STEADY_MS_MIN, rollout.plan.gate.soak_s * 1000)
        for device_id, before in self.work.catalog.health_before(rollout.rollout_id, wave_max=wave).items():
            yield before, self.health.of(device_id, self.work.now_ms, steady_ms=steady_ms)

    def _note_times(self, rollout: Rollout, view: View) -> None:
        """When something is due without anybody moving."""
        now_ms = self.work.now_ms
        times = [view.soak_until_at_ms] if rollout.state is RolloutState.SOAKING else []
        if rollout.plan.window is not None and rollout.state in _TAKES_ON:
            closes_ms = closes_at_ms(rollout.plan.window, now_ms, self.zone)
            times.append(closes_ms or opens_at_ms(rollout.plan.window, now_ms, self.zone))
        self.look_again_ms = min([self.look_again_ms, *(each for each in times if each > now_ms)])


def _ends(rollout: Rollout) -> bool:
    """Whether the rollout lets executions off rather than go on."""
    return rollout.state not in _TAKES_ON


def view_of(rollout: Rollout, standings: Iterable[Standing], now_ms: int, zone: dt.tzinfo) -> View:
    """A rollout as the machine sees it."""
    started_ms = rollout.wave_started_at_ms or now_ms
    window = rollout.plan.window
    return View(
        state=rollout.state,
        plan=rollout.plan,
        wave=rollout.wave,
        wave_count=max((each.wave for each in standings), default=0) + 1,
        waited_ms=open_ms(window, started_ms, now_ms, zone) if window else now_ms - started_ms,
        soak_until_at_ms=rollout.soak_until_at_ms or 0,
        accepted=rollout.accepted_failures,
        rollback_from=rollout.rollback_from_wave or 0,
    )
