"""What rollout and artifact say of an execution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.catalog.catalog import Catalog
from tests.execution_kit import NEW_DIGEST
from tests.updates_kit import put_rollout


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=b"n" * 16)
    yield opened
    opened.close()


def test_terms(catalog: Catalog) -> None:
    with catalog.transaction():
        put_rollout(catalog, policy={"confirm_s": 60, "reboot_s": 1.5}, fence=4, deadline_at_ms=9)
    terms = catalog.execution_terms("r1")
    assert terms is not None
    assert (terms.confirm_ms, terms.reboot_ms, terms.fence, terms.deadline_at_ms) == (60_000, 1_500, 4, 9)
    assert catalog.execution_terms("r9") is None


@pytest.mark.parametrize("said", [None, 0, -5, "60", True])
def test_what_makes_no_sense_is_the_default(catalog: Catalog, said: object) -> None:
    with catalog.transaction():
        put_rollout(catalog, policy={"confirm_s": said})
    terms = catalog.execution_terms("r1")
    assert terms is not None
    assert (terms.confirm_ms, terms.reboot_ms) == (900_000, 600_000)


def test_an_artifact_s_facts(catalog: Catalog) -> None:
    with catalog.transaction():
        put_rollout(catalog)
        catalog.execute(
            "UPDATE artifacts SET hw = '[\"rev2\"]', origin = ?, hlc = ?", (catalog.origin, catalog.hlc)
        )
    facts = catalog.artifact_facts("a-r1")
    assert facts is not None
    assert (facts["sha256"], facts["hw"], facts["manifest"], facts["signatures"]) == (
        NEW_DIGEST,
        ["rev2"],
        None,
        [],
    )
    with catalog.transaction():
        catalog.execute(
            "UPDATE artifacts SET manifest = '{\"epoch\":1}', origin = ?, hlc = ?",
            (catalog.origin, catalog.hlc),
        )
    facts = catalog.artifact_facts("a-r1")
    assert facts is not None
    assert facts["manifest"] == {"epoch": 1}
    assert catalog.artifact_facts("a9") is None
