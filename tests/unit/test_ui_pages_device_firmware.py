"""Firmware on a device's page: what it says, its updates with their moves, what is not offered again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from appliance.management.execution import Move
from appliance.management.executions import Event, Source, State
from appliance.management.rollout_plan import Plan, Policy, Targets
from storage.catalog import Catalog
from storage.catalog.device_firmware import DeviceFirmware
from tests.acts import ACT
from tests.execution_kit import NEW_DIGEST, NOW_MS, OLD_DIGEST, an_execution, firmware
from tests.node_kit import running_node
from tests.people_kit import person
from tests.rollout_kit import node_with_updates
from tests.updates_kit import put_rollout
from ui.pages.device_firmware import runs_view


def test_what_a_device_does_not_say_is_not_made_up() -> None:
    said = runs_view(DeviceFirmware(report=firmware(OLD_DIGEST, is_confirmed=None), booted_at_ms=None))
    assert said.confirmed == ""
    assert said.digest_short == "0" * 12
    for is_confirmed, words in ((True, "confirmed"), (False, "on trial, not confirmed yet")):
        report = replace(firmware(OLD_DIGEST), is_confirmed=is_confirmed, source="hawkbit")
        view = runs_view(DeviceFirmware(report=report, booted_at_ms=None))
        assert (view.confirmed, view.source) == (words, "the update protocol of hawkBit")


async def test_the_page_has_what_runs_the_update_and_those_before(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer") as client:
        await node.catalog.write(lambda catalog: catalog.add_device("pump-1"), by=ACT)
        bare = (await client.get("/devices/pump-1")).text
        assert "It has never said what it runs." in bare
        assert "Updates before" not in bare

        def write(catalog: Catalog) -> None:
            put_rollout(
                catalog,
                name="Spring",
                targets=json.dumps(Targets(all=True).to_json()),
                plan=json.dumps(Plan().to_json()),
                policy=Policy().to_json(),
            )
            ended = an_execution(
                State.ROLLED_BACK, execution_id="e0", rollout_id="r0", error="self_test", ended_at_ms=NOW_MS,
                error_text="<b>pump</b> stuck", created_at_ms=1,
            )  # fmt: skip
            catalog.insert_execution(ended)
            catalog.insert_execution(
                an_execution(
                    State.DOWNLOADING, bytes_done=512, bytes_total=2048, needs_manual_intervention=True
                )
            )
            moves = [
                Move(
                    at_ms=NOW_MS,
                    source=source,
                    event=event,
                    from_state=a,
                    to_state=b,
                    attempt=1,
                    detail=detail,
                )
                for source, event, a, b, detail in (
                    (Source.REPORT, Event.TAKEN, State.QUEUED, State.NOTIFIED, {}),
                    (
                        Source.OPERATOR,
                        Event.RETRY,
                        State.NOTIFIED,
                        State.DOWNLOADING,
                        {"reason": "Once <more>."},
                    ),
                )
            ]
            catalog.add_execution_moves("e1", moves)
            said = replace(
                firmware(OLD_DIGEST, device_id="pump-1"), version="1.0", slot="A", epoch=3, hw="rev2"
            )
            catalog.save_device_firmware(said, NOW_MS)
            catalog.add_known_bad(
                "pump-1", NEW_DIGEST, execution_id="e0", reason="It fell back.", now_ms=NOW_MS
            )
            catalog.add_known_bad("pump-1", "22" * 32, execution_id="e0", reason="boot_failed", now_ms=NOW_MS)

        await node.catalog.write(write, by=ACT)
        page = (await client.get("/devices/pump-1")).text
        for text in (
            "000000000000…", "rev2", "Update to 2.0", "It has 512 B of 2.0 KiB.", "took the job", "said by the device",
            "tried again by hand", "Once &lt;more&gt;.", "Updates before", "Its own self-test failed with the new version.",
            "&lt;b&gt;pump&lt;/b&gt; stuck", "Not offered to it again", "It fell back.", "111111111111…",
            "the new one did not start", "In the work queue",
            "/firmware/rollouts/r1",
        ):  # fmt: skip
            assert text in page, text


async def test_an_image_that_is_known_bad_is_let_be_offered_again(tmp_path: Path) -> None:
    async with (
        node_with_updates(tmp_path, with_pages=True) as node,
        person(node, "operator") as client,
        person(node, "viewer") as viewer,
    ):

        def write(catalog: Catalog) -> None:
            catalog.add_device("pump-1")
            with catalog.transaction():
                catalog.add_known_bad(
                    "pump-1", NEW_DIGEST, execution_id="e0", reason="It fell back.", now_ms=NOW_MS
                )

        await node.catalog.write(write, by=ACT)
        url = "/devices/pump-1"
        assert f'action="{url}/forgive"' in (await client.get(url)).text
        assert "forgive" not in (await viewer.get(url)).text
        mark = {"known_bad_id": f"pump-1/{NEW_DIGEST}"}
        without = await client.post(f"{url}/forgive", data={**mark, "reason": " "})
        assert (without.status_code, "Say in 1 to" in without.text) == (400, True)
        done = await client.post(f"{url}/forgive", data={**mark, "reason": "The sensor was broken."})
        assert (done.status_code, done.headers["location"]) == (303, f"{url}?done=forgiven#firmware")
        page = (await client.get(f"{url}?done=forgiven")).text
        assert "may be offered again" in page
        assert "Not offered to it again" not in page
