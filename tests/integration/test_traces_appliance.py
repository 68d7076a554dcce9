"""One trace from a device to whoever is told of its alarm: the whole appliance, paho as the device, a real receiver of webhooks and of OTLP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.integration.test_broker_verbs import DEADLINE_S, Appliance, until
from tests.otlp_receiver import BUSY, TAKEN, OtlpReceiver, attributes_of
from tests.webhook_receiver import OK, WebhookReceiver

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
DEVICE_SPAN = "b7ad6b7169203331"
STATE = "vendor=t61rcWkgMzE"


def traced(flags: str = "01", trace_id: str = TRACE_ID) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [
        ("traceparent", f"00-{trace_id}-{DEVICE_SPAN}-{flags}"),
        ("tracestate", STATE),
    ]
    return properties


@contextmanager
def device(
    appliance: Appliance, name: str, *, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
) -> Iterator[paho.Client]:
    token = appliance.answer("device", "add", name)["token"]
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version)
    client.username_pw_set(name, token)
    connected = threading.Event()
    client.on_connect = lambda *_arguments: connected.set()
    client.connect("127.0.0.1", appliance.port)
    client.loop_start()
    try:
        assert connected.wait(DEADLINE_S)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Appliance, OtlpReceiver, WebhookReceiver]]:
    headers = tmp_path / "headers"
    headers.write_text("# of the collector\nAuthorization: Bearer s3cret\n")
    headers.chmod(0o600)
    # At first the collector is busy: nothing is lost by that.
    with OtlpReceiver(answers=[BUSY, TAKEN]) as collector, WebhookReceiver(answers=[OK]) as hook:
        more = f'[tracing]\nsample_ratio = 0.0\notlp_endpoint = "{collector.url}"\notlp_headers_file = "{headers}"\n'
        running = Appliance(tmp_path, more=more)
        try:
            running.wait_until_ready()
            yield running, collector, hook
        finally:
            running.stop()
    assert running.process.returncode == 0


def parents(spans: list[dict[str, Any]]) -> dict[str, str]:
    """Name of each span → name of its parent; what is not among them is "device"."""
    names = {span["spanId"]: span["name"] for span in spans}
    names[DEVICE_SPAN] = "device"
    return {span["name"]: names[span["parentSpanId"]] for span in spans}


def test_from_the_device_to_whoever_is_told(site: tuple[Appliance, OtlpReceiver, WebhookReceiver]) -> None:
    appliance, collector, hook = site
    target = appliance.answer("notify", "target", "add-webhook", "Hook", hook.url)["target_id"]
    appliance.answer("notify", "list", "add", "Site", "--target", target)
    appliance.answer("rule", "add", "Hot", "--all", "--metric", "temp", "--above", "80", "--severity", "P1")
    with device(appliance, "oven-1") as oven:
        oven.publish("dm/oven-1/telemetry", json.dumps({"temp": 20.0}), qos=1).wait_for_publish(DEADLINE_S)
        oven.publish(
            "dm/oven-1/telemetry", json.dumps({"temp": 95.0}), qos=1, properties=traced()
        ).wait_for_publish(DEADLINE_S)

        until(lambda: {"notify webhook", "receive"} <= {each["name"] for each in collector.spans(TRACE_ID)})
        spans = collector.spans(TRACE_ID)
        assert parents(spans) == {
            "receive": "device",
            "append log": "receive",
            "puback": "receive",
            "wait in log": "receive",
            "process": "receive",
            "read log": "process",
            "decode": "process",
            "evaluate rules": "process",
            "commit": "process",
            "evaluate rule": "process",
            "apply alarm": "evaluate rule",
            "notify webhook": "apply alarm",
        }
        assert {span["traceState"] for span in spans if span["name"] in ("receive", "process")} == {STATE}
        assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in spans)
        by_name = {span["name"]: span for span in spans}
        received = attributes_of(by_name["receive"])
        assert received["messaging.destination.name"] == "dm/oven-1/telemetry"
        assert attributes_of(by_name["process"])["homeport.fate"] == "reading"
        assert collector.requests[-1].headers["authorization"] == "Bearer s3cret"

        told = until(lambda: [each for each in hook.requests if "traceparent" in each.headers])[0]
        assert told.headers["traceparent"] == f"00-{TRACE_ID}-{by_name['notify webhook']['spanId']}-01"
        assert json.loads(told.body)["trace_id"] == TRACE_ID
        assert appliance.answer("alarm", "list")["alarms"][0]["trace_id"] == TRACE_ID

        shown = appliance.api().get(f"/api/v1/traces/{TRACE_ID}")
        assert shown["device_ids"] == ["oven-1"]
        assert {span["name"] for span in shown["spans"]} == set(by_name)
        listed = appliance.api().get("/api/v1/devices/oven-1/traces")["traces"]
        assert [each["trace_id"] for each in listed] == [TRACE_ID]

        assert appliance.run("trace", "list", "oven-1").stdout.splitlines()[1].endswith(TRACE_ID)
        steps = appliance.run("trace", "show", TRACE_ID).stdout
        assert f"{TRACE_ID}: " in steps.splitlines()[0]
        assert "\n        notify webhook" in steps, "below alarm, rule, process and receive"


def test_the_next_reading_of_a_device_of_mqtt_3(
    site: tuple[Appliance, OtlpReceiver, WebhookReceiver],
) -> None:
    appliance, collector, _ = site
    with device(appliance, "oven-2", version=MQTTProtocolVersion.MQTTv311) as oven:
        assert appliance.answer("trace", "list", "oven-2") == {"traces": []}
        said = appliance.run("trace", "next", "oven-2").stdout
        assert "within 15 min" in said
        for value in (1.0, 2.0):
            oven.publish("dm/oven-2/telemetry", json.dumps({"temp": value}), qos=1).wait_for_publish(
                DEADLINE_S
            )
        (trace,) = until(lambda: appliance.answer("trace", "list", "oven-2")["traces"])
        until(lambda: {"receive", "commit"} <= {each["name"] for each in collector.spans(trace["trace_id"])})
        (root,) = [each for each in collector.spans(trace["trace_id"]) if "parentSpanId" not in each]
        assert root["name"] == "receive"
        assert appliance.run("trace", "show", "0" * 31 + "1").exit_code == 3
