"""docs/SECURITY.md says what the tables of this folder say, and they name tests that exist."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache

import pytest

from .__main__ import ASVS, DOCUMENT, ETSI, MARK, tables
from .items import ROOT, Item

ALL = (*ETSI, *ASVS)


@cache
def names_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("item", [item for item in ALL if item.tests], ids=lambda item: item.number)
def test_the_tests_that_are_named_exist(item: Item) -> None:
    for name in item.tests:
        path, _, test = name.partition("::")
        assert names_of(path), f"{path} has no tests"
        assert not test or test in names_of(path), name


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.number)
def test_a_requirement_has_a_test_or_a_reason(item: Item) -> None:
    assert (item.state == "shown") == bool(item.tests)
    assert item.state == "shown" or item.words


def test_no_requirement_stands_twice() -> None:
    for items in (ETSI, ASVS):
        assert max(Counter(item.number for item in items).values()) == 1


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8").partition(MARK)[2] == tables(), "python -m tests.security"
