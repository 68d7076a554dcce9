"""Joins in the audit."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.identity import fleet_acts
from appliance.identity.fleet_acts import FleetAct, acts_left, leave_act
from appliance.run.fleet_audit import FleetAudit
from storage.catalog import AsyncCatalog

NODE = "c" * 32


async def test_what_was_left_is_in_the_audit_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=ManualClock(1_000), node_id=bytes(16)
    ) as catalog:
        audit = FleetAudit(catalog, fleet)
        await audit.look()
        leave_act(fleet, FleetAct(node_id=NODE, detail="let in by the invitation 1"))
        (fleet / fleet_acts.ACTS / "0.json").write_text("half a fi")
        calls, seen = 0, trio.Event()

        def failing(folder: Path) -> object:
            nonlocal calls
            calls += 1
            if calls == 3:
                trio.from_thread.run_sync(seen.set)
            if calls == 1:
                raise StorageError("The disk does not answer.", hint="")
            return acts_left(folder)

        monkeypatch.setattr("appliance.run.fleet_audit.acts_left", failing)
        monkeypatch.setattr("appliance.run.fleet_audit.LOOK_INTERVAL_S", 0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(audit.run)
            with trio.fail_after(30):
                await seen.wait()
            nursery.cancel_scope.cancel()
        page = await catalog.read(lambda reader: reader.list_audit(limit=50))
        assert [(each.action, each.object_kind, each.object_id, each.detail) for each in page.entries] == [
            ("peer.join", "node", NODE, "let in by the invitation 1")
        ]
