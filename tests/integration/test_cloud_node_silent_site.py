"""A site goes silent: its cloud node raises an alarm, tells people, and ends it when the site is back. Real processes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.management.node_watches import RULE_PREFIX
from tests.fleet_boxes import FleetBox
from tests.integration.test_box_restored_from_peer import kill
from tests.integration.test_broker_verbs import until
from tests.integration.test_cloud_node import LINKED, engine_of, joined, site_of
from tests.seaweed_kit import seaweedfs
from tests.webhook_receiver import WebhookReceiver

LIMIT_S = 20
"""Instead of 300 s: longer than a box may be silent and still be heard."""


def alarms(cloud: FleetBox) -> list[Any]:
    found = cloud.answer("alarm", "list")["alarms"]
    return [(each["severity"], each["series"]) for each in found if each["state"] != "normal"]


def active(cloud: FleetBox) -> list[Any]:
    found = cloud.answer("alarm", "list")["alarms"]
    return [each["series"] for each in found if each["state"].startswith("active")]


@pytest.mark.long
def test_a_site_that_goes_silent_is_told_and_is_over_when_it_is_back(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with ExitStack() as held:
        server = held.enter_context(seaweedfs(store))
        receiver = held.enter_context(WebhookReceiver())
        cloud = FleetBox(tmp_path, "cloud-1", role="cloud", more=engine_of(tmp_path, server))
        boxes = [FleetBox(tmp_path, name, more=LINKED) for name in ("mill", "quarry")]
        cloud.start_and_wait()
        held.callback(cloud.stop)
        target = cloud.answer("notify", "target", "add-webhook", "Hook", receiver.url)["target_id"]
        cloud.answer("notify", "list", "add", "Site", "--target", target)
        lower = tmp_path / "lower.json"
        rule = cloud.answer("rule", "show", RULE_PREFIX + "site_rpo_long")
        lower.write_text(json.dumps({"condition": {**rule["definition"]["condition"], "limit": LIMIT_S}}))
        cloud.answer("rule", "edit", RULE_PREFIX + "site_rpo_long", "--definition", str(lower))
        for box in boxes:
            joined(cloud, box)
            held.callback(box.stop)
        mill, quarry = boxes
        for box in boxes:
            until(lambda: box.links()["cloud-1"] == "up")  # noqa: B023 - called before the next one
        assert alarms(cloud) == []

        kill(quarry)
        series = f"site_rpo_long quarry/{quarry.node_id[:8]}"
        until(lambda: alarms(cloud) == [("P1", series)])
        until(lambda: any(b"quarry/" in each.body for each in receiver.requests))
        assert not any(b"mill/" in each.body for each in receiver.requests)
        assert site_of(cloud, quarry)["at_risk_ms"] > LIMIT_S * 1_000

        quarry.start_and_wait()
        until(lambda: active(cloud) == [])
        assert mill.links()["cloud-1"] == "up"
