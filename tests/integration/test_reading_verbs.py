"""`homeport mapping` against the whole appliance: both processes, real sockets, a device that sends what nobody expected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.test_broker_verbs import Appliance, until
from tests.protocol.raw_client import RawClient


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance"))
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


def publish(appliance: Appliance, device: str, *payloads: bytes, topic: str = "telemetry/raw") -> None:
    """As a device that was registered for it."""
    token = appliance.answer("device", "add", device)["token"]
    with RawClient(("127.0.0.1", appliance.port)) as client:
        client.connect_in_time(device, username=device, password=token.encode())
        for number, payload in enumerate(payloads, start=1):
            client.publish(f"dm/{device}/{topic}", payload, number)


def test_mappings_are_listed_tried_added_changed_and_removed(appliance: Appliance) -> None:
    publish(appliance, "plug-1", b'{"P": 1500}')
    field = ("--field", "P = power_kw * 0.001")

    def tried() -> int:
        return int(appliance.answer("mapping", "try", "dm/{device}/telemetry/raw", *field)["fit_count"])

    until(tried)
    text = appliance.run("mapping", "try", "dm/{device}/telemetry/raw", *field, "--only-fields").output
    assert "plug-1 power_kw = 1.5" in text
    assert "1 of 1 messages would become readings" in text
    made = appliance.answer("mapping", "add", "dm/{device}/telemetry/raw", *field, "--note", "plugs")
    assert "power_kw" in str(made["fields"])
    mapping_id = made["mapping_id"]
    assert mapping_id in appliance.run("mapping", "list").output
    behind = appliance.answer("mapping", "try", "dm/{device}/telemetry/+")["messages"][0]
    assert behind["taken_by"] == "dm/{device}/telemetry/raw"
    edited = appliance.answer(
        "mapping", "edit", mapping_id, "--all-fields", "--metric", "m", "--topic", "dm/{device}/telemetry/raw"
    )
    assert (edited["metric"], edited["note"]) == ("m", "plugs")
    nothing = appliance.run("mapping", "edit", mapping_id)
    assert (nothing.exit_code, "Say what is to change" in nothing.output) == (2, True)
    assert appliance.run("mapping", "remove", mapping_id).exit_code == 0
    assert appliance.answer("mapping", "list")["mappings"] == []


def test_dead_letters_are_listed_and_read_again(appliance: Appliance) -> None:
    publish(appliance, "silo-1", b"17.5", topic="telemetry")
    listed = until(lambda: appliance.answer("dead-letter", "list")["groups"])
    assert (listed[0]["pattern"], listed[0]["reason"], listed[0]["count"]) == (
        "dm/{device}/telemetry",
        "no_metric",
        1,
    )
    assert "no_metric" in appliance.run("dead-letter", "list", "--each").output
    unsaid = appliance.run("dead-letter", "replay")
    assert (unsaid.exit_code, "Say which dead letters" in unsaid.output) == (2, True)
    tried = appliance.answer("mapping", "try", "dm/{device}/telemetry", "--metric", "level", "--dead-letters")
    assert tried["fit_count"] == 1
    appliance.answer("mapping", "add", "dm/{device}/telemetry", "--metric", "level")
    done = appliance.run("dead-letter", "replay", "--topic", "dm/{device}/telemetry")
    assert "1 dead letters were read again: 1 became 1 readings, 0 stay." in done.output
    newest = appliance.answer("query", "SELECT metric, value FROM newest WHERE device = 'silo-1'")
    assert newest["rows"] == [["level", 17.5]]
    assert appliance.answer("dead-letter", "list")["groups"] == []
