"""Which images a box lacks: those that its catalog names and that don't lie there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.core.config import Config, NodeConfig
from appliance.core.errors import StorageError
from appliance.run import layout
from appliance.run.blob_wiring import ArtifactBlobs
from storage.catalog import Catalog
from storage.catalog.artifacts import Artifact

IMAGE = b"an image"
NAME = hashlib.sha256(IMAGE).digest()


def test_what_the_catalog_names_and_the_folder_lacks_is_wanted(tmp_path: Path) -> None:
    config = Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path))
    blobs = ArtifactBlobs(config, SystemClock())
    with pytest.raises(StorageError):
        blobs.look()
    catalog = Catalog.open(layout.catalog(config), clock=SystemClock(), node_id=bytes(16))
    try:
        assert blobs.look() == ({}, {}, {})
        artifact = Artifact(
            artifact_id="a1",
            name="pump",
            version="1.0",
            sha256=NAME.hex(),
            sha1="cd" * 20,
            size_bytes=len(IMAGE),
            filename="pump.bin",
            format="raw",
            hw=("rev2",),
            epoch=1,
            created_by="anna",
        )
        catalog.add_artifact(artifact)
        assert blobs.look() == ({}, {NAME: len(IMAGE)}, {})
        assert blobs.write(NAME, len(IMAGE), 0, IMAGE[:3]) == "more"
        assert blobs.look() == ({}, {NAME: len(IMAGE)}, {NAME: 3})
        assert blobs.write(NAME, len(IMAGE), 3, IMAGE[3:]) == "whole"
        assert blobs.look() == ({NAME: len(IMAGE)}, {}, {})
        assert blobs.read(NAME, 3, 100) == (IMAGE[3:], len(IMAGE))
    finally:
        catalog.close()
