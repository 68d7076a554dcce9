"""A chain is whole, or the first thing that is wrong with it is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.core.limits import AUDIT_UNSIGNED_MS_MAX
from appliance.management.audit import AuditEntry, hash_of
from appliance.management.audit_chain import ChainCheck, ChainReport, SignedHead, remembered_head
from tests.audit_kit import NOW_MS, ORIGIN, chain


def signed(entry: AuditEntry, signature: str = "right") -> SignedHead:
    return SignedHead(
        origin=entry.origin,
        seq=entry.seq,
        hash=entry.hash,
        signed_at_ms=NOW_MS,
        key_id="ours",
        signature=signature,
    )


def checked(
    entries: list[AuditEntry], *heads: SignedHead, now_ms: int = NOW_MS, must_be_signed: bool = True
) -> ChainReport:
    check = ChainCheck(
        origin=ORIGIN,
        heads=heads,
        is_signed=lambda head: head.signature == "right",
        must_be_signed=must_be_signed,
    )
    check.add(entries)
    return check.end(now_ms)


def fault_of(report: ChainReport) -> tuple[str, int]:
    assert report.fault is not None
    assert report.fault.entry_id == f"{ORIGIN}-{report.fault.seq}"
    return report.fault.code, report.fault.seq


def test_a_whole_chain() -> None:
    entries = chain(5)
    report = checked(entries, signed(entries[1]), signed(entries[4]))
    assert report.fault is None
    assert (report.entry_count, report.newest_seq, report.newest_hash) == (5, 5, entries[4].hash)
    assert (report.signed_seq, report.signed_at_ms) == (5, NOW_MS)


def test_an_empty_chain() -> None:
    report = checked([])
    assert (report.fault, report.entry_count, report.newest_hash) == (None, 0, "0" * 64)


@given(st.integers(2, 8), st.data())
def test_any_changed_field_is_found(count: int, data: st.DataObject) -> None:
    entries = chain(count)
    index = data.draw(st.integers(0, count - 1))
    name = data.draw(
        st.sampled_from(
            [
                "at_ms",
                "actor",
                "actor_kind",
                "address",
                "action",
                "object_id",
                "outcome",
                "after",
                "detail",
                "trace_id",
            ]
        )
    )
    value = data.draw(st.one_of(st.integers(), st.text(), st.none()))
    if getattr(entries[index], name) == value:
        return
    changed: Any = {name: value}
    entries[index] = replace(entries[index], **changed)
    assert fault_of(checked(entries)) == ("entry_changed", index + 1)


@given(st.integers(3, 8), st.data())
def test_an_entry_that_was_taken_out_is_found(count: int, data: st.DataObject) -> None:
    entries = chain(count)
    index = data.draw(st.integers(0, count - 2))
    del entries[index]
    report = checked(entries)
    assert fault_of(report) == ("entry_missing", index + 1)
    assert report.entry_count == index


@given(st.integers(3, 8), st.data())
def test_entries_in_another_order_are_found(count: int, data: st.DataObject) -> None:
    entries = chain(count)
    first, second = sorted(
        data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True))
    )
    entries[first], entries[second] = entries[second], entries[first]
    assert fault_of(checked(entries)) == ("entry_missing", first + 1)


def test_an_entry_that_is_there_twice_is_found() -> None:
    entries = chain(3)
    assert fault_of(checked([*entries, entries[1]])) == ("entry_relinked", 2)


def test_an_entry_that_was_replaced_with_its_own_hash_is_found() -> None:
    entries = chain(3)
    entries[1] = replace(entries[1], detail="another")
    entries[1] = replace(entries[1], hash=hash_of(entries[1]))
    assert fault_of(checked(entries)) == ("entry_relinked", 3)


def test_a_history_that_was_written_anew_does_not_fit_what_was_signed() -> None:
    entries, other = chain(5), chain(5, detail="another history")
    report = checked(other, signed(entries[2]))
    assert fault_of(report) == ("history_rewritten", 3)
    assert report.fault is not None
    assert entries[2].hash[:16] in report.fault.message
    assert report.fault.at_ms == other[2].at_ms


def test_nor_does_it_fit_what_somebody_noted() -> None:
    entries, other = chain(5), chain(5, detail="another history")
    report = checked(other, remembered_head(f"5:{entries[4].hash.upper()}", ORIGIN))
    assert fault_of(report) == ("history_rewritten", 5)
    assert report.fault is not None
    assert "noted" in report.fault.message


def test_the_newest_entries_are_missed() -> None:
    entries = chain(5)
    for head in (signed(entries[4]), remembered_head(f"5:{entries[4].hash}", ORIGIN)):
        assert fault_of(checked(entries[:3], head)) == ("newest_missing", 4)


def test_a_signature_of_another_key_counts_for_nothing() -> None:
    entries = chain(3)
    assert fault_of(checked(entries, signed(entries[1], "wrong"))) == ("signature_wrong", 2)


def test_old_entries_have_to_be_signed() -> None:
    entries = chain(3)
    old = NOW_MS + AUDIT_UNSIGNED_MS_MAX + 1
    assert fault_of(checked(entries, now_ms=old)) == ("not_signed", 1)
    assert fault_of(checked(entries, signed(entries[1]), now_ms=old)) == ("not_signed", 3)
    assert checked(entries, signed(entries[2]), now_ms=old).fault is None
    assert checked(entries, now_ms=old, must_be_signed=False).fault is None
    # What somebody noted is no signature.
    assert fault_of(checked(entries, remembered_head(f"3:{entries[2].hash}", ORIGIN), now_ms=old)) == (
        "not_signed",
        1,
    )


def test_it_stops_looking_at_the_first_fault() -> None:
    entries = chain(4)
    del entries[1]
    check = ChainCheck(origin=ORIGIN, heads=(), is_signed=lambda _: True)
    assert check.add(entries[:1])
    assert not check.add(entries[1:2])
    assert not check.add(entries[2:])
    assert check.end(NOW_MS).entry_count == 1


def test_what_is_signed_is_said_exactly() -> None:
    """Another program has to make the same bytes."""
    head = SignedHead(origin="ab", seq=7, hash="cd", signed_at_ms=9)
    assert head.signed_bytes() == b'["homeport-audit-head/1","ab",7,"cd",9]'


@pytest.mark.parametrize(
    "text", ["", "7", "7:", ":" + "a" * 64, "0:" + "a" * 64, "x:" + "a" * 64, "7:" + "g" * 64, "7:abc"]
)
def test_what_is_no_head(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        remembered_head(text, ORIGIN)
    assert refused.value.code == "audit_head_invalid"
