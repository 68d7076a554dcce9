"""What of artifacts a device's executions name."""

from __future__ import annotations

from pathlib import Path

from storage.catalog.deliveries import OpenExecution, artifact_title, open_executions, updates_of
from tests.ca_kit import site
from tests.delivery_kit import IMAGE, OLD_SHA256, SHA256, add_execution, scene, set_execution


async def test_those_that_have_not_ended(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await scene(here.catalog, here.clock, bandwidth_bytes_s=5000)
        await add_execution(here.catalog, "pump")
        await add_execution(here.catalog, "fan", ended_at_ms=5)
        assert await here.catalog.read(lambda catalog: open_executions(catalog, "fan")) == []
        assert await here.catalog.read(lambda catalog: open_executions(catalog, "pump")) == [
            OpenExecution(
                execution_id="e-pump",
                rollout_id="r1",
                state="downloading",
                is_admitted=True,
                target_sha256=SHA256,
                origin_sha256=OLD_SHA256,
                bandwidth_bytes_s=5000,
            )
        ]


async def test_what_bytes_are_called(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await scene(here.catalog, here.clock)
        title = await here.catalog.read(lambda catalog: artifact_title(catalog, SHA256))
        assert title == ("pump 2.0.0", "pump 2.0.0.bin")
        assert await here.catalog.read(lambda catalog: artifact_title(catalog, "0" * 64)) is None


async def test_a_devices_updates_with_what_it_is_to_install(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await scene(here.catalog, here.clock)
        for number, ended_at_ms in ((1, 5), (2, 7), (3, None)):
            await add_execution(
                here.catalog, "pump", execution_id=f"e{number}", ended_at_ms=ended_at_ms, number=number
            )
        await set_execution(here.catalog, "e3", from_digest="", started_at_ms=3, rollback_attempt_count=2)
        found = await here.catalog.read(lambda catalog: updates_of(catalog, "pump", 2))
        assert found[0].execution_id == "e3"
        assert len(found) == 2
        (first, second) = found
        assert (first.began, first.ended_at_ms, first.origin, first.rollback_attempt_count) == (
            True,
            None,
            None,
            2,
        )
        assert first.target is not None
        assert (first.target.version, first.target.sha256, first.target.size_bytes) == (
            "2.0.0",
            SHA256,
            len(IMAGE),
        )
        assert second.origin is not None
        assert (second.began, second.rollout_id, second.origin.version) == (False, "r1", "1.0.0")
