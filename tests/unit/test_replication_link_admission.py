"""Who may have a link, and why not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appliance.core.limits import CLOCK_WRONG_BEFORE_MS
from appliance.identity.fleet_certificates import LinkIdentity
from appliance.management.fleet import Roster
from replication.link.admission import judge, trusted_now_ms, wins
from replication.link.messages import LINK_VERSION, Hello
from tests.unit.test_management_fleet import AUTHORITY, A, B, entry, roster

NOW_MS = 1_000_000
CERTIFICATE = LinkIdentity(
    node_id=B,
    site_id="1" * 32,
    instance="9" * 32,
    fingerprint="f" * 64,
    issued_at_ms=1_000,
    ends_at_ms=2_000_000,
)


def hello(**change: Any) -> Hello:
    said = Hello(LINK_VERSION, B, "1" * 32, "9" * 32, "5" * 32, "0.1", NOW_MS, entry(B).signed)
    return msgspec.structs.replace(said, **change)


def judged(
    said: Hello, certificate: LinkIdentity = CERTIFICATE, known: Roster | None = None, now_ms: int = NOW_MS
) -> str:
    found = judge(said, certificate, known or Roster(AUTHORITY), A, now_ms)
    return "" if found is None else found.reason


def test_a_node_of_the_fleet_is_let_in_known_or_not() -> None:
    assert judged(hello()) == ""
    assert judged(hello(), known=roster(entry(B))) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version"),
        ({"version": 0}, "version"),
        ({"node_id": "c" * 32}, "identity"),
        ({"site_id": "2" * 32}, "identity"),
        ({"instance": "8" * 32}, "identity"),
        ({"entry": entry(A).signed}, "identity"),
    ],
)
def test_who_says_something_else_than_its_certificate_is_refused(change: dict[str, Any], reason: str) -> None:
    assert judged(hello(**change)) == reason


def test_we_are_nobody_else() -> None:
    own = msgspec.structs.replace(hello(), node_id=A, entry=entry(A).signed)
    assert judged(own, LinkIdentity(**{**_fields(), "node_id": A})) == "self"


def test_a_certificate_has_an_end_whatever_our_clock_says() -> None:
    assert judged(hello(), now_ms=2_000_001) == "expired"
    newest = roster(entry("d" * 32, issued_at_ms=2_000_001))
    assert judged(hello(), known=newest, now_ms=0) == "expired"
    assert trusted_now_ms(0, newest) == 2_000_001


def test_a_box_that_made_a_certificate_in_2099_ends_nobody_elses() -> None:
    newest = roster(entry("d" * 32, issued_at_ms=4_070_908_800_000))
    assert trusted_now_ms(CLOCK_WRONG_BEFORE_MS, newest) == CLOCK_WRONG_BEFORE_MS
    assert trusted_now_ms(CLOCK_WRONG_BEFORE_MS - 1, newest) == 4_070_908_800_000


def test_a_decommissioned_node_is_refused_before_all_else_that_may_be_wrong_with_it() -> None:
    assert judged(hello(), known=roster(entry(B, gone=True)), now_ms=3_000_000) == "decommissioned"


def test_another_instance_is_a_clone_unless_it_joined_later() -> None:
    other = LinkIdentity(**{**_fields(), "instance": "8" * 32})
    said = hello(instance="8" * 32)
    assert judged(said, other, roster(entry(B, issued_at_ms=1_000))) == "clone"
    assert judged(said, other, roster(entry(B, issued_at_ms=999))) == ""


def test_of_two_links_one_wins_on_both_ends() -> None:
    assert wins(dialler_id=A, other_id=B)
    assert not wins(dialler_id=B, other_id=A)


def _fields() -> dict[str, Any]:
    return {name: getattr(CERTIFICATE, name) for name in LinkIdentity.__slots__}
