"""Rollouts over simulated devices, with faults, bad images, people, a clock that is set, and power cuts of devices and of the node, all at random.

The engine, the planner, the jobs' handler and the catalog are the real ones, the devices are whole; time is virtual (tests/update_site.py). The
invariants, while it runs and at its end:

* No transition is outside the table, and an execution's history leads without a gap to where it is.
* No execution is forgotten: each ends, or is in the work queue; the rollout ends.
* No device is updated twice: none is let install what it runs.
* Thresholds hold: with too many failures a rollout does not go on, and no device of a later wave has begun.
* The same report twice changes nothing on disk.
* What the box says of a device is what the device runs.

A counterexample is a seed and a few choices; hypothesis prints them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.core.errors import Conflict
from appliance.management.execution import Execution
from appliance.management.executions import NEEDS_A_HAND, TRANSITIONS, Event, State
from appliance.management.gates import Gate
from appliance.management.rollout_plan import Plan, Policy
from appliance.management.rollouts import ENDED, RolloutState
from appliance.management.wave_counts import Counts
from appliance.management.waves import Wave
from appliance.updates import rollout_acts, rollout_planner
from appliance.updates.desk import Operation
from device_fw_sim.faults import Fault, FaultKind, FaultPlan
from device_fw_sim.image import Behaviour
from tests.sampling import examples
from tests.update_node import AUTHOR
from tests.update_site import Site, begin_rollout, make_template
from tests.update_world import image

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
DEVICE_COUNT_MAX = 6
ACT_S_MAX = 3_600
SWEEP_MS = 3_600_000
_ELSEWHERE = (FaultKind.GARBAGE, FaultKind.SPIKE, FaultKind.STUCK, FaultKind.RECONNECT_LOOP)
"""Faults of readings, and one that costs 10,000 events and is a lost connection like others."""
_GOES_ON = (RolloutState.RUNNING, RolloutState.SOAKING)


@dataclass(frozen=True)
class Choices:
    """One run."""

    seed: int
    behaviour: Behaviour
    faults: tuple[tuple[Fault, ...], ...]
    waves: tuple[Wave, ...]
    on_stop: str
    deaths: tuple[tuple[int, bool], ...]
    acts: tuple[tuple[int, str, int], ...]
    after: tuple[str, ...]


FAULT = st.builds(
    lambda kind, after, length: Fault(kind=kind, after_ms=after * 1_000, for_ms=length * 1_000),
    st.sampled_from([each for each in FaultKind if each not in _ELSEWHERE]),
    st.integers(0, 900),
    st.integers(1, 600),
)
ACT = st.tuples(
    st.integers(1, ACT_S_MAX),
    st.sampled_from(
        [
            "pause",
            "resume",
            "abort",
            "roll_back",
            "restart",
            "clock_back",
            "clock_forward",
            "cut",
            "cancel",
            "rollback",
            "retry",
            "retry_rollback",
            "ignore",
        ]
    ),
    st.integers(0, DEVICE_COUNT_MAX - 1),
)
CHOICES = st.builds(
    Choices,
    seed=st.integers(0, 2**32),
    behaviour=st.sampled_from([Behaviour.GOOD, Behaviour.GOOD, Behaviour.GOOD, *Behaviour]),
    faults=st.lists(st.lists(FAULT, max_size=2).map(tuple), min_size=3, max_size=DEVICE_COUNT_MAX).map(tuple),
    waves=st.sampled_from(
        [
            (Wave(1, False), Wave(50, True), Wave(100, True)),
            (Wave(100, True),),
            (Wave(2, False), Wave(100, True)),
        ]
    ),
    on_stop=st.sampled_from(["pause", "rollback_wave", "rollback_all"]),
    deaths=st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=3).map(tuple),
    acts=st.lists(ACT, max_size=4).map(tuple),
    after=st.lists(st.sampled_from(["resume", "abort", "roll_back"]), min_size=6, max_size=6).map(tuple),
)


@pytest.fixture(scope="module")
def templates() -> Iterator[Callable[[Behaviour, int], Path]]:
    """Catalogs by image and number of devices, on a file system in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=_fast()) as folder:
        made: dict[tuple[Behaviour, int], Path] = {}

        def template(behaviour: Behaviour, count: int) -> Path:
            key = (behaviour, count)
            if key not in made:
                made[key] = Path(folder) / f"{behaviour.value}-{count}.db"
                make_template(made[key], count, image(behaviour=behaviour, size_bytes=5_000))
            return made[key]

        yield template


@pytest.fixture(autouse=True, scope="module")
def rare_sweeps() -> Iterator[None]:
    """The planner looks again after an hour where nothing is due before: days pass in seconds here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rollout_planner, "ROLLOUT_SWEEP_INTERVAL_MS", SWEEP_MS)
        yield


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHOICES)
def test_a_sample_of_rollouts(templates: Callable[[Behaviour, int], Path], choices: Choices) -> None:
    play(choices, templates)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHOICES)
def test_ten_thousand_rollouts(templates: Callable[[Behaviour, int], Path], choices: Choices) -> None:
    play(choices, templates)


def play(choices: Choices, template: Callable[[Behaviour, int], Path]) -> None:
    """One run, and everything that has to hold."""
    made = image(behaviour=choices.behaviour, size_bytes=5_000)
    plans = [FaultPlan(faults) for faults in choices.faults]
    with tempfile.TemporaryDirectory(dir=_fast()) as folder:
        site = Site(
            Path(folder), template(choices.behaviour, len(plans)), made, plans, seed=choices.seed, doubles=0.2
        )
        site.check = Thresholds(site)
        site.run(5_000)
        plan = Plan(
            waves=choices.waves,
            gate=Gate(soak_s=60, health=False),
            on_stop=choices.on_stop,  # type: ignore[arg-type]
            start_spread_s=10,
            wave_deadline_s=6 * 3_600,
            deadline_s=2 * 86_400,
        )
        begin_rollout(site, plan, Policy(confirm_s=600))
        plant(site, choices)
        for act in choices.after:
            site.run(4 * DAY_MS, lambda: site.node.rollout().state in (*ENDED, RolloutState.PAUSED))
            if site.node.rollout().state is RolloutState.PAUSED:
                on_rollout(site, act)
        if site.node.rollout().state is RolloutState.PAUSED:
            on_rollout(site, "abort")
        site.run(4 * DAY_MS, lambda: site.node.rollout().state in ENDED)
        assert site.node.rollout().state in ENDED, site.node.rollout()
        site.run(ACT_S_MAX * 1_000)
        site.run(12 * DAY_MS, lambda: all(is_settled(each) for each in site.node.executions()))
        # A regression, or the last status of a device, may still be on its way.
        site.run(3_600_000)
        nothing_is_forgotten(site, len(plans))
        histories_follow_the_table(site)
        the_box_is_right(site)
        site.node.die()


# --- What happens ------------------------------------------------------------------------------------------


def plant(site: Site, choices: Choices) -> None:
    """Deaths of the node, and what people do, at their times."""
    deaths = list(choices.deaths)

    def next_death() -> None:
        if deaths:
            site.node.store.dies_at, site.node.store.dies_after_commit = deaths.pop(0)

    next_death()
    site.on_restart = next_death
    for at_s, act, index in choices.acts:
        site.later(at_s * 1_000, lambda act=act, index=index: do(site, act, index))  # type: ignore[misc]


def do(site: Site, act: str, index: int) -> None:
    """What somebody does, or what fails; what is not possible now is refused, and nothing comes of it."""
    executions = site.node.executions()
    target = executions[index % len(executions)]
    match act:
        case "restart":
            site.restart_node()
        case "clock_back" | "clock_forward":
            by_ms = YEAR_MS if act == "clock_forward" else -YEAR_MS
            site.clock.set_wall(site.clock.now_ms() + by_ms)
            site.at_node(site.node.settle)
        case "cut":
            device = site.devices[target.device_id].device
            assert device.managed is not None
            device.managed.flash.cut_at(1)
        case "pause" | "resume" | "abort" | "roll_back":
            on_rollout(site, act)
        case _:
            try:
                site.at_node(lambda: site.node.operate(target.execution_id, Operation(act)))
            except Conflict:
                return


def on_rollout(site: Site, act: str) -> None:
    catalog_now = site.node.store.catalog
    now_ms = site.clock.now_ms()
    standings = catalog_now.standings("r1")
    try:
        match act:
            case "pause":
                site.at_node(lambda: site.node.act(lambda c: rollout_acts.pause(c, "r1", AUTHOR, "")))
            case "resume":
                site.at_node(lambda: site.node.act(lambda c: rollout_acts.resume(c, "r1", AUTHOR, now_ms)))
            case "abort":
                count = rollout_acts.open_count(standings)
                site.at_node(
                    lambda: site.node.act(
                        lambda c: rollout_acts.abort(c, "r1", AUTHOR, "", confirm_count=count, now_ms=now_ms)
                    )
                )
            case _:
                count = rollout_acts.back_count(standings, 0)
                site.at_node(
                    lambda: site.node.act(
                        lambda c: rollout_acts.roll_back(
                            c, "r1", AUTHOR, wave=0, reason="", confirm_count=count
                        )
                    )
                )
    except Conflict:
        return


# --- What holds --------------------------------------------------------------------------------------------


class Thresholds:
    """Looks whenever the catalog has changed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._seen = (0, 0)

    def __call__(self) -> None:
        seen = (self._site.node.lives, self._site.node.store.catalog.connection.total_changes)
        if seen != self._seen:
            self._seen = seen
            thresholds_hold(self._site)


def thresholds_hold(site: Site) -> None:
    rollout = site.node.store.catalog.find_rollout("r1")
    if rollout is None or rollout.state not in _GOES_ON:
        return
    counts = Counts.of(site.node.store.catalog.standings("r1"))
    failed = counts.failed - rollout.accepted_failures
    started = counts.started - rollout.accepted_failures
    if rollout.wave == 0:
        assert failed <= 0, (rollout, counts)
    assert started < 3 or failed < max(2, -(-started * 5 // 100)), (rollout, counts)
    for each in site.node.executions():
        assert each.wave <= rollout.wave or each.started_at_ms is None, each


def is_settled(execution: Execution) -> bool:
    return execution.is_over or execution.state in NEEDS_A_HAND or execution.needs_manual_intervention


def nothing_is_forgotten(site: Site, count: int) -> None:
    executions = site.node.executions()
    assert {each.device_id for each in executions} == set(site.devices)
    assert len(executions) == count
    assert [each for each in executions if not is_settled(each)] == []


def histories_follow_the_table(site: Site) -> None:
    for execution in site.node.executions():
        state = None
        for each in site.node.events(execution.execution_id):
            assert state is None or each.from_state == state, (each, state)
            state = each.to_state
            if each.event in set(Event):
                assert TRANSITIONS[State(each.from_state), Event(each.event)] == each.to_state, each
            else:
                assert each.from_state == each.to_state, each
        assert state is None or state == execution.state


def the_box_is_right(site: Site) -> None:
    """Where an execution ended by itself, its device runs what that end says, and its slot holds it whole."""
    for execution in site.node.executions():
        each = site.devices[execution.device_id]
        assert each.device.managed is not None
        slots = each.device.managed.slots
        if each.is_connected and execution.state in (State.SUCCEEDED, State.NOOP):
            assert slots.sha256 == execution.to_digest, execution
        if each.is_connected and execution.state in (State.ROLLED_BACK, State.REJECTED, State.TIMED_OUT):
            assert slots.sha256 != execution.to_digest, execution
        if slots.sha256 == site.image.sha256:
            assert b"".join(each.flash.pieces(slots.running)) == site.image.data


def _fast() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
