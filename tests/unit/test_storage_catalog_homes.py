"""One node at a time drives what is open; a take-over counts everywhere, and the home of before leaves it alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.management.commands import CommandWish
from tests.merge_kit import SiteNode, begin_execution, converge, differences


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[SiteNode, SiteNode]]:
    clock = ManualClock()
    nodes = SiteNode(tmp_path, 1, clock), SiteNode(tmp_path, 2, clock)
    yield nodes
    for node in nodes:
        node.close()


def test_another_nodes_executions_are_left_alone_until_they_are_taken_over(
    site: tuple[SiteNode, SiteNode],
) -> None:
    one, two = site
    begin_execution(one)
    begin_execution(one, "e-2", "pump-2")
    converge(one, two)
    assert not two.catalog.drives_execution("e-1")
    assert two.catalog.executions_alive_of("pump-1") == []
    assert list(two.catalog.executions_alive()) == []
    assert two.catalog.rollouts_in(["running"], own=True) == []  # type: ignore[list-item]
    assert set(two.catalog.devices_driven_by([one.node_id], limit=10)) == {"pump-1", "pump-2"}
    assert one.catalog.devices_driven_by([one.node_id], limit=10) == []
    taken = two.catalog.take_over(["pump-1"], [one.node_id])
    # The rollout goes on from there, with all that belongs to it.
    assert (set(taken.executions), taken.rollouts, taken.commands) == ({"e-1", "e-2"}, ("r-1",), ())
    assert two.catalog.drives_execution("e-1")
    assert not two.catalog.take_over(["pump-1"], [one.node_id])


def test_the_home_of_before_comes_back_and_stops(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    begin_execution(one)
    converge(one, two)
    two.catalog.take_over(["pump-1"], [one.node_id])
    two.clock.advance(1_000)
    # It did not know, and went on: later, and of no effect.
    with one.catalog.transaction():
        one.catalog.execute(
            "UPDATE executions SET state = 'failed', origin = ?, hlc = ?", (one.node_id, one.catalog.hlc)
        )
    converge(one, two)
    assert differences(one, two) == ""
    (row,) = one.rows("executions")
    assert (row["state"], row["home"], row["home_fence"]) == ("downloading", two.node_id, 1)
    assert not one.catalog.drives_execution("e-1")


def test_two_that_take_over_at_once_agree_on_one(tmp_path: Path) -> None:
    clock = ManualClock()
    nodes = [SiteNode(tmp_path, number, clock) for number in (1, 2, 3)]
    one, two, three = nodes
    begin_execution(one)
    converge(*nodes)
    three.catalog.take_over(["pump-1"], [one.node_id])
    two.catalog.take_over(["pump-1"], [one.node_id])
    converge(*nodes)
    assert [node.catalog.drives_execution("e-1") for node in nodes] == [False, False, True]
    for node in nodes:
        node.close()


def test_a_command_is_sent_by_its_home_alone(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1")
    one.catalog.add_command("c-1", "pump-1", CommandWish(method="reboot", params={}), created_by="ada")
    converge(one, two)
    assert not two.catalog.has_queued_commands(["pump-1"])
    assert two.catalog.send_due_commands(["pump-1"], limit=10) == []
    assert two.catalog.next_command_deadline_ms() is None
    assert two.catalog.take_over(["pump-1"], [one.node_id]).commands == ("c-1",)
    assert [each.command_id for each in two.catalog.send_due_commands(["pump-1"], limit=10)] == ["c-1"]
    one.hear(two)
    assert one.catalog.send_due_commands(["pump-1"], limit=10) == []
