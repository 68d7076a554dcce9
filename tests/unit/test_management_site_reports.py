"""What a cloud node says of boxes: what they last said, marked as old when they are silent, and nothing of who is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.core.errors import UsageError
from appliance.management.fleet import NodeCard, SignedEntry, entry_of
from appliance.management.replication_state import StoredState
from appliance.management.site_reports import FRESH_MS, Report, SiteReports

MILL, QUARRY = "a1" * 16, "a2" * 16
REPORT = Report(rpo_ms=900, rpo_worst_ms=61_000, unsafe_entries=2, lag_ms=900, lag_entries=2, problem="")
STORED = StoredState(
    node_id=MILL, name="telemetry", region="eu", epoch=1, next_seq=301, last_at_ms=5_000, at_ms=6_000
)


def node(node_id: str, name: str, site_id: str, role: str = "edge") -> SignedEntry:
    card = NodeCard(node_id=node_id, name=name, instance="0" * 32, version=1, role=role)  # type: ignore[arg-type]
    return SignedEntry(
        node_id=node_id,
        site_id=site_id,
        fingerprint="f" * 64,
        issued_at_ms=1,
        ends_at_ms=2,
        certificate=b"",
        card=card.text(),
        card_signature=b"",
    )


NODES = [entry_of(node(QUARRY, "quarry", "2" * 32)), entry_of(node(MILL, "mill", "1" * 32))]


def test_what_was_said_is_shown_until_it_is_old() -> None:
    reports = SiteReports()
    reports.said(MILL, REPORT, 10_000, 500)
    reports.stored(STORED)
    mill, quarry = reports.states(NODES, {MILL: "up"}, 10_000 + FRESH_MS, 500 + FRESH_MS)
    assert (mill.name, mill.link, mill.is_fresh, mill.heard_at_ms) == ("mill", "up", True, 10_000)
    assert (mill.rpo_ms, mill.rpo_worst_ms, mill.unsafe_entries, mill.lag_entries) == (900, 61_000, 2, 2)
    assert mill.stored == (STORED,)
    assert (quarry.link, quarry.is_fresh, quarry.heard_at_ms, quarry.rpo_ms) == ("down", False, None, None)
    assert not reports.states(NODES, {}, 10_001, 501 + FRESH_MS)[0].is_fresh


def risks(reports: SiteReports, mono_ms: int) -> list[int | None]:
    """Of mill and quarry. Wall time stands still: it says nothing of silence."""
    return [each.at_risk_ms for each in reports.states(NODES, {}, 10_000, mono_ms)]


def test_what_may_be_nowhere_else_is_what_a_box_said_and_its_silence_since() -> None:
    reports = SiteReports()
    assert risks(reports, 1_000) == [0, 0], "since it is known that there are boxes"
    assert risks(reports, 61_000) == [60_000, 60_000]
    reports.said(MILL, REPORT, 10_000, 61_000)
    assert risks(reports, 61_000 + FRESH_MS) == [900, 60_000 + FRESH_MS]
    assert risks(reports, 261_000) == [200_900, 260_000]
    reports.said(MILL, replace(REPORT, rpo_ms=None), 10_000, 261_000)
    assert risks(reports, 261_000) == [None, 260_000], "it says that nobody could have a copy"
    assert risks(reports, 301_000) == [40_000, 300_000]
    reports.keep([MILL])
    assert risks(reports, 301_000) == [40_000, 0], "another one of that name joins anew"


def test_of_who_is_not_in_the_roster_any_more_nothing_is_kept() -> None:
    reports = SiteReports()
    reports.said(MILL, REPORT, 10_000, 500)
    reports.stored(STORED)
    reports.keep([QUARRY])
    (mill,) = reports.states(NODES[1:], {}, 10_000, 500)
    assert (mill.heard_at_ms, mill.stored) == (None, ())


def test_a_card_says_what_its_node_is_and_an_older_one_says_nothing() -> None:
    assert NODES[0].role == "edge"
    assert entry_of(node(MILL, "cloud-1", "1" * 32, "cloud")).role == "cloud"
    old = node(MILL, "mill", "1" * 32)
    old = SignedEntry(
        **{name: getattr(old, name) for name in old.__struct_fields__}
        | {"card": old.card.replace(',"role":"edge"', "")}
    )
    assert "role" not in old.card
    assert entry_of(old).role == "edge"
    with pytest.raises(UsageError):
        entry_of(node(MILL, "mill", "1" * 32, "other"))
