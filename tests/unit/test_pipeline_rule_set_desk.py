"""A change of rules holds from the head on, and nothing is read beyond it meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded
from appliance.management.audit import Act
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Threshold
from appliance.pipeline import rule_set_desk as module
from appliance.pipeline.rule_set_desk import RuleSetDesk
from storage.catalog import AsyncCatalog

pytestmark = pytest.mark.trio
DEFINITION = RuleDefinition(
    severity="P2", scope=RuleScope(all=True), metric="t", condition=Threshold(is_="above", limit=5.0)
)
BY = Act(action="rule.create")


async def test_a_change_holds_reading_up_and_is_known_when_it_ends(tmp_path: Path) -> None:
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16)
    ) as catalog:
        desk = await RuleSetDesk.opened(catalog, lambda: (1, 40))
        told: list[int] = []
        desk.when_changed(lambda: told.append(desk.sets.newest_number))
        async with desk.changing() as position:
            assert position == (1, 40)
            with desk.sets.reading(1, 30) as (rules, until_seq):
                assert (rules.rules, until_seq) == ((), 40)
            await catalog.write(
                lambda writer: writer.add_rule("r", DEFINITION, is_enabled=True, position=position, by=""),
                by=BY,
            )
        assert told == [1]
        with desk.sets.reading(1, 40) as (rules, until_seq):
            assert [rule.name for rule in rules.rules] == ["r"]
            assert until_seq is None
        again = await RuleSetDesk.opened(catalog, lambda: (1, 50))
        assert again.sets.newest_number == 1


async def test_a_change_that_fails_lets_go(tmp_path: Path) -> None:
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16)
    ) as catalog:
        desk = await RuleSetDesk.opened(catalog, lambda: (1, 40))
        with pytest.raises(RuntimeError):
            async with desk.changing():
                raise RuntimeError
        with desk.sets.reading(1, 40) as (rules, until_seq):
            assert (rules.rules, until_seq) == ((), None)


async def test_not_too_many_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_OUT_WAITING_COUNT_MAX", 0)
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16)
    ) as catalog:
        desk = await RuleSetDesk.opened(catalog, lambda: (1, 40))
        with pytest.raises(LimitExceeded, match="wait"):
            async with desk.changing():
                pass
