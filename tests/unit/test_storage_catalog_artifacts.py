"""Artifacts in the catalog: one for a name and version, kept while something needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound
from appliance.management.manifest import Signature
from storage.catalog import Catalog
from storage.catalog import artifacts as module
from storage.catalog.artifacts import Artifact
from tests.acts import ACT

SHA256 = "ab" * 32


def artifact(**changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "artifact_id": "a1",
        "name": "pump",
        "version": "1.0",
        "sha256": SHA256,
        "sha1": "cd" * 20,
        "size_bytes": 9,
        "filename": "pump.bin",
        "format": "raw",
        "hw": ("rev2",),
        "epoch": 1,
        "created_by": "anna",
    }
    return Artifact(**{**values, **changes})


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(now_ms=5), node_id=bytes(16))
    yield opened
    opened.close()


def test_an_artifact_is_kept_as_it_was_made(catalog: Catalog) -> None:
    kept = catalog.add_artifact(artifact(is_vendor_signed=True, note="first"))
    assert kept == artifact(is_vendor_signed=True, note="first", created_at_ms=5, updated_at_ms=5)
    assert catalog.artifact("a1") == catalog.find_artifact("pump", "1.0") == kept
    assert catalog.artifacts() == catalog.artifacts_of_bytes(SHA256) == (kept,)
    assert catalog.artifact_digests() == {SHA256}
    assert catalog.find_artifact("pump", "2.0") is None
    changed = catalog.set_artifact_note("a1", "for the pumps")
    assert (changed.note, changed.row_version > kept.row_version) == ("for the pumps", True)


def test_a_version_is_given_once(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.add_artifact(artifact())
    with pytest.raises(Conflict) as twice:
        catalog.add_artifact(artifact(artifact_id="a2"))
    assert twice.value.code == "artifact_exists"
    monkeypatch.setattr(module, "ARTIFACT_COUNT_MAX", 1)
    with pytest.raises(LimitExceeded) as many:
        catalog.add_artifact(artifact(artifact_id="a2", version="2.0"))
    assert many.value.code == "artifact_count"


def test_a_manifest_takes_the_counter_along_for_good(catalog: Catalog) -> None:
    kept = catalog.add_artifact(artifact())
    manifest = kept.manifest_of(not_before_ms=1, expires_at_ms=9, release_counter=4)
    signature = Signature(keyid="ef" * 32, sig="AA==")
    signed = catalog.set_artifact_manifest("a1", manifest, (signature,))
    assert (signed.manifest, signed.signatures) == (manifest.text(), (signature,))
    assert (signed.release_counter, signed.not_before_ms, signed.expires_at_ms) == (4, 1, 9)
    older = kept.manifest_of(not_before_ms=1, expires_at_ms=9, release_counter=3)
    catalog.set_artifact_manifest("a1", older, ())
    catalog.remove_artifact("a1")
    assert catalog.highest_release_counter("pump") == 4
    assert catalog.highest_release_counter("valve") == 0


def test_the_highest_epoch_is_of_a_name(catalog: Catalog) -> None:
    assert catalog.highest_epoch("pump") == 0
    catalog.add_artifact(artifact(epoch=3))
    catalog.add_artifact(artifact(artifact_id="a2", version="2.0", epoch=2))
    assert (catalog.highest_epoch("pump"), catalog.highest_epoch("valve")) == (3, 0)


def add_rollout(catalog: Catalog, *, ended: bool = False, rollout_id: str = "") -> None:
    with catalog.transaction(ACT):
        catalog.execute(
            "INSERT INTO rollouts (rollout_id, name, artifact_id, state, targets, plan, policy, created_by, created_at_ms,"
            " updated_at_ms, ended_at_ms, origin, hlc) VALUES (?, 'Hall 4', 'a1', 'draft', '{}', '{}', '{}', 'anna', 1, 1, ?, ?, ?)",
            (rollout_id or f"r{ended}", 1 if ended else None, catalog.origin, catalog.hlc),
        )


def add_execution(catalog: Catalog, name: str, digests: dict[str, str], *, ended: bool = False) -> None:
    values = {"to_digest": "", "from_digest": "", **digests}
    with catalog.transaction(ACT):
        catalog.execute(
            "INSERT INTO executions (execution_id, rollout_id, device_id, wave, number, state, max_attempts, max_rollback_attempts,"
            " to_version, to_digest, from_digest, state_since_ms, created_at_ms, updated_at_ms, ended_at_ms, origin, hlc)"
            " VALUES (?, 'r', ?, 0, 1, 'queued', 3, 3, '1', ?, ?, 1, 1, 1, ?, ?, ?)",
            (
                name,
                name,
                values["to_digest"],
                values["from_digest"],
                1 if ended else None,
                catalog.origin,
                catalog.hlc,
            ),
        )


def test_a_rollout_that_has_not_ended_keeps_its_artifact(catalog: Catalog) -> None:
    catalog.add_artifact(artifact())
    add_rollout(catalog, ended=True)
    assert catalog.artifact_uses() == {}
    add_rollout(catalog)
    assert catalog.artifact_uses()["a1"].rollouts == ("Hall 4",)
    with pytest.raises(Conflict, match="in use by the rollout “Hall 4”") as caught:
        catalog.remove_artifact("a1")
    assert caught.value.code == "artifact_in_use"


@pytest.mark.parametrize(
    "digests", [{"to_digest": SHA256}, {"to_digest": f"sha256:{SHA256}"}, {"from_digest": f"sha256:{SHA256}"}]
)
def test_devices_in_an_update_keep_the_bytes_that_they_come_from_and_go_to(
    catalog: Catalog, digests: dict[str, str]
) -> None:
    catalog.add_artifact(artifact())
    add_execution(catalog, "d0", digests, ended=True)
    assert catalog.artifact_uses() == {}
    add_execution(catalog, "d1", digests)
    with pytest.raises(Conflict, match="1 device in an update"):
        catalog.remove_artifact("a1")
    catalog.add_artifact(artifact(artifact_id="a2", name="same bytes"))
    catalog.remove_artifact("a1")  # the bytes have another name
    with pytest.raises(Conflict):
        catalog.remove_artifact("a2")


def test_several_uses_are_counted(catalog: Catalog) -> None:
    catalog.add_artifact(artifact())
    add_rollout(catalog)
    add_rollout(catalog, rollout_id="r3")
    with pytest.raises(Conflict, match="and 1 more"):
        catalog.remove_artifact("a1")


def test_what_is_unknown_is_said(catalog: Catalog) -> None:
    manifest = artifact().manifest_of(not_before_ms=1, expires_at_ms=9, release_counter=4)
    acts: tuple[Callable[[], object], ...] = (
        lambda: catalog.artifact("x"),
        lambda: catalog.set_artifact_note("x", ""),
        lambda: catalog.set_artifact_manifest("x", manifest, ()),
        lambda: catalog.remove_artifact("x"),
    )
    for act in acts:
        with pytest.raises(NotFound) as caught:
            act()
        assert caught.value.code == "artifact_unknown"
