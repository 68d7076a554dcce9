"""Choosing: what a preview says, and when a second person is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded
from appliance.core.limits_updates import ROLLOUT_LARGE_DEVICE_COUNT
from appliance.management.rollout_plan import Plan, Targets
from appliance.management.rollouts import RolloutState
from appliance.management.targets import LeftOut
from appliance.updates import rollout_acts as acts
from appliance.updates import rollout_choosing
from appliance.updates.rollout_acts import Author, Draft
from appliance.updates.rollout_choosing import check_usable, look_ahead, needs_approval
from storage.catalog import Catalog
from tests.rollout_kit import NEW, add_artifact, add_devices, names

ALL = Targets(all=True)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    add_artifact(opened, hw='["rev2"]', expires_at_ms=1_000)
    add_devices(opened, names(4))
    add_devices(opened, ["old"], hw="rev1")
    add_devices(opened, ["done"], digest=NEW)
    yield opened
    opened.close()


def test_a_preview(catalog: Catalog) -> None:
    preview = look_ahead(catalog, "a1", ALL, Plan())
    assert preview.choice.to_update_count == 4
    assert preview.wave_sizes == (1, 3)
    assert preview.left_out_counts() == {LeftOut.OTHER_HARDWARE: 1}
    check_usable(catalog, preview, 999)
    with pytest.raises(Conflict) as expired:
        check_usable(catalog, preview, 1_000)
    assert expired.value.code == "artifact_expired"


def test_nobody(catalog: Catalog) -> None:
    with pytest.raises(Conflict) as refused:
        check_usable(catalog, look_ahead(catalog, "a1", Targets(devices=("done", "old")), Plan()), 1)
    assert refused.value.code == "targets_none"
    assert "1 run it already, 1 left out (1: Other hardware than" in refused.value.message


def test_too_many(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_choosing, "ROLLOUT_DEVICE_COUNT_MAX", 3)
    with pytest.raises(LimitExceeded, match="for 4 devices"):
        look_ahead(catalog, "a1", ALL, Plan())


@pytest.mark.parametrize(
    ("rule", "count", "expected"),
    [
        (None, ROLLOUT_LARGE_DEVICE_COUNT, False), (None, ROLLOUT_LARGE_DEVICE_COUNT + 1, True),
        ("always", 1, True), ("never", 9_999, False), ("large", ROLLOUT_LARGE_DEVICE_COUNT + 1, True),
    ],
)  # fmt: skip
def test_when_a_second_person_is_wanted(
    catalog: Catalog, rule: str | None, count: int, expected: bool
) -> None:
    if rule is not None:
        catalog.set_setting("firmware.approval", rule)
    assert needs_approval(catalog, NEW, count) is expected


def test_many_small_ones_are_a_large_one_whatever_the_image_is_called(catalog: Catalog) -> None:
    add_artifact(catalog, "a2", version="2.0-again", hw='["rev2"]', expires_at_ms=1_000)
    add_devices(catalog, [f"more{n}" for n in range(ROLLOUT_LARGE_DEVICE_COUNT)])
    with catalog.transaction():
        for rollout_id, artifact_id, group in (
            ("r1", "a1", names(4)),
            ("r2", "a2", [f"more{n}" for n in range(9)]),
        ):
            draft = Draft(
                name="x", artifact_id=artifact_id, targets=Targets(devices=tuple(group)), plan=Plan()
            )
            acts.create(catalog, rollout_id, draft, Author("anna"))
            assert acts.submit(catalog, rollout_id, Author("anna"), 1).state is RolloutState.READY
            acts.start(catalog, rollout_id, Author("anna"), 1)
    assert not needs_approval(catalog, NEW, ROLLOUT_LARGE_DEVICE_COUNT - 13)
    assert needs_approval(catalog, NEW, ROLLOUT_LARGE_DEVICE_COUNT - 12)
    assert not needs_approval(catalog, "9" * 64, ROLLOUT_LARGE_DEVICE_COUNT)
