"""Rollouts one after the other over the same devices: what a later one leaves of an earlier one's way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import Conflict
from appliance.management.waves import Wave
from appliance.updates import rollout_acts as acts
from tests.execution_kit import NEW_DIGEST
from tests.integration.test_rollout_scenarios import ANNA, BY, MINUTE_MS, QUICK, R, S, Site, a_site
from tests.rollout_kit import add_artifact


async def next_rollout(site: Site) -> None:
    """r1 is complete, and r2 brings the device another image: as far as its download."""
    await site.start(replace(QUICK, waves=(Wave(100, True),)))
    await site.succeeds("d000")
    await site.bench.after(MINUTE_MS)
    assert (await site.rollout()).state is R.COMPLETED
    await site.bench.catalog.write(
        lambda catalog: add_artifact(catalog, "a2", sha256="2" * 64, version="3.0"), by=BY
    )
    await site.start(replace(QUICK, waves=(Wave(100, True),)), "r2", artifact_id="a2")
    await site.goes("d000", "downloading", "r2")
    assert (await site.states("r2"))["d000"] is S.DOWNLOADING


async def test_a_later_rollout_that_was_stopped_before_it_wrote_anything_keeps_nobody_from_going_back(
    tmp_path: Path,
) -> None:
    async with a_site(tmp_path, 1) as site:
        await next_rollout(site)
        await site.act(
            lambda catalog: acts.abort(
                catalog, "r2", ANNA, "", confirm_count=1, now_ms=site.bench.clock.now_ms()
            )
        )
        assert (await site.states("r2"))["d000"] is S.CANCELED
        await site.act(
            lambda catalog: acts.roll_back(catalog, "r1", ANNA, wave=0, reason="", confirm_count=1)
        )
        assert (await site.states())["d000"] is S.ROLLBACK_PENDING


async def test_a_rollout_of_which_nobody_can_go_back_does_not_say_that_it_did(tmp_path: Path) -> None:
    async with a_site(tmp_path, 1) as site:
        await next_rollout(site)
        await site.goes("d000", "rebooting", "r2")
        await site.bench.runs(NEW_DIGEST, "d000", boot_id="fell back", is_confirmed=True)
        await site.bench.after(5 * MINUTE_MS)
        assert (await site.states("r2"))["d000"] is S.ROLLED_BACK
        with pytest.raises(Conflict) as error:
            await site.act(
                lambda catalog: acts.roll_back(catalog, "r1", ANNA, wave=0, reason="", confirm_count=0)
            )
        assert error.value.code == "rollback_none"
        assert (await site.rollout()).state is R.COMPLETED
