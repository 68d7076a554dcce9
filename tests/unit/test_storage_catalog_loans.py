"""Loans: who may begin one, who is told of it in the end, and what borrowers are called."""

from __future__ import annotations

import functools

import pytest

from appliance.core.limits import CATALOG_GRACE_MS
from storage.catalog.loans import Loan, place_of


def named(_catalog: object) -> None: ...


class CallableObject:
    def __call__(self, _catalog: object) -> None: ...


def test_a_borrower_is_a_function_and_where_it_stands() -> None:
    line = named.__code__.co_firstlineno
    assert place_of(named) == f"named (tests/unit/test_storage_catalog_loans.py:{line})"
    assert place_of(functools.partial(named, None)) == place_of(named)
    assert place_of(lambda _: None).startswith("<lambda> (tests/unit/test_storage_catalog_loans.py:")
    assert place_of(CallableObject()) == "CallableObject"
    assert place_of(len) == "len"


def test_a_function_from_elsewhere_is_named_by_its_file() -> None:
    assert place_of(functools.reduce) == "reduce"
    assert place_of(functools.wraps).startswith("wraps (functools.py:")


def test_only_one_begins_it_or_calls_it_off() -> None:
    loan = Loan(1, "x", 100)
    assert [loan.claim(), loan.claim()] == [True, False]


@pytest.mark.parametrize("leaves_first", [True, False])
def test_who_left_hears_of_the_result_whichever_comes_first(leaves_first: bool) -> None:
    heard: list[int] = []
    loan = Loan(1, "x", 100, heard.append)
    loan.result = (7,)
    steps = [loan.leave, loan.over] if leaves_first else [loan.over, loan.leave]
    for step in steps:
        step()
    assert heard == [7]


def test_who_waited_to_the_end_is_not_told_again_and_a_failure_is_no_result() -> None:
    heard: list[int] = []
    waited = Loan(1, "x", 100, heard.append)
    waited.result = (7,)
    waited.over()
    failed = Loan(2, "x", 100, heard.append)
    failed.leave()
    failed.over()
    assert heard == []


def test_it_is_overdue_when_sqlite_should_have_ended_it() -> None:
    loan = Loan(1, "x", 100, began_mono_ms=1_000)
    assert not loan.borrower(1_100 + CATALOG_GRACE_MS).is_overdue
    late = loan.borrower(1_101 + CATALOG_GRACE_MS)
    assert (late.is_overdue, late.held_ms, late.who) == (True, 101 + CATALOG_GRACE_MS, "x")
