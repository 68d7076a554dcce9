"""Whole boxes, real processes, a real PostgreSQL: readings of two sites as rows in one database, the same as in each box's own store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.core.config import load
from appliance.run import layout
from appliance.run.local_api import LocalApi
from tests.fleet.rig import within
from tests.fleet_boxes import FleetBox
from tests.integration.test_box_restored_from_peer import kill, publish
from tests.postgres_kit import PostgresServer, postgres_server

WAIT_S = 120.0
CLOUD = Path(__file__).parents[2] / "docs" / "CLOUD.md"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def site(folder: Path, name: str, server: PostgresServer) -> FleetBox:
    """A box alone at its site, whose pieces have a schema of their own and whose rows have the common one."""
    secret = folder / f"{name}.toml"
    secret.touch(mode=0o600)
    secret.write_text(f'password = "{server.password}"\n')
    region = (
        f'[tier]\npace_s = 1\n[[tier_region]]\nname = "db"\naddress = "{server.address(name)}"\n'
        f'credentials_file = "{secret}"\nreadings = true\n'
    )
    box = FleetBox(folder, name, more=region)
    checked = box.run("tier", "check")
    assert checked.exit_code == 0, checked.output
    return box


def in_store(box: FleetBox) -> str:
    """A digest over (time, metric, value) of all that the box's store has of its device, in order."""
    lines = box.run("telemetry", "export", "sensor", "--format", "jsonl").stdout.splitlines()
    found = sorted(
        (row["observed_at_ms"], row["metric"], float(row["value"])) for row in map(json.loads, lines)
    )
    return f"{len(found)} {sha256(repr(found).encode()).hexdigest()}"


def in_database(box: FleetBox, server: PostgresServer) -> str:
    """The same of the rows in the database."""
    rows = server.execute(
        "SELECT (extract(epoch FROM at) * 1000)::bigint, metric, value FROM readings.v_readings"
        f" WHERE box = '{box.name}' AND device = 'sensor'"
    )
    found = sorted((at_ms, metric, float(value)) for at_ms, metric, value in rows)
    return f"{len(found)} {sha256(repr(found).encode()).hexdigest()}"


def same(box: FleetBox, server: PostgresServer, count: int) -> None:
    """Wait until both have `count` readings, and the same ones."""
    within(WAIT_S, lambda: in_database(box, server).startswith(f"{count} "), f"{count} rows of {box.name}")
    within(WAIT_S, lambda: in_store(box) == in_database(box, server), f"the same rows of {box.name}")


@pytest.mark.long
def test_rows_of_two_sites_are_what_their_stores_have_whatever_was_killed_meanwhile(
    tmp_path: Path, server: PostgresServer
) -> None:
    with ExitStack() as stack:
        north, south = site(tmp_path, "north", server), site(tmp_path, "south", server)
        tokens = {}
        for box in (north, south):
            box.start_and_wait()
            stack.callback(lambda box=box: kill(box))  # type: ignore[misc]
            tokens[box.name] = box.answer("device", "add", "sensor")["token"]
        publish(south, tokens["south"], 0, 50)
        publish(north, tokens["north"], 0, 3_000)
        # Some are there, most are not.
        within(WAIT_S, lambda: not in_database(north, server).startswith("0 "), "the first rows")
        kill(north)
        server.kill()
        north.start_and_wait()
        publish(north, tokens["north"], 3_000, 500)
        within(WAIT_S, lambda: _rows(north)["problem"] != "", "the trouble is told")
        server.start()
        same(north, server, 3_500)
        same(south, server, 50)
        within(
            WAIT_S, lambda: _rows(north)["problem"] == "" and _rows(north)["lag_entries"] == 0, "it is well"
        )

        for question in _questions():
            found = server.execute(question)
            assert found, question

        # A database that was put back to an earlier time has its rows again, once.
        server.execute(
            "BEGIN; DELETE FROM readings.readings; UPDATE readings.positions SET epoch = 0, next_seq = 0, state = ''"
            f" WHERE stream LIKE '%{north.node_id}%'; DELETE FROM readings.positions WHERE stream LIKE '%{south.node_id}%'; COMMIT"
        )
        publish(south, tokens["south"], 50, 1)
        same(north, server, 3_500)
        same(south, server, 51)

        LocalApi(layout.node_socket(load(north.config, {}))).post(
            "/api/v1/devices/sensor/erase-readings", {"confirm": "sensor"}
        )
        within(WAIT_S, lambda: in_database(north, server).startswith("0 "), "the device's rows are gone")
        publish(north, tokens["north"], 9_000, 7)
        same(north, server, 7)
        same(south, server, 51)


def _rows(box: FleetBox) -> dict[str, object]:
    (region,) = box.answer("tier", "list")
    rows = region["rows"]
    assert rows is None or isinstance(rows, dict)
    return rows or {"problem": None, "lag_entries": None}


def _questions() -> list[str]:
    """The examples of the manual about rows."""
    part = CLOUD.read_text().partition("### Readings as rows")[2].partition("\n## ")[0]
    found = re.findall(r"(?m)(?:^    (?:SELECT|WITH).*\n)(?:^    .*\n)*", part)
    assert len(found) >= 3
    return [re.sub(r"(?m)^    ", "", each).rstrip().rstrip(";") for each in found]
