"""A cloud node for two sites: real processes, a real object store; it is killed, loses its disk, and nothing that was called safe is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage.log.verify import verify
from tests.fleet_boxes import FleetBox
from tests.integration.test_box_restored_from_peer import exported, kill, publish
from tests.integration.test_broker_verbs import until
from tests.seaweed_kit import KEY_ID, SECRET, SeaweedFs, seaweedfs

FRESH_MS = 15_000
LINKED = '[[tier_region]]\nname = "eu"\naddress = "homeport://cloud-1/eu"\n'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SeaweedFs]:
    folder = tmp_path / "store"
    folder.mkdir()
    with seaweedfs(folder) as server:
        yield server


def engine_of(tmp_path: Path, store: SeaweedFs) -> str:
    """The cloud node's region: what only it has the credentials for."""
    secret = tmp_path / "tier.toml"
    secret.touch(mode=0o600)
    secret.write_text(f'access_key_id = "{KEY_ID}"\nsecret_access_key = "{SECRET}"\n')
    address = store.address("all-sites")
    return f'[[tier_region]]\nname = "eu"\naddress = "{address}"\ncredentials_file = "{secret}"\n'


def lag_of(box: FleetBox) -> Any:
    return [(region["lag_entries"], region["problem"]) for region in box.answer("tier", "list")]


def is_shipped(box: FleetBox) -> bool:
    """Whether the region has all that the box wrote, as the box has heard."""
    return bool(lag_of(box) == [(0, "")])


def site_of(cloud: FleetBox, box: FleetBox) -> dict[str, Any]:
    """What the cloud node says of a box."""
    listed = cloud.run("tier", "sites", "--json").stdout
    (found,) = [node for node in json.loads(listed) if node["node_id"] == box.node_id]
    return dict(found)


def records_of(site: dict[str, Any]) -> int:
    return max((each["next_seq"] - 1 for each in site["stored"] if each["name"] == "telemetry"), default=0)


def is_told(cloud: FleetBox, box: FleetBox, records: int) -> bool:
    """Whether the cloud node knows of so many records in its region, and that the box is safe."""
    site = site_of(cloud, box)
    is_safe = site["rpo_ms"] is not None and site["rpo_ms"] <= FRESH_MS
    return bool(site["is_fresh"] and is_safe and records_of(site) >= records)


def joined(cloud: FleetBox, box: FleetBox) -> None:
    """Have a box of another site join by the cloud node."""
    outcome = box.join(cloud.invite("--other-site"))
    assert outcome.exit_code == 0, outcome.output
    box.start_and_wait()


def complaints(box: FleetBox) -> list[dict[str, Any]]:
    """What `homeport doctor` finds wrong, or says of a broker, which a cloud node has not got."""
    checks = json.loads(box.run("doctor", "--json").stdout)["checks"]
    return [check for check in checks if check["result"] == "failed" or check["name"] == "broker"]


def kit_of(box: FleetBox) -> str:
    """The path of a box's recovery kit."""
    kit = box.folder / "kit.txt"
    kit.write_text(box.run("recovery-kit", "show").output)
    return str(kit)


@pytest.mark.long
def test_two_sites_ship_by_a_cloud_node_that_dies_and_loses_its_disk(
    tmp_path: Path, store: SeaweedFs
) -> None:
    address, credentials = store.address("all-sites"), str(tmp_path / "tier.toml")
    cloud = FleetBox(tmp_path, "cloud-1", role="cloud", more=engine_of(tmp_path, store))
    boxes = [FleetBox(tmp_path, name, more=LINKED) for name in ("mill", "quarry")]
    with ExitStack() as held:
        cloud.start_and_wait()
        held.callback(cloud.stop)
        cloud_kit = kit_of(cloud)
        assert "NOT READY" not in cloud.run("status").output
        until(lambda: not complaints(cloud))  # its replicator is started last
        tokens, kits = [], []
        for box in boxes:
            joined(cloud, box)
            held.callback(box.stop)
            kits.append(kit_of(box))
            tokens.append(box.answer("device", "add", "sensor")["token"])
        for box, token in zip(boxes, tokens, strict=True):
            until(lambda: box.links()["cloud-1"] == "up")  # noqa: B023 - called before the next one
            checked = box.run("tier", "check")
            assert checked.exit_code == 0, checked.output
            publish(box, token, 0, 300)
        for box in boxes:
            # Safe is what the engine acknowledged, and the cloud node says the same.
            until(partial(is_shipped, box))
            until(partial(is_told, cloud, box, 300))
            assert exported(box) == 300
        assert not list((cloud.data_dir / "replicas").glob("*/*/*")), "copies at a cloud node"

        kill(cloud)
        for n, (box, token) in enumerate(zip(boxes, tokens, strict=True)):
            publish(box, token, 300, 50 + n)
            until(lambda: lag_of(box)[0][1])  # noqa: B023 - called before the next one
        shutil.rmtree(cloud.data_dir)
        assert cloud.answer("restore", "--from", address, "--kit", cloud_kit)["missing"] == []
        cloud.start_and_wait()
        for n, box in enumerate(boxes):
            until(partial(is_shipped, box))
            until(partial(is_told, cloud, box, 350 + n))

        # A box is lost for good: out of the engine with its own kit, though the cloud node could never read it.
        lost, kept = boxes
        rows, lost_id = exported(lost), lost.node_id
        assert rows == 350
        kill(lost)
        shutil.rmtree(lost.data_dir)
        where = ("--from", address, "--credentials", credentials)
        unread = lost.run("restore", *where, "--kit", cloud_kit, "--node", lost_id)
        assert unread.exit_code != 0, "the cloud node's key opens none of it"
        assert lost.answer("restore", *where, "--kit", kits[0])["missing"] == []
        # With its kit it has begun a fleet of itself; it comes back into this one as any box comes.
        shutil.move(lost.data_dir / "fleet", tmp_path / "fleet-of-itself")
        joined(cloud, lost)
        until(lambda: exported(lost) == rows)
        publish(lost, tokens[0], 10_000, 20)
        until(partial(is_shipped, lost))
        until(lambda: exported(lost) == rows + 20)
        assert is_shipped(kept)
    for box in boxes:
        assert verify(box.data_dir / "log" / "telemetry").ok
