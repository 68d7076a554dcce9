"""Twins and commands against the whole appliance: both processes, real sockets, paho as the device, the command line as the person.

With MQTT 3.1.1 and 5; and the node killed where it hurts: with updates under way, and with a command that was marked and not said.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.integration.test_broker_verbs import Appliance, until
from tests.processes import child_running

DEADLINE_S = 60.0
V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


class Device:
    """A device's connection: what arrives waits by topic."""

    def __init__(self, port: int, device_id: str, token: str, protocol: MQTTProtocolVersion = V311) -> None:
        self._arrived: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._subscribed = threading.Semaphore(0)
        self.id = device_id
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=device_id, protocol=protocol)
        self.client.username_pw_set(device_id, token)
        self.client.on_message = self._take
        self.client.on_subscribe = lambda *_: self._subscribed.release()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        until(self.client.is_connected)

    def _take(self, client: Client, data: object, message: MQTTMessage) -> None:
        self._arrived.put((message.topic, json.loads(message.payload)))

    def subscribe(self, *filters: str) -> None:
        for each in filters:
            self.client.subscribe(each, qos=1)
            assert self._subscribed.acquire(timeout=DEADLINE_S)

    def say(self, topic: str, said: Any) -> None:
        info = self.client.publish(topic, json.dumps(said), qos=1)
        info.wait_for_publish(DEADLINE_S)

    def ask(self, topic: str, said: Any) -> tuple[str, Any]:
        """Ask, and return the answer: its last level and the payload."""
        self.say(topic, said)
        while True:
            answer_topic, payload = self.next()
            if answer_topic in (f"{topic}/accepted", f"{topic}/rejected"):
                return answer_topic.removeprefix(f"{topic}/"), payload

    def next(self) -> tuple[str, Any]:
        return self._arrived.get(timeout=DEADLINE_S)

    def expect(self, topic: str) -> Any:
        """The payload of the next message on a topic; what comes on others before is left out."""
        while True:
            arrived, payload = self.next()
            if arrived == topic:
                return payload

    def expect_no_command(self) -> None:
        """No command comes before the answer to something that is asked now; a delta may come twice."""
        self.client.publish(f"dm/{self.id}/shadow/name/fence/get", "{}", qos=1)
        while (topic := self.next()[0]) != f"dm/{self.id}/shadow/name/fence/get/rejected":
            assert "/cmd/" not in topic, topic

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    running = Appliance(tmp_path)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


def added(appliance: Appliance, device_id: str) -> str:
    return str(appliance.answer("device", "add", device_id)["token"])


def node_pid(appliance: Appliance) -> int | None:
    """The node process, None while there is none."""
    return child_running(appliance.process.pid, "node_process")


def kill_node(appliance: Appliance) -> None:
    pid = node_pid(appliance)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: node_pid(appliance) not in (pid, None))


@pytest.mark.parametrize("protocol", [V311, V5])
def test_a_device_and_people_meet_in_its_twin(appliance: Appliance, protocol: MQTTProtocolVersion) -> None:
    device = Device(appliance.port, "pump", added(appliance, "pump"), protocol)
    shadow = "dm/pump/shadow"
    # Answers come without a subscription; the delta needs one.
    assert device.ask(f"{shadow}/get", {"clientToken": "a"})[1]["code"] == 404
    how, said = device.ask(f"{shadow}/update", {"state": {"reported": {"rate_s": 10, "m": {"x": 1}}}})
    assert (how, said["version"]) == ("accepted", 1)
    appliance.answer("twin", "set", "pump", '{"rate_s": 5}')
    device.subscribe(f"{shadow}/update/delta", f"{shadow}/update/documents")
    delta = device.expect(f"{shadow}/update/delta")
    assert (delta["state"], delta["version"]) == ({"rate_s": 5}, 2)
    how, said = device.ask(f"{shadow}/update", {"state": {"reported": {"m": None}}, "version": 1})
    assert (how, said["code"], said["version"], said["state"]["desired"]) == (
        "rejected",
        409,
        2,
        {"rate_s": 5},
    )
    device.say(f"{shadow}/update", {"state": {"reported": {"rate_s": 5, "m": None}}, "version": 2})
    documents = device.expect(f"{shadow}/update/documents")
    assert documents["current"]["state"] == {"desired": {"rate_s": 5}, "reported": {"rate_s": 5}}
    shown = appliance.answer("twin", "show", "pump")
    assert (shown["version"], shown["delta"], shown["reported"]) == (3, {}, {"rate_s": 5})
    assert "differs: nothing" in appliance.run("twin", "show", "pump", "--all").stdout
    # The alias is the same twin.
    how, said = device.ask("$aws/things/pump/shadow/get", {})
    assert (how, said["version"]) == ("accepted", 3)
    how, said = device.ask(f"{shadow}/name/config/update", {"state": {"desired": {"a": 1}}})
    assert (how, said["version"]) == ("accepted", 1)
    assert appliance.answer("twin", "delete", "pump", "--yes")["version"] == 4
    assert appliance.run("twin", "show", "pump").exit_code == 3
    device.close()


@pytest.mark.parametrize("protocol", [V311, V5])
def test_a_command_is_said_once_and_answered(appliance: Appliance, protocol: MQTTProtocolVersion) -> None:
    device = Device(appliance.port, "pump", added(appliance, "pump"), protocol)
    refused = appliance.run("command", "send", "pump", "reboot", "--when-away", "refuse")
    assert (refused.exit_code, "not listening" in refused.stderr) == (4, True)
    waiting = appliance.answer("command", "send", "pump", "blink", '{"times": 3}', "--no-wait")
    assert waiting["state"] == "queued"
    taken_back = appliance.answer("command", "send", "pump", "never", "--no-wait")
    assert appliance.answer("command", "cancel", "pump", taken_back["command_id"])["state"] == "canceled"
    device.subscribe("dm/pump/cmd/+")
    topic = f"dm/pump/cmd/{waiting['command_id']}"
    assert device.expect(topic) == {
        "m": "blink",
        "p": {"times": 3},
        "exp": waiting["expires_at_ms"],
        "fence": 0,
    }
    assert device.ask(f"{topic}/resp", {"ok": True, "r": "done"}) == (
        "accepted",
        {"state": "succeeded", "late": False},
    )
    ended: list[Any] = []
    sender = threading.Thread(
        target=lambda: ended.append(appliance.answer("command", "send", "pump", "stop"))
    )
    sender.start()
    told, command = device.next()
    assert command["m"] == "stop"
    device.say(f"{told}/resp", {"ok": False, "e": "valve stuck"})
    sender.join(DEADLINE_S)
    assert (ended[0]["state"], ended[0]["error"]) == ("failed", "valve stuck")
    listed = appliance.run("command", "list", "pump").stdout
    assert "valve stuck" in listed
    assert [each["state"] for each in appliance.answer("command", "list", "pump")["commands"]] == [
        "failed",
        "canceled",
        "succeeded",
    ]
    device.close()


def test_many_are_told_when_their_number_is_confirmed(appliance: Appliance) -> None:
    devices = []
    for number in range(3):
        token = appliance.answer("device", "add", f"d{number}", "--tag", "hall")["token"]
        devices.append(Device(appliance.port, f"d{number}", token))
    for device in devices:
        device.subscribe(f"dm/{device.id}/cmd/+", f"dm/{device.id}/shadow/name/config/update/delta")
    assert appliance.run("command", "send-many", "blink", "--tag", "hall").exit_code == 2, "nobody confirms"
    done = appliance.answer("command", "send-many", "blink", "--tag", "hall", "--yes")
    assert done["done_count"] == 3
    of = {each["device_id"]: each["command_id"] for each in done["items"]}
    for device in devices:
        assert device.expect(f"dm/{device.id}/cmd/{of[device.id]}")["m"] == "blink"
    appliance.answer("twin", "set-many", '{"rate_s": 9}', "--name", "config", "--tag", "hall", "--yes")
    for device in devices:
        delta = device.expect(f"dm/{device.id}/shadow/name/config/update/delta")
        assert delta["state"] == {"rate_s": 9}
        device.close()
    assert appliance.run("twin", "set-many", "{}", "--yes").exit_code == 2, "everything must be meant"


def test_a_killed_node_loses_nothing_that_it_answered_and_says_no_command_twice(appliance: Appliance) -> None:
    device = Device(appliance.port, "pump", added(appliance, "pump"), V5)
    shadow = "dm/pump/shadow"
    device.subscribe("dm/pump/cmd/+", f"{shadow}/update/delta")
    said = appliance.answer("command", "send", "pump", "first", "--no-wait", "--expires", "600")
    device.expect(f"dm/pump/cmd/{said['command_id']}")
    assert device.ask(f"{shadow}/update", {"state": {"reported": {"n": 1}}})[0] == "accepted"
    marked = appliance.answer("command", "send", "pump", "second", "--no-wait", "--expires", "600")
    device.expect(f"dm/pump/cmd/{marked['command_id']}")
    kill_node(appliance)
    until(lambda: appliance.run("status").exit_code == 0)
    assert until(lambda: _answers(appliance, device, shadow))["reported"] == {"n": 1}
    appliance.answer("twin", "set", "pump", '{"n": 2}')
    assert device.expect(f"{shadow}/update/delta")["state"] == {"n": 2}
    device.expect_no_command()
    states = {
        each["method"]: each["state"] for each in appliance.answer("command", "list", "pump")["commands"]
    }
    assert states == {"first": "sent", "second": "sent"}
    # The answer to what was said before the kill still counts.
    topic = f"dm/pump/cmd/{said['command_id']}/resp"
    assert device.ask(topic, {"ok": True})[1] == {"state": "succeeded", "late": False}
    device.close()


def test_a_command_that_was_marked_and_never_said_is_unanswered(appliance: Appliance) -> None:
    """The node dies between marking and saying: made by marking it in the catalog while the node is dead."""
    token = added(appliance, "pump")
    made = appliance.answer("command", "send", "pump", "reboot", "--no-wait", "--expires", "5")
    appliance.stop()
    with sqlite3.connect(appliance.config.parent / "data" / "catalog.db") as catalog:
        catalog.execute("UPDATE change_clock SET capture = 0")
        catalog.execute("UPDATE commands SET state = 'sent', sent_at_ms = created_at_ms")
        catalog.execute("UPDATE change_clock SET capture = 1")
    catalog.close()
    appliance.start()
    appliance.wait_until_ready()
    device = Device(appliance.port, "pump", token)
    device.subscribe("dm/pump/cmd/+")
    device.expect_no_command()

    def ended() -> Any:
        found = appliance.answer("command", "show", "pump", made["command_id"])
        return found if found["state"] != "sent" else None

    assert until(ended)["state"] == "unanswered"
    assert device.ask(f"dm/pump/cmd/{made['command_id']}/resp", {"ok": True}) == (
        "accepted",
        {"state": "unanswered", "late": True},
    )
    assert "late" in appliance.run("command", "show", "pump", made["command_id"]).stdout
    device.close()


def _answers(appliance: Appliance, device: Device, shadow: str) -> Any:
    """The twin's state as the device is told it, None while nobody answers."""
    time.sleep(0.2)
    how, said = device.ask(f"{shadow}/get", {})
    return said["state"] if how == "accepted" else None
