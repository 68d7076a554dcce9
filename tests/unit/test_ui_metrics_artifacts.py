"""Artifacts as metrics."""

from __future__ import annotations

from pathlib import Path

from tests.artifact_api_kit import add, begin, send
from tests.node_kit import running_node
from ui.metrics_artifacts import add_artifacts
from ui.metrics_table import Collected


async def test_images_uploads_room_and_damage(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        made = await add(client, b"firmware")
        begun = await begin(client, b"half", version="2")
        await send(client, begun["upload_id"], b"ha")
        path = tmp_path / "artifacts" / "sha256" / made["sha256"][:2] / made["sha256"]
        path.rename(path.with_name(path.name + ".damaged"))
        await node.services.artifacts.look()
        out = Collected()
        add_artifacts(out, node.services)
        found = {sample.name: sample.value for family in out.families() for sample in family.samples}
        assert found["homeport_artifact_images"] == found["homeport_artifact_images_damaged"] == 1
        assert found["homeport_artifact_image_bytes"] == 8
        assert found["homeport_artifact_quota_bytes"] == 4096 << 20
        assert (found["homeport_artifact_uploads"], found["homeport_artifact_upload_bytes"]) == (1, 2)
        assert found["homeport_artifact_received_bytes_total"] == 10
