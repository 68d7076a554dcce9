"""The list of statements is whole, every duty of a server is shown by a test, and the document says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conformance import DOCUMENT, document
from .statements import ROOT, STATEMENT_COUNT, shown_by, statements, tagged_keys, tagged_tests


@pytest.mark.parametrize("standard", list(STATEMENT_COUNT))
def test_no_statement_is_missing(standard: str) -> None:
    """As many as Appendix B has, none twice, and numbered without a gap in every section."""
    numbers = [s.number for s in statements() if s.standard == standard]
    assert len(numbers) == len(set(numbers)) == STATEMENT_COUNT[standard]
    sections: dict[str, list[int]] = {}
    for number in numbers:
        section, _, place = number.partition("-")
        sections.setdefault(section, []).append(int(place))
    # The standard has no 2.2.1-1: its first statement there was taken out.
    first = {"2.2.1": 2} if standard == "MQTT5" else {}
    assert {
        section: places
        for section, places in sections.items()
        if places != list(range(first.get(section, 1), places[-1] + 1))
    } == {}


def test_tags_name_statements_that_there_are() -> None:
    known = {statement.key for statement in statements()}
    assert {key for test in tagged_tests() for key in test.shows} - known == set()


def test_every_duty_of_a_server_is_shown() -> None:
    missing = [
        f"{s.key}: {s.asks}"
        for s in statements()
        if s.duty.is_servers and not any(test.is_of_the_broker for test in shown_by(s))
    ]
    assert missing == []


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "python -m tests.protocol.conformance"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests" / "protocol").glob("*.py")), ids=lambda path: path.name
)
def test_statements_are_named_with_their_standard(path: Path) -> None:
    """The same number means one thing in 5.0 and another in 3.1.1."""
    assert "[MQTT" + "-" not in path.read_text(encoding="utf-8")


def test_tags_are_read() -> None:
    docstring = "Says. [MQTT5-3.1.2-4, -5, 3.2.2-3] [MQTT3-4.1.0-1]\n\n    [MQTT5-1.5.4-1,\n    -2]"
    assert list(tagged_keys(docstring)) == [
        "MQTT5-3.1.2-4",
        "MQTT5-3.1.2-5",
        "MQTT5-3.2.2-3",
        "MQTT3-4.1.0-1",
        "MQTT5-1.5.4-1",
        "MQTT5-1.5.4-2",
    ]
    for wrong in ("[MQTT5--4]", "[MQTT5-3.1.2]", "[MQTT3-3.1.2-]"):
        with pytest.raises(AssertionError):
            list(tagged_keys(wrong))
