"""Uploads in the catalog: what their bytes are to become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound
from storage.catalog import Catalog
from storage.catalog.artifact_uploads import ArtifactUpload


def upload(upload_id: str = "u1", version: str = "1") -> ArtifactUpload:
    return ArtifactUpload(
        upload_id=upload_id,
        name="pump",
        version=version,
        filename="pump.bin",
        size_bytes=9,
        sha256="",
        fields={"hw": ["a"]},
        created_by="anna",
        created_at_ms=5,
        updated_at_ms=5,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=5)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def test_an_upload_is_kept_until_it_is_done(catalog: Catalog, clock: ManualClock) -> None:
    catalog.add_artifact_upload(upload())
    assert catalog.artifact_upload("u1") == upload()
    clock.advance(7)
    catalog.touch_artifact_upload("u1")
    assert [each.updated_at_ms for each in catalog.artifact_uploads()] == [12]
    catalog.remove_artifact_upload("u1")
    catalog.remove_artifact_upload("u1")
    with pytest.raises(NotFound) as caught:
        catalog.artifact_upload("u1")
    assert caught.value.code == "upload_unknown"


def test_two_uploads_do_not_become_the_same_artifact(catalog: Catalog) -> None:
    catalog.add_artifact_upload(upload())
    catalog.add_artifact_upload(upload("u2", "2"))
    with pytest.raises(Conflict) as caught:
        catalog.add_artifact_upload(upload("u3"))
    assert caught.value.code == "upload_exists"
