"""SIGKILL of the whole node while readings raise alarms: from a device's acknowledged publish to a webhook and a mail, each once by its key.

Both processes are real, the broker lives on and takes readings meanwhile. Each reading of the device is above the rule's limit and of another metric, as
long as a device may have more alarms, so each is an alarm of its own; what was acknowledged has to reach both receivers.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import HomeportError
from appliance.core.limits_alarms import ALARM_DEVICE_COUNT_MAX
from appliance.management.alarm import alarm_id_of
from appliance.management.escalation import key_of
from appliance.management.rule_transition import AlarmKey
from appliance.run.local_api import LocalApi
from broker.mqtt.packets import Publish
from tests.crash.rig import Publisher, Rig, wait_for
from tests.smtp_receiver import SmtpReceiver
from tests.webhook_receiver import WebhookReceiver

DEVICE = "press-1"
KILLS = 6
METRICS = ALARM_DEVICE_COUNT_MAX - 50
"""On a slow machine the device sends more often than that before the last start of the node is over."""
TELL_DEADLINE_S = 240.0
RULE = {
    "severity": "P1",
    "scope": {"all": True},
    "metric": "m.*",
    "condition": {"kind": "threshold", "is": "above", "limit": 80.0},
}


def metric_of(number: int) -> str:
    return f"m.{number % METRICS}"


class HotPublisher(Publisher):
    """Metrics that are too high, one after the other; about 20 a second."""

    def _message(self, packet_id: int) -> Publish:
        if self._resend:
            number = self._resend.pop(0)
        else:
            number, self._next = self._next, self._next + 1
            time.sleep(0.05)  # the load: how many readings come between two kills is the experiment
        self._unacknowledged[packet_id] = number
        payload = {"ts": int(time.time() * 1000), "v": {metric_of(number): 90.0}}
        return Publish(
            topic=f"dm/{DEVICE}/telemetry", payload=json.dumps(payload).encode(), qos=1, packet_id=packet_id
        )


@pytest.mark.long
def test_what_was_acknowledged_reaches_both_once(tmp_path: Path) -> None:
    choices = random.Random(5)
    rig = Rig(tmp_path, tmp_path / "run")
    with WebhookReceiver() as webhooks, SmtpReceiver() as mails:
        try:
            token = rig.add_device(DEVICE)
            for name in ("broker", "node"):
                rig.start(name)
            rig.wait_for_broker()
            api = LocalApi(rig.run_dir / "node.sock")
            wait_for(lambda: bool(rig.pipeline()), 60, "the node answers")
            rule_id, targets = prepare(api, webhooks.url, mails.port)
            device = HotPublisher(rig.port, DEVICE, token, 1)
            device.start()
            for _ in range(KILLS):
                time.sleep(
                    choices.uniform(0.5, 2.5)
                )  # how long the load runs before the next kill is the experiment
                rig.kill("node")
                rig.start("node")
                wait_for(lambda: bool(rig.pipeline()), 60, f"the node is back\n{rig.read_log()}")
            device.finish()
            wanted = {
                target: {
                    key_of(alarm_id_of(AlarmKey(rule_id, DEVICE, "", metric_of(number))), 1, "raised", target)
                    for number in device.acknowledged
                }
                for target in targets
            }
            assert len(device.acknowledged) > 20

            def received() -> dict[str, Counter[str]]:
                hook = Counter(request.headers["idempotency-key"] for request in list(webhooks.requests))
                mail = Counter(
                    str(each.message["Message-ID"])[1:].partition("@")[0] for each in list(mails.mails)
                )
                return dict(zip(targets, (hook, mail), strict=True))

            wait_for(
                lambda: all(keys <= set(received()[target]) for target, keys in wanted.items()),
                TELL_DEADLINE_S,
                "all are told",
            )
            for target, counts in received().items():
                raised = {key: count for key, count in counts.items() if key in wanted[target]}
                assert sum(raised.values()) - len(raised) <= KILLS
            told = {each["step"] for each in notifications(api)}
            assert "cleared" not in told
        finally:
            rig.close()


def prepare(api: LocalApi, url: str, port: int) -> tuple[str, list[str]]:
    """A rule, a target of each kind, and a list that tells both; returns their ids."""
    email = {
        "kind": "email",
        "to": "anna@example.org",
        "from": "box@example.net",
        "host": "localhost",
        "port": port,
        "security": "none",
    }
    targets = [
        str(api.post("/api/v1/notification-targets", {"name": name, "settings": settings})["target_id"])
        for name, settings in (("Hook", {"kind": "webhook", "url": url}), ("Mail", email))
    ]
    definition = {"P1": {"steps": [{}]}, "members": [{"name": "Anna", "targets": targets}]}
    api.post("/api/v1/on-call-lists", {"name": "Site", "definition": definition})
    rule: dict[str, Any] = api.post("/api/v1/rules", {"name": "Too hot", "definition": RULE})
    return str(rule["rule_id"]), targets


def notifications(api: LocalApi) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = api.get("/api/v1/notifications?limit=200")["notifications"]
    except HomeportError as error:
        raise AssertionError(f"the node does not answer: {error}") from error
    return found
