"""Rollouts in the catalog: made, changed, listed in pages, counted; and what the audit says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound, UsageError
from appliance.core.limits_updates import ROLLOUT_REASON_LENGTH_MAX
from appliance.management.audit import SYSTEM, Act, Actor
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.rollouts import RolloutEvent, RolloutState
from storage.catalog import Catalog
from storage.catalog.rollouts import Rollout, make_rollout_id

ANNA = Act(action="rollout.create", actor=Actor(name="anna", kind="user"))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    yield opened
    opened.close()


def make(catalog: Catalog, number: int, artifact_id: str = "a1") -> Rollout:
    with catalog.transaction(ANNA):
        return catalog.create_rollout(
            make_rollout_id(number, bytes(6)),
            name=f"n{number}",
            artifact_id=artifact_id,
            targets=Targets(all=True, hw=("rev2",)),
            plan=Plan(concurrency_max=7),
            policy=Policy(confirm_s=60),
            created_by="anna",
        )


def test_it_is_as_it_was_made(catalog: Catalog) -> None:
    made = make(catalog, 1)
    assert catalog.get_rollout(made.rollout_id) == made
    assert (made.state, made.wave, made.created_by, made.plan.concurrency_max) == ("draft", 0, "anna", 7)
    assert (made.targets.hw, made.policy.confirm_s) == (("rev2",), 60)
    assert catalog.find_rollout("none") is None
    with pytest.raises(NotFound, match="no rollout"):
        catalog.get_rollout("none")


def test_it_is_changed_and_has_another_version_then(catalog: Catalog) -> None:
    made = make(catalog, 1)
    changed = catalog.change_rollout(
        made.rollout_id, state=RolloutState.READY, plan=Plan(concurrency_max=9), reason="x" * 900
    )
    assert (changed.state, changed.plan.concurrency_max) == (RolloutState.READY, 9)
    assert changed.version != made.version
    assert len(changed.reason) == ROLLOUT_REASON_LENGTH_MAX


def test_pages_are_the_newest_first(catalog: Catalog) -> None:
    made = [make(catalog, number, f"a{number % 2}") for number in range(5)]
    first = catalog.list_rollouts(limit=2)
    assert [each.name for each in first.rollouts] == ["n4", "n3"]
    second = catalog.list_rollouts(limit=3, cursor=first.next_cursor)
    assert [each.name for each in second.rollouts] == ["n2", "n1", "n0"]
    assert second.next_cursor is None
    catalog.change_rollout(made[0].rollout_id, state=RolloutState.RUNNING)
    running = catalog.list_rollouts(states=[RolloutState.RUNNING], artifact_id="a0").rollouts
    assert [each.name for each in running] == ["n0"]
    assert [each.name for each in catalog.rollouts_in([RolloutState.DRAFT])] == ["n1", "n2", "n3", "n4"]
    counts = catalog.count_rollouts()
    assert (counts[RolloutState.DRAFT], counts[RolloutState.RUNNING], counts[RolloutState.PAUSED]) == (
        4,
        1,
        0,
    )
    with pytest.raises(UsageError, match="A page has"):
        catalog.list_rollouts(limit=0)


def test_its_history(catalog: Catalog) -> None:
    made = make(catalog, 1)
    ready = catalog.move_rollout(made, RolloutEvent.SUBMIT, RolloutState.READY, actor="anna")
    catalog.move_rollout(ready, RolloutEvent.START, RolloutState.RUNNING, wave=2, reason="because")
    found = catalog.rollout_history(made.rollout_id)
    assert [(each.number, each.event, each.from_state, each.to_state, each.actor) for each in found] == [
        (2, "start", "ready", "running", ""), (1, "submit", "draft", "ready", "anna"),
    ]  # fmt: skip
    assert (found[0].wave, found[0].reason) == (2, "because")


def test_what_people_do_is_in_the_audit_and_what_homeport_does_is_not(catalog: Catalog) -> None:
    made = make(catalog, 1)
    with catalog.transaction(Act(action="update.look", actor=SYSTEM)):
        catalog.change_rollout(made.rollout_id, state=RolloutState.SOAKING)
    entries = catalog.rows("SELECT action, actor FROM audit WHERE object_kind = 'rollout'")
    assert [tuple(row) for row in entries] == [("rollout.create", "anna")]
