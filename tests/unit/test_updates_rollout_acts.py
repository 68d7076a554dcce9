"""Acts: each only where the table has it, and with what goes with it. How they look from outside: test_ui_api_rollouts.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized, UsageError
from appliance.core.limits_updates import ROLLOUT_LIVE_COUNT_MAX
from appliance.management.rollout_plan import Targets
from appliance.management.rollouts import ENDED, RolloutEvent, RolloutState, target
from appliance.updates import rollout_acts as acts
from appliance.updates.rollout_acts import Author, Draft
from storage.catalog import Catalog
from storage.catalog.rollout_executions import NewExecution
from storage.catalog.rollouts import Rollout
from tests.rollout_kit import NEW, add_artifact, add_devices, names

NOW = 1_700_000_000_000
ANNA, BEN = Author("anna"), Author("ben")
R, E = RolloutState, RolloutEvent


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(NOW), node_id=bytes(16))
    add_artifact(opened)
    add_devices(opened, names(5))
    add_devices(opened, ["done"], digest=NEW)
    yield opened
    opened.close()


DRAFT = Draft(name="May", artifact_id="a1", targets=Targets(all=True))
ACTS: dict[RolloutEvent, Callable[[Catalog], Rollout]] = {
    E.SUBMIT: lambda catalog: acts.submit(catalog, "r1", ANNA, NOW),
    E.APPROVE: lambda catalog: acts.approve(catalog, "r1", BEN, NOW),
    E.REFUSE: lambda catalog: acts.refuse(catalog, "r1", ANNA, "no"),
    E.START: lambda catalog: acts.start(catalog, "r1", ANNA, NOW),
    E.PAUSE: lambda catalog: acts.pause(catalog, "r1", ANNA, "wait"),
    E.RESUME: lambda catalog: acts.resume(catalog, "r1", ANNA, NOW),
    E.ABORT: lambda catalog: acts.abort(catalog, "r1", ANNA, "", confirm_count=0, now_ms=NOW),
    E.ROLL_BACK: lambda catalog: acts.roll_back(catalog, "r1", ANNA, wave=None, reason="", confirm_count=0),
}


def one_succeeded(catalog: Catalog) -> None:
    made = NewExecution(execution_id="e1", device_id="d000", wave=0, from_version="1.0", from_digest="")
    catalog.add_executions(
        catalog.get_rollout("r1"), [made], to_version="2.0", to_digest=NEW, size_bytes=1, deadline_at_ms=NOW
    )
    catalog.execute(
        "UPDATE executions SET state = 'succeeded', started_at_ms = 1, origin = ?, hlc = ?",
        (catalog.origin, catalog.hlc),
    )


@pytest.mark.parametrize("state", RolloutState)
@pytest.mark.parametrize("event", ACTS)
def test_each_act_in_each_state(catalog: Catalog, state: RolloutState, event: RolloutEvent) -> None:
    with catalog.transaction():
        acts.create(catalog, "r1", DRAFT, ANNA)
        catalog.change_rollout("r1", state=state, before_pause="running")
        expected = target(state, event)
        if event is E.ROLL_BACK and expected is not None and state in ENDED:
            with pytest.raises(Conflict) as refused:
                ACTS[event](catalog)
            assert refused.value.code == "rollback_none"
            one_succeeded(catalog)
            rolled = acts.roll_back(catalog, "r1", ANNA, wave=None, reason="", confirm_count=1)
            assert rolled.state is expected
            return
        if event is E.SUBMIT and expected is not None:
            expected = R.READY  # five devices are no large rollout
        if expected is None:
            with pytest.raises(Conflict) as refused:
                ACTS[event](catalog)
            assert refused.value.code == "rollout_state"
            assert event not in acts.possible(catalog.get_rollout("r1"))
        else:
            assert ACTS[event](catalog).state is expected


def test_a_start_makes_an_execution_for_each_and_ends_those_that_run_it(catalog: Catalog) -> None:
    with catalog.transaction():
        acts.create(catalog, "r1", DRAFT, ANNA)
        acts.submit(catalog, "r1", ANNA, NOW)
        acts.start(catalog, "r1", ANNA, NOW)
    rows = catalog.rows("SELECT device_id, wave, state, ended_at_ms FROM executions ORDER BY device_id")
    assert tuple(rows[-1]) == ("done", 2, "noop", NOW)
    assert sorted(row["wave"] for row in rows[:5]) == [0, 1, 2, 2, 2]
    assert {row["state"] for row in rows[:5]} == {"queued"}


def test_a_soak_begins_anew_and_failures_are_accepted(catalog: Catalog) -> None:
    with catalog.transaction():
        acts.create(catalog, "r1", DRAFT, ANNA)
        acts.submit(catalog, "r1", ANNA, NOW)
        acts.start(catalog, "r1", ANNA, NOW)
        catalog.change_rollout("r1", state=R.SOAKING)
        acts.pause(catalog, "r1", ANNA, "")
        catalog.execute(
            "UPDATE executions SET state = 'rejected', origin = ?, hlc = ? WHERE device_id = 'd001'",
            (catalog.origin, catalog.hlc),
        )
        resumed = acts.resume(catalog, "r1", ANNA, NOW + 5)
    assert (resumed.state, resumed.before_pause, resumed.accepted_failures) == (R.SOAKING, "", 1)
    assert resumed.soak_until_at_ms == NOW + 5 + 1_800_000


def test_nobody_approves_what_they_wrote(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.set_setting("firmware.approval", "always")
        acts.create(catalog, "r1", DRAFT, ANNA)
        acts.edit(catalog, "r1", DRAFT, BEN)
        assert acts.submit(catalog, "r1", ANNA, NOW).state is R.AWAITING_APPROVAL
        with pytest.raises(NotAuthorized):
            acts.approve(catalog, "r1", BEN, NOW)
        assert acts.approve(catalog, "r1", ANNA, NOW).approved_by == "anna"
        with pytest.raises(Conflict, match="only a draft can be changed"):
            acts.edit(catalog, "r1", DRAFT, ANNA)
        assert acts.refuse(catalog, "r1", ANNA, "").approved_by == ""


@pytest.mark.parametrize(("more", "may_start"), [(20, True), (21, False)])
def test_what_was_approved_is_not_started_for_many_more_devices(
    catalog: Catalog, more: int, may_start: bool
) -> None:
    """Groups and tags are filled by whoever may, also between the approval and the start."""
    with catalog.transaction():
        add_devices(catalog, [f"first{number}" for number in range(20)])
        acts.create(catalog, "r1", DRAFT, ANNA)
        assert acts.submit(catalog, "r1", ANNA, NOW).state is R.AWAITING_APPROVAL
        assert acts.approve(catalog, "r1", BEN, NOW).approved_device_count == 25
        add_devices(catalog, [f"more{number}" for number in range(more)])
        if may_start:
            assert acts.start(catalog, "r1", ANNA, NOW).state is R.RUNNING
            return
        with pytest.raises(Conflict, match="46 devices now, and 25 when it was approved") as refused:
            acts.start(catalog, "r1", ANNA, NOW)
        assert refused.value.code == "rollout_needs_approval"
        again = acts.refuse(catalog, "r1", BEN, "It has grown.")
        assert (again.approved_by, again.approved_device_count) == ("", None)
        acts.submit(catalog, "r1", ANNA, NOW)
        acts.approve(catalog, "r1", BEN, NOW)
        assert acts.start(catalog, "r1", ANNA, NOW).state is R.RUNNING


def test_so_many_are_under_way_at_most(catalog: Catalog) -> None:
    with catalog.transaction():
        for number in range(ROLLOUT_LIVE_COUNT_MAX):
            acts.create(catalog, f"other{number}", DRAFT, ANNA)
            catalog.change_rollout(f"other{number}", state=R.PAUSED)
        acts.create(catalog, "r1", DRAFT, ANNA)
        acts.submit(catalog, "r1", ANNA, NOW)
        with pytest.raises(LimitExceeded, match="are under way"):
            acts.start(catalog, "r1", ANNA, NOW)


@pytest.mark.parametrize("name", ["", "x" * 101, "two\nlines"])
def test_names(name: str) -> None:
    with pytest.raises(UsageError, match="name has 1 to"):
        Draft(name=name, artifact_id="a1", targets=Targets(all=True)).check()


def test_what_nobody_vouches_for_is_not_rolled_out(catalog: Catalog) -> None:
    catalog.set_unsigned_policy("refuse")
    with catalog.transaction():
        acts.create(catalog, "r1", DRAFT, ANNA)
    with pytest.raises(Conflict) as caught:
        acts.submit(catalog, "r1", ANNA, NOW)
    assert caught.value.code == "artifact_unsigned"
