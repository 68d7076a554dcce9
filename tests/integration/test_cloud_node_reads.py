"""A cloud node reads what is at sites: real processes, two sites; one lets it, the other doesn't, and what is allowed is taken back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fleet_boxes import FleetBox
from tests.integration.test_box_restored_from_peer import kill, publish
from tests.integration.test_broker_verbs import until
from tests.integration.test_cloud_node import LINKED, engine_of, joined, site_of
from tests.seaweed_kit import SeaweedFs, seaweedfs


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SeaweedFs]:
    folder = tmp_path / "store"
    folder.mkdir()
    with seaweedfs(folder) as server:
        yield server


def problem_of(cloud: FleetBox, *arguments: str) -> dict[str, Any]:
    """How a verb is refused."""
    result = cloud.run(*arguments, "--json")
    assert result.exit_code != 0, result.output
    return dict(json.loads(result.stdout or result.stderr)["error"])


def may_read(cloud: FleetBox, box: FleetBox) -> Any:
    return site_of(cloud, box)["may_read"]


@pytest.mark.long
def test_a_cloud_node_reads_the_site_that_lets_it(tmp_path: Path, store: SeaweedFs) -> None:
    cloud = FleetBox(tmp_path, "cloud-1", role="cloud", more=engine_of(tmp_path, store))
    mill, quarry = (FleetBox(tmp_path, name, more=LINKED) for name in ("mill", "quarry"))
    with ExitStack() as held:
        cloud.start_and_wait()
        held.callback(cloud.stop)
        for box in (mill, quarry):
            joined(cloud, box)
            held.callback(box.stop)
            token = box.answer("device", "add", "sensor")["token"]
            until(lambda: box.links()["cloud-1"] == "up")  # noqa: B023 - called before the next one
            box.answer("rule", "add", "Many", "--all", "--metric", "n", "--above", "200", "--severity", "P1")
            publish(box, token, 0, 300)
            until(lambda: box.answer("alarm", "list")["alarms"])  # noqa: B023 - likewise

        # Nobody has allowed anything: neither is read, and no number of devices or alarms is told.
        until(lambda: may_read(cloud, mill) is False and may_read(cloud, quarry) is False)
        assert site_of(cloud, mill)["devices"] is None
        refused = problem_of(cloud, "site", "devices", "mill")
        assert refused["code"] == "reading_not_allowed"
        assert "allow-reading" in refused["hint"]

        assert mill.answer("peer", "allow-reading", "cloud-1")["is_allowed"] is True
        until(lambda: may_read(cloud, mill) is True)
        told = site_of(cloud, mill)
        assert (told["devices"], told["alarms"]) == (1, [1, 0, 0])
        listed = cloud.answer("site", "devices", "mill")
        assert [each["device_id"] for each in listed["answer"]["devices"]] == ["sensor"]
        assert listed["node"] == "mill"
        newest = cloud.answer("site", "readings", "mill", "sensor")["answer"]
        assert [(each["metric"], each["value"]) for each in newest["values"]] == [("n", 299)]
        series = cloud.answer("site", "readings", "mill", "sensor", "--metric", "n", "--for", "1h")["answer"][
            "series"
        ]
        assert [each["metric"] for each in series] == ["n"]
        assert series[0]["value"], "readings over a while"
        alarms = cloud.answer("site", "alarms", told["site_id"][:8])["answer"]
        assert [(each["rule_name"], each["severity"]) for each in alarms["alarms"]] == [("Many", "P1")]
        assert "sensor" in cloud.run("site", "devices", "mill").stdout
        assert problem_of(cloud, "site", "readings", "mill", "nobody")["code"] == "device_unknown"

        # The other site stays unread, and says so.
        assert problem_of(cloud, "site", "devices", "quarry")["code"] == "reading_not_allowed"
        # What a box answers, only cloud nodes are answered; and a box that is no cloud node reads at nobody.
        assert problem_of(mill, "peer", "allow-reading", "mill")["code"] == "node_is_this"
        assert problem_of(mill, "peer", "allow-reading", "quarry")["code"] == "node_no_cloud"

        # Who read which site is in the cloud node's audit, once; who allowed it, in the site's.
        entries = cloud.answer("audit", "list", "--action", "site.read")["entries"]
        assert [entry["object_id"] for entry in entries] == [told["site_id"]]
        assert [
            each["action"]
            for each in mill.answer("audit", "list", "--action", "peer.allow_reading")["entries"]
        ]

        # Taken back, it ends with the next question, whatever the cloud node was told before.
        mill.answer("peer", "forbid-reading", "cloud-1")
        assert problem_of(cloud, "site", "devices", "mill")["code"] == "reading_not_allowed"
        until(lambda: site_of(cloud, mill)["devices"] is None)

        mill.answer("peer", "allow-reading", "cloud-1")
        until(lambda: may_read(cloud, mill) is True)
        kill(mill)
        until(lambda: not site_of(cloud, mill)["is_fresh"])
        silent = problem_of(cloud, "site", "devices", "mill")
        assert silent["code"] == "site_silent"
        assert "was heard for" in silent["message"]
        assert site_of(cloud, mill)["devices"] == 1, "what it said last"
        metrics = cloud_metrics(cloud)
        assert 'homeport_site_reading_total{end="cloud",what="answered"}' in metrics


def cloud_metrics(cloud: FleetBox) -> str:
    """The node's metrics over its own socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(cloud.folder / "run" / "node.sock"))
        sock.sendall(b"GET /health/metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        data = bytearray()
        while piece := sock.recv(65_536):
            data += piece
    return data.decode()
