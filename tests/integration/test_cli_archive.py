"""`homeport archive`, `retention` and `device erase` against the whole appliance: real readings, real files, both processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_broker_verbs import Appliance, until
from tests.protocol.raw_client import RawClient

DAY_S = 86_400


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    running = Appliance(tmp_path, more="[store]\nlateness_hours = 0\nhot_days = 2\n")
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()
    assert running.process.returncode == 0


def day_text(ago: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago * DAY_S))


def test_days_go_to_the_archive_come_back_and_a_device_is_erased(
    appliance: Appliance, tmp_path: Path
) -> None:
    for device in ("pump", "fan"):
        token = appliance.answer("device", "add", device)["token"].encode()
        with RawClient(("127.0.0.1", appliance.port), 4) as client:
            client.connect_in_time(device, username=device, password=token)
            for number, ago in enumerate((0, 1, 5), start=1):
                at_ms = int((time.time() - ago * DAY_S) * 1_000)
                payload = b'{"ts":%d,"t":1.5,"vib_x":2}' % at_ms
                client.publish(f"dm/{device}/telemetry", payload, number)

    def days() -> dict[str, Any]:
        return {day["day"]: day for day in appliance.answer("archive", "list")["days"]}

    # All of them first: a day that gets readings while it is archived waits for a minute.
    until(lambda: appliance.answer("query", "SELECT count(*) AS n FROM readings")["rows"] == [[12]])
    until(lambda: days().get(day_text(0), {}).get("hot_rows") == 4 or _look(appliance))
    until(lambda: days().get(day_text(5), {}).get("where") == "archived")
    until(lambda: days()[day_text(1)]["where"] == "both")
    assert days()[day_text(0)]["where"] == "hot"
    text = appliance.run("archive", "list").stdout
    assert text.splitlines()[0].startswith("DAY")
    assert "The keeper:" in text

    assert appliance.run("archive", "verify").stdout == "2 days read back, 0 faults.\n"
    (file,) = (tmp_path / "data" / "archive").glob(f"*/{day_text(1)}/*/default-000.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    damaged = appliance.run("archive", "verify", day_text(1))
    assert damaged.exit_code == 9
    assert "default-000.parquet: it has" in damaged.stdout
    until(lambda: days()[day_text(1)]["generation"] == 2)

    restored = appliance.run("archive", "restore", day_text(5), "--until", day_text(0))
    assert restored.stdout == f"4 readings of {day_text(5)} are in the store until {day_text(0)}.\n"
    assert appliance.run("archive", "restore", day_text(5), "--until", day_text(0)).exit_code == 4
    assert appliance.run("archive", "restore", "2001-01-01", "--until", day_text(0)).exit_code == 3

    options = ("--metric", "vib_*", "--hot-days", "1", "--archive-days", "0")
    assert "for ever" in appliance.run("retention", "set", "vib", *options).stdout
    assert [c["class_id"] for c in appliance.answer("retention", "list")["classes"]] == ["vib", "default"]
    assert appliance.run("retention", "remove", "vib").exit_code == 0
    assert appliance.run("retention", "remove", "vib").exit_code == 3

    typo = appliance.run("device", "erase", "pumpp")
    assert "No device pumpp is registered" in typo.stderr
    assert appliance.run("archive", "restore", day_text(5), "--until", "tomorrow").exit_code == 2
    assert appliance.run("device", "erase", "pump", "--yes").exit_code == 0
    until(lambda: sum(day["hot_rows"] for day in days().values()) == 6 and _erased(appliance))
    points = appliance.answer("query", "SELECT device, count(*) AS n FROM readings GROUP BY device")
    assert str(points).count("pump") == 0


def _look(appliance: Appliance) -> bool:
    """Wake the keeper: it looks once a minute by itself."""
    appliance.run("retention", "set", "x", "--metric", "nothing", "--hot-days", "1", "--archive-days", "0")
    appliance.run("retention", "remove", "x")
    return False


def _erased(appliance: Appliance) -> bool:
    found: list[dict[str, Any]] = appliance.api().get("/api/v1/erasures")["erasures"]
    return [each["state"] for each in found] in (["erased"], ["complete"])
