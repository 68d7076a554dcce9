"""Readings of several days, published over MQTT to a real appliance, asked for by its API, its pages and the command line."""

from __future__ import annotations

import csv
import io
import json
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import paho.mqtt.client as paho
import pytest
from click.testing import CliRunner, Result
from paho.mqtt.enums import CallbackAPIVersion

from appliance.cli import main
from appliance.run.local_api import LocalApi
from tests.crash.rig import Rig, wait_for

MINUTE = 60_000
DAY = 86_400_000
DAYS = 4
STEP = 2 * MINUTE
START_S = 40.0
PASSWORD = "a quiet sentence about tea"
DEVICES = ("pump-1", "pump-2", "fan-1")
GAP = range(300, 360)
"""Readings that pump-1 never sent: two hours."""


def value_of(device: str, index: int) -> float:
    return DEVICES.index(device) * 100 + (index * 37 % 1000) / 10


@dataclass(frozen=True, slots=True)
class Site:
    """A running appliance with readings from `from_ms` on, one every STEP."""

    rig: Rig
    from_ms: int
    left: Path

    def run(self, *arguments: str) -> Result:
        config = self.rig.run_dir / "homeport.toml"
        return CliRunner().invoke(main, [*arguments, "--config", str(config)], catch_exceptions=False)

    def get(self, target: str) -> Any:
        return LocalApi(self.rig.run_dir / "node.sock").get(target)

    def expected(self, device: str, from_ms: int, to_ms: int) -> list[tuple[int, float]]:
        """(time, value) of what was sent and lies in the range."""
        return [
            (at_ms, value_of(device, index))
            for index in range(DAYS * DAY // STEP)
            if from_ms <= (at_ms := self.from_ms + index * STEP) < to_ms
            and not (device == "pump-1" and index in GAP)
        ]


def publish(rig: Rig, device: str, token: str, from_ms: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device)
    client.username_pw_set(device, token)
    client.connect("127.0.0.1", rig.port)
    client.loop_start()
    try:
        points = [
            {"ts": from_ms + index * STEP, "v": {"t_celsius": value_of(device, index), "on": index % 2 == 0}}
            for index in range(DAYS * DAY // STEP)
            if not (device == "pump-1" and index in GAP)
        ]
        # Backwards, so that what comes later is older.
        for begin in reversed(range(0, len(points), 500)):
            sent = client.publish(f"dm/{device}/telemetry", json.dumps(points[begin : begin + 500]), qos=1)
            sent.wait_for_publish(30)
            assert sent.is_published()
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    rig = Rig(folder, folder / "run")
    try:
        tokens = {device: rig.add_device(device) for device in DEVICES}
        left = rig.data_dir / "archive" / "tmp" / "export-7.parquet"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"what a killed process left")
        rig.start("broker")
        rig.wait_for_broker()
        rig.start("node")
        from_ms = (int(time.time() * 1000) // DAY - DAYS) * DAY
        for device, token in tokens.items():
            publish(rig, device, token, from_ms)
        rig.wait_until_stored(START_S)
        found = Site(rig, from_ms, left)
        wait_for(
            lambda: found.get("/api/v1/devices/fan-1/newest")["values"] != [], START_S, "the newest values"
        )
        yield found
    finally:
        rig.close()


def test_several_devices_over_several_days_are_what_was_sent(site: Site) -> None:
    from_ms, to_ms = site.from_ms + 3 * MINUTE, site.from_ms + 3 * DAY + 7 * MINUTE
    found = site.get(
        f"/api/v1/telemetry?device=pump-*&metric=t_*&from={from_ms}&to={to_ms}&interval_ms=3600000"
    )
    assert [one["device_id"] for one in found["series"]] == ["pump-1", "pump-2"]
    for one in found["series"]:
        hours: dict[int, list[float]] = {}
        for at_ms, value in site.expected(one["device_id"], from_ms, to_ms):
            hours.setdefault(at_ms // 3_600_000 * 3_600_000, []).append(value)
        assert one["at_ms"] == list(hours), "an hour without a reading is absent"
        assert one["count"] == [len(values) for values in hours.values()]
        assert one["min"] == [min(values) for values in hours.values()]
        assert one["max"] == [max(values) for values in hours.values()]
        assert one["value"] == pytest.approx([sum(values) / len(values) for values in hours.values()])
        assert (one["unit"], one["freshness"], one["truncated"]) == ("°C", "fresh", False)
    assert "readings" in found["sources"], "the range begins and ends within an hour"
    assert len(found["series"][0]["at_ms"]) < len(found["series"][1]["at_ms"]), "the gap"


def test_raw_readings_and_the_question_about_one_device(site: Site) -> None:
    to_ms = site.from_ms + 10 * STEP
    many = site.get(f"/api/v1/telemetry?device=fan-1&from={site.from_ms}&to={to_ms}&aggregation=raw")
    on, t = many["series"]
    assert (on["metric"], on["value"]) == ("on", [True, False] * 5)
    assert list(zip(t["at_ms"], t["value"], strict=True)) == site.expected("fan-1", site.from_ms, to_ms)
    assert set(t["quality"]) == {"good"}
    one = site.get(f"/api/v1/devices/fan-1/telemetry?metric=t_celsius&from={site.from_ms}&to={to_ms}")
    assert one["series"][0]["value"] == t["value"]
    cut = site.get(f"/api/v1/telemetry?device=fan-1&from={site.from_ms}&to={to_ms}&aggregation=raw&limit=8")
    assert cut["truncated"]
    assert [one["at_ms"] for one in cut["series"]] == [t["at_ms"][:4]] * 2


def test_the_top_of_the_site(site: Site) -> None:
    to_ms = site.from_ms + DAYS * DAY
    found = site.get(
        f"/api/v1/telemetry/top?metric=t_celsius&from={site.from_ms}&to={to_ms}&aggregation=mean"
    )
    assert [one["device_id"] for one in found["values"]] == ["fan-1", "pump-2", "pump-1"]
    sent = [value for _, value in site.expected("pump-1", site.from_ms, to_ms)]
    last = found["values"][-1]
    assert (last["value"], last["count"]) == (pytest.approx(sum(sent) / len(sent)), len(sent))
    shown = site.run(
        "telemetry",
        "top",
        "t_celsius",
        "--aggregation",
        "min",
        "--lowest",
        "--limit",
        "1",
        "--from",
        "-5d",
        "--device",
        "pump-*",
    )
    assert shown.exit_code == 0, shown.output
    assert re.search(r"pump-1 +t_celsius +0 °C +\d+ +fresh", shown.output)


def test_the_command_line_shows_what_was_sent(site: Site) -> None:
    to_ms = site.from_ms + DAY
    arguments = ("--from", str(site.from_ms), "--to", str(to_ms), "--metric", "t_celsius")
    shown = site.run("telemetry", "query", "fan-1", *arguments, "--points", "24")
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("fan-1 t_celsius, °C (fresh)\n")
    assert len(shown.output.splitlines()) == 2 + 24
    raw = site.run("telemetry", "query", "fan-1", *arguments, "--aggregation", "raw", "--json")
    assert len(json.loads(raw.stdout)["series"][0]["at_ms"]) == DAY // STEP
    unknown = site.run("telemetry", "query", "nobody")
    assert unknown.exit_code == 3
    assert "There is no device “nobody”." in unknown.output
    assert site.run("telemetry", "query", "fan-1", "--from", "lately").exit_code == 2


def test_files_hold_every_reading_in_order(site: Site, tmp_path: Path) -> None:
    assert not site.left.exists(), "what a killed process left is gone"
    to_ms = site.from_ms + DAYS * DAY
    paths = {}
    for format_ in ("csv", "jsonl", "parquet"):
        paths[format_] = tmp_path / f"out.{format_}"
        arguments = ("--format", format_, "--from", str(site.from_ms), "--to", str(to_ms), "--metric", "t_*")
        done = site.run("telemetry", "export", "pump-*", *arguments, "-o", str(paths[format_]))
        assert done.exit_code == 0, done.output
    sent = [
        (device, "t_celsius", at_ms, value)
        for device in ("pump-1", "pump-2")
        for at_ms, value in site.expected(device, site.from_ms, to_ms)
    ]
    rows = list(csv.reader(io.StringIO(paths["csv"].read_text(), newline="")))[1:]
    assert [(row[0], row[1], int(row[3]), float(row[4])) for row in rows] == sent
    lines = [json.loads(line) for line in paths["jsonl"].read_text().splitlines()]
    assert [(o["device_id"], o["metric"], o["observed_at_ms"], o["value"]) for o in lines] == sent
    question = "SELECT device_id, metric, epoch_ms(observed_at), number FROM read_parquet(?)"
    assert duckdb.connect().execute(question, [str(paths["parquet"])]).fetchall() == sent
    assert list(site.left.parent.glob("export-*")) == []
    again = site.run("telemetry", "export", "pump-1", "-o", str(paths["csv"]))
    assert again.exit_code == 2, "a file that is there is not written over"
    whole = site.run("telemetry", "export", "fan-1", "--from", str(to_ms - STEP), "--to", str(to_ms))
    assert [line.split(",")[1] for line in whole.output.splitlines()[1:]] == ["on", "t_celsius"]


def test_over_the_network_somebody_sees_the_devices_of_their_groups(site: Site) -> None:
    assert site.run("group", "add", "hall").exit_code == 0
    api = LocalApi(site.rig.run_dir / "node.sock")
    assert api.request("PATCH", "/api/v1/devices/pump-2", {"groups": ["hall"]})["groups"] == ["hall"]
    added = CliRunner().invoke(
        main,
        ["user", "add", "vera", "--role", "viewer", "--group", "hall", "--config", str(site.rig.run_dir / "homeport.toml")],
        input=f"{PASSWORD}\n",
    )  # fmt: skip
    assert added.exit_code == 0, added.output
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with httpx.Client(base_url=f"https://127.0.0.1:{site.rig.ui_port}", verify=context) as client:
        assert (
            client.post("/api/v1/session", json={"user_id": "vera", "password": PASSWORD}).status_code == 201
        )
        query = f"from={site.from_ms}&to={site.from_ms + DAY}"
        exported = client.get(f"/api/v1/telemetry/export?{query}")
        assert {line.split(",")[0] for line in exported.text.splitlines()[1:]} == {"pump-2"}
        top = client.get(f"/api/v1/telemetry/top?metric=t_celsius&{query}").json()
        assert [one["device_id"] for one in top["values"]] == ["pump-2"]
        assert client.get(f"/api/v1/telemetry?device=pump-1&{query}").json()["code"] == "device_unknown"
        page = client.get(f"/telemetry?device=pump-2&metric=t_celsius&{query}&view=table")
        assert page.status_code == 200
        assert "one row per 10 min" in page.text
        assert page.text.count("<tr>") > 100
        assert "pump-1" not in page.text
        chart = client.get(f"/telemetry/data?device=pump-2&metric=t_celsius&{query}").json()
        assert len(chart["series"][0]["at_ms"]) == DAY // chart["interval_ms"]
