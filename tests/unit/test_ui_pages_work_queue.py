"""The work queue: who is in it and why, what can be done, and that it is done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from appliance.management.audit import Actor
from appliance.management.execution import Execution
from appliance.management.executions import State
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.updates.desk import Operation, Updates
from appliance.updates.engine import Engine
from appliance.updates.surroundings import Surroundings
from storage.catalog import Catalog
from storage.catalog.device_firmware import DeviceFirmware
from storage.catalog.execution_lists import Drift
from tests.acts import ACT
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, an_execution, firmware
from tests.node_kit import NOW_MS, Node, running_node
from tests.people_kit import audit_of, person
from tests.updates_kit import SeenHealth, put_rollout
from ui.pages.work_queue import drift_view, item_of

URL = "/firmware/work-queue"


class Desk:
    """The updates' desk, which there is once the node runs."""

    def __init__(self) -> None:
        self.updates: Updates | None = None

    async def operate(
        self, execution_id: str, operation: Operation, actor: Actor, *, reason: str = ""
    ) -> Execution:
        assert self.updates is not None
        return await self.updates.operate(execution_id, operation, actor, reason=reason)


@asynccontextmanager
async def a_node(tmp_path: Path, *executions: Execution) -> AsyncIterator[Node]:
    """A node with an engine, a rollout, and executions whose devices are in the group `hall`."""
    desk = Desk()
    async with running_node(tmp_path, with_pages=True, updates=desk) as node, trio.open_nursery() as nursery:

        def write(catalog: Catalog) -> None:
            catalog.add_group("hall")
            put_rollout(
                catalog,
                name="Spring <x>",
                targets=json.dumps(Targets(groups=("hall",)).to_json()),
                plan=json.dumps(Plan().to_json()),
                policy=Policy().to_json(),
            )
            for execution in executions:
                catalog.add_device(execution.device_id, groups=("hall",))
                catalog.insert_execution(execution)

        await node.catalog.write(write, by=ACT)
        surroundings = Surroundings(node.clock, health=SeenHealth(), random=lambda: 0.5)
        engine = Engine(node.catalog, clock=node.clock, surroundings=surroundings)
        desk.updates = Updates(engine, node.catalog, clock=node.clock)
        await nursery.start(engine.run)
        yield node
        nursery.cancel_scope.cancel()


def stuck(state: State = State.MANUAL, **changes: Any) -> Execution:
    """One that needs a hand since an hour."""
    made = an_execution(
        state, needs_manual_intervention=True, state_since_ms=NOW_MS - 3_600_000, slot_touched=True
    )
    return replace(made, **changes)


async def test_an_empty_queue_says_so(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node, person(node, "viewer") as client:
        page = (await client.get(URL)).text
        assert "No device needs a hand." in page
        assert 'class="count"' not in page


async def test_a_device_in_need_stands_with_its_next_step(tmp_path: Path) -> None:
    held = stuck(manual_reason="It runs a third version.", error="third_version", rollback_attempt_count=2)
    async with a_node(tmp_path, held) as node, person(node, "operator") as client:
        page = (await client.get(URL)).text
        for text in ("It runs a third version.", "1 of 3 to install, 2 of 3 to go back", "Spring &lt;x&gt;",
                     "it never said what it runs", "It has not said since then what it runs"):  # fmt: skip
            assert text in page
        assert 'value="mark_recovered"' not in page
        assert '<span class="count">1<' in page
        assert "It runs a third version." in (await client.get(f"{URL}?rollout=r1")).text
        assert "No device needs a hand." in (await client.get(f"{URL}?rollout=r2")).text
        assert "1 device needs a hand after an update." in (await client.get("/")).text
        async with person(node, "viewer") as viewer:
            assert 'value="retry"' not in (await viewer.get(URL)).text
            assert (await viewer.post(f"{URL}/e1", data={"act": "retry"})).status_code == 403
        async with person(node, "installer", frozenset({"elsewhere"})) as other:
            assert "No device needs a hand." in (await other.get(URL)).text
            assert (await other.post(f"{URL}/e1", data={"act": "retry"})).status_code == 404


async def test_it_is_marked_recovered_by_what_it_says_itself(tmp_path: Path) -> None:
    async with a_node(tmp_path, stuck(from_digest=OLD_DIGEST)) as node, person(node, "operator") as client:
        refused = await client.post(f"{URL}/e1", data={"act": "mark_recovered"})
        assert refused.status_code == 409
        assert "has not said since then" in refused.text
        said = firmware(OLD_DIGEST, at_ms=NOW_MS, device_id="pump-1", version="1.0")
        await node.catalog.write(lambda catalog: catalog.save_device_firmware(said, NOW_MS), by=ACT)
        assert (
            "It says that it runs 1.0 now: if that is right, mark it recovered."
            in (await client.get(URL)).text
        )
        done = await client.post(f"{URL}/e1", data={"act": "mark_recovered"})
        assert done.headers["location"] == f"{URL}?done=mark_recovered"
        after = (await client.get(done.headers["location"])).text
        assert "Marked recovered." in after
        assert "No device needs a hand." in after
        assert await audit_of(node, "execution.mark_recovered")


async def test_to_ignore_one_wants_a_reason(tmp_path: Path) -> None:
    async with a_node(tmp_path, stuck()) as node, person(node, "operator") as client:
        assert (await client.post(f"{URL}/e1", data={"act": "ignore"})).status_code == 400
        assert (await client.post(f"{URL}/e1", data={"act": "explode"})).status_code == 400
        assert (await client.post(f"{URL}/nope", data={"act": "retry"})).status_code == 404
        await client.post(f"{URL}/e1", data={"act": "ignore", "reason": "It burnt down."})
        (event,) = await node.catalog.read(lambda catalog: catalog.execution_events("e1"))
        assert event.detail["reason"] == "It burnt down."
        assert (await node.catalog.read(lambda catalog: catalog.get_execution("e1"))).state is State.CANCELED


async def test_while_updates_start_nothing_can_be_done(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        away = await client.post(f"{URL}/e1", data={"act": "retry"})
        assert away.status_code == 503
        assert "Updates are starting." in away.text


def test_every_state_has_its_acts() -> None:
    said = DeviceFirmware(report=firmware(OLD_DIGEST, at_ms=NOW_MS), booted_at_ms=None)

    def acts(state: State) -> list[str]:
        return [a.key for a in item_of(stuck(state), said, rollout_name="r", may_act=True).acts]

    assert acts(State.MANUAL) == ["mark_recovered", "retry", "retry_rollback", "replace_device", "ignore"]
    assert acts(State.LOST) == ["mark_recovered", "replace_device", "ignore"]
    assert acts(State.ROLLBACK_FAILED) == ["mark_recovered", "retry_rollback", "replace_device", "ignore"]
    assert acts(State.REGRESSED) == ["retry", "accept", "replace_device", "ignore"]
    assert item_of(stuck(), said, rollout_name="r", may_act=False).acts == ()


def test_what_runs_in_place_of_what_should_is_told_apart() -> None:
    other = Drift(
        device_id="d", execution_id="e", should_version="2.0", should_digest=NEW_DIGEST, version="1.0",
        digest=OLD_DIGEST, reported_at_ms=1,
    )  # fmt: skip
    assert (drift_view(other).should_run, drift_view(other).reports) == ("2.0", "1.0")
    same = drift_view(replace(other, version="2.0"))
    assert (same.should_run, same.reports) == (f"2.0 ({NEW_DIGEST[:12]}…)", f"2.0 ({OLD_DIGEST[:12]}…)")
