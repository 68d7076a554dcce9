"""What a rollout chooses among: devices that its words mean, with what they said; words that mean nothing; known bad digests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound
from appliance.management.rollout_plan import Targets
from storage.catalog import Catalog
from tests.rollout_kit import NEW, OLD, add_artifact, add_devices


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    add_devices(opened, ["a", "b"], groups=("hall",))
    add_devices(opened, ["c"], groups=("north", "wet"), hw="rev3", digest=NEW)
    opened.add_device("app", kind="application")
    opened.add_device("silent", tags=("lab",))
    yield opened
    opened.close()


def test_devices_as_they_said_they_are(catalog: Catalog) -> None:
    found = {each.device_id: each for each in catalog.rollout_candidates(Targets(all=True))}
    assert list(found) == ["a", "b", "c", "silent"]
    assert (found["c"].hw, found["c"].digest, found["c"].is_confirmed) == ("rev3", NEW, True)
    assert (found["silent"].hw, found["silent"].digest, found["silent"].is_confirmed) == ("", "", None)
    assert (found["a"].groups, found["a"].digest, found["a"].needs_hand) == (["hall"], OLD, False)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (Targets(devices=("a",)), ["a"]),
        (Targets(groups=("hall", "wet")), ["a", "b", "c"]),
        (Targets(tags=("lab",), devices=("b",)), ["b", "silent"]),
    ],
)
def test_only_those_that_are_meant(catalog: Catalog, targets: Targets, expected: list[str]) -> None:
    assert [each.device_id for each in catalog.rollout_candidates(targets)] == expected


def test_who_is_in_the_work_queue(catalog: Catalog) -> None:
    with catalog.transaction():
        for number, (device_id, state) in enumerate((("a", "manual"), ("b", "succeeded"))):
            catalog.execute(
                "INSERT INTO executions (execution_id, rollout_id, device_id, wave, number, state, max_attempts, "
                "max_rollback_attempts, to_version, to_digest, state_since_ms, created_at_ms, updated_at_ms, origin, hlc) "
                "VALUES (?, 'r', ?, 0, 1, ?, 3, 3, '2', 'x', 1, 1, 1, ?, ?)",
                (f"e{number}", device_id, state, catalog.origin, catalog.hlc),
            )
    found = catalog.rollout_candidates(Targets(groups=("hall",)))
    assert [each.needs_hand for each in found] == [True, False]


@pytest.mark.parametrize(
    ("targets", "code"),
    [
        (Targets(devices=("x",)), "device_unknown"),
        (Targets(all=True, except_=("x",)), "device_unknown"),
        (Targets(groups=("hall", "x")), "group_unknown"),
        (Targets(tags=("x",)), "tag_unknown"),
    ],
)
def test_words_that_mean_nothing_are_refused(catalog: Catalog, targets: Targets, code: str) -> None:
    with pytest.raises(NotFound) as refused:
        catalog.check_targets(targets)
    assert refused.value.code == code


def test_words_that_mean_something(catalog: Catalog) -> None:
    catalog.check_targets(Targets(devices=("a",), groups=("hall",), tags=("lab",), except_=("c",)))


def test_the_artifact(catalog: Catalog) -> None:
    add_artifact(catalog, hw='["rev2"]')
    assert catalog.rollout_artifact("a1").hw == ("rev2",)
    with pytest.raises(NotFound, match="no artifact"):
        catalog.rollout_artifact("none")


def test_known_bad(catalog: Catalog) -> None:
    with catalog.transaction():
        for number, (device_id, hw) in enumerate((("a", ""), ("", "rev3"))):
            catalog.execute(
                "INSERT INTO known_bad (known_bad_id, device_id, hw, digest, execution_id, reason, created_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, 'e', 'fell back', 1, ?, ?)",
                (f"k{number}", device_id, hw, NEW, catalog.origin, catalog.hlc),
            )
    found = catalog.known_bad_for(NEW)
    assert (sorted(found.devices), sorted(found.hw)) == (["a"], ["rev3"])
    assert catalog.known_bad_for(OLD).devices == frozenset()
