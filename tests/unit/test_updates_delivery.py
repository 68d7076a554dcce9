"""Which bytes a device may have, for how long that is remembered, and how its progress is noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import NotAuthorized, NotFound, Unavailable
from appliance.core.limits_delivery import DELIVERY_NOTE_MS, DELIVERY_RIGHT_MS
from appliance.management.blocks import stream_id
from tests.acts import ACT
from tests.ca_kit import site
from tests.delivery_kit import (
    IMAGE,
    OLD_SHA256,
    SHA256,
    Scene,
    add_artifact,
    add_execution,
    scene,
    set_execution,
)


async def refusal(there: Scene, device_id: str, sha256: str = SHA256) -> str:
    with pytest.raises((NotAuthorized, Unavailable, NotFound)) as caught:
        await there.delivery.by_digest(device_id, sha256)
    return caught.value.code


async def test_a_device_may_have_what_its_update_names_and_nothing_else(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock, bandwidth_bytes_s=9000)
        await add_execution(here.catalog, "pump")
        right = await there.delivery.by_stream("pump", stream_id(SHA256))
        assert right == await there.delivery.by_digest("pump", SHA256)
        assert (right.execution_id, right.rollout_id, right.rollout_bytes_s) == ("e-pump", "r1", 9000)
        assert (right.title, right.filename, right.size_bytes) == ("pump 2.0.0", "pump 2.0.0.bin", len(IMAGE))
        assert await there.delivery.read(right, 5, 7) == IMAGE[5:12]
        claim = right.claim("192.0.2.1")
        assert (claim.device_id, claim.rollout_id, claim.rollout_bytes_s, claim.address) == (
            "pump", "r1", 9000, "192.0.2.1",
        )  # fmt: skip
        assert await refusal(there, "fan") == "not_for_this_device"
        assert await refusal(there, "pump", OLD_SHA256) == "not_for_this_device"
        assert await refusal(there, "pump", "0" * 64) == "not_for_this_device"
        assert there.delivery.statistics().refused == {"not_for_this_device": 3}


async def test_on_the_way_back_it_is_the_old_version(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_execution(here.catalog, "pump", state="rolling_back")
        assert (await there.delivery.by_digest("pump", OLD_SHA256)).title == "pump 1.0.0"
        assert await refusal(there, "pump") == "not_for_this_device"


async def test_nothing_after_its_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_execution(here.catalog, "pump", ended_at_ms=7)
        await add_execution(here.catalog, "fan", state="testing")
        assert await refusal(there, "pump") == await refusal(there, "fan") == "not_for_this_device"


async def test_a_pause_reaches_a_download_in_two_seconds(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_execution(here.catalog, "pump")
        await there.delivery.by_digest("pump", SHA256)
        await set_execution(here.catalog, "e-pump", state="paused", before_pause="downloading")
        here.clock.advance(DELIVERY_RIGHT_MS - 1)
        await there.delivery.by_digest("pump", SHA256)
        here.clock.advance(1)
        assert await refusal(there, "pump") == "delivery_paused"
        await set_execution(here.catalog, "e-pump", state="downloading")
        await there.delivery.by_digest("pump", SHA256)


async def test_bytes_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_execution(here.catalog, "pump")
        there.blobs.by_name.clear()
        assert await refusal(there, "pump") == "artifact_bytes_missing"


async def test_bytes_that_no_row_names_have_no_name(tmp_path: Path) -> None:
    other = b"something else"
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_artifact(here.catalog, other, "3.0.0")
        await add_execution(here.catalog, "pump")
        await here.catalog.write(lambda catalog: catalog.execute("DELETE FROM artifacts"), by=ACT)
        assert (await there.delivery.by_digest("pump", SHA256)).title == "firmware"


async def test_progress_is_noted_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_execution(here.catalog, "pump")
        right = await there.delivery.by_digest("pump", SHA256)
        for end in (1000, 2000, 3000):
            await there.delivery.sent(right, "mqtt", 1000, end)
        assert there.progress.noted == [("pump", "e-pump", 1000, len(IMAGE))]
        here.clock.advance(DELIVERY_NOTE_MS)
        await there.delivery.sent(right, "mqtt", 1000, 500)
        assert there.progress.noted[1:] == [("pump", "e-pump", 3000, len(IMAGE))]
        await there.delivery.sent(right, "https", 10, len(IMAGE))
        assert there.progress.noted[2:] == [("pump", "e-pump", len(IMAGE), len(IMAGE))]
        numbers = there.delivery.statistics()
        assert numbers.sent_bytes == {"mqtt": 4000, "https": 10}
        assert numbers.rights == 1


async def test_what_was_read_last_is_read_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.updates.delivery.DELIVERY_PIECE_BYTES_MAX", 2000)
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_execution(here.catalog, "pump")
        right = await there.delivery.by_digest("pump", SHA256)
        for offset in (0, 1000, 0, 2000, 0, 1000):
            assert await there.delivery.read(right, offset, 1000) == IMAGE[offset : offset + 1000]
        reads = there.blobs.by_name[SHA256].reads
        assert reads == [(0, 1000), (1000, 1000), (2000, 1000), (1000, 1000)]
        # One that is larger than all that is kept is read, and not kept.
        assert await there.delivery.read(right, 0, 5000) == IMAGE[:5000]
        assert there.delivery._piece_bytes == 0


async def test_few_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.updates.delivery.DELIVERY_RIGHT_COUNT_MAX", 2)
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        for name in ("a", "b", "c"):
            await add_execution(here.catalog, name)
            await there.delivery.sent(await there.delivery.by_digest(name, SHA256), "mqtt", 1, 1)
        assert there.delivery.statistics().rights == 2
        assert len(there.delivery._noted) == 2
