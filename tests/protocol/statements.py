"""The normative statements of both standards, and the tests that say in their docstrings which of them they show.

A tag such as `[MQTT5-3.1.2-4, -5, 3.2.2-3]` in the docstring of a test names three statements of MQTT 5.0, `[MQTT3-…]`
those of MQTT 3.1.1. `python -m tests.protocol.conformance` makes docs/MQTT_CONFORMANCE.md of both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from . import statements_3, statements_5

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = {"MQTT5": statements_5.STATEMENTS, "MQTT3": statements_3.STATEMENTS}
STATEMENT_COUNT: Final = {"MQTT5": 251, "MQTT3": 141}
"""What Appendix B of each standard lists."""
TAG: Final = re.compile(r"\[(MQTT[35])-([^\]]*)\]")
NUMBER: Final = re.compile(r"\d+\.\d+\.\d+-\d+")


class Duty(StrEnum):
    """Whose duty a statement is."""

    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"
    NONE = "none"
    """Of nobody here, because of what this broker is; the statement says why."""

    @property
    def is_servers(self) -> bool:
        return self in (Duty.SERVER, Duty.BOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One row of Appendix B.

    Attributes:
        standard: "MQTT5" or "MQTT3".
        number: As in the standard: section and number in it, such as 3.1.2-4.
        asks: What for, in our own words.
        why_not: Why it is nobody's duty here; "" where it is somebody's.
    """

    standard: str
    number: str
    duty: Duty
    asks: str
    why_not: str

    @property
    def key(self) -> str:
        return f"{self.standard}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedTest:
    """A test that shows something: where it is, and which statements (`Statement.key`)."""

    path: str
    name: str
    shows: tuple[str, ...]

    @property
    def is_of_the_broker(self) -> bool:
        """Whether it asks a live broker, not the codec alone."""
        return not Path(self.path).name.startswith("test_codec_")


@cache
def statements() -> tuple[Statement, ...]:
    """All of both standards, in their order."""
    return tuple(
        _statement(standard, line) for standard, text in SOURCES.items() for line in text.strip().splitlines()
    )


def _statement(standard: str, line: str) -> Statement:
    number, duty, asks, *why = (part.strip() for part in line.split("|"))
    assert NUMBER.fullmatch(number), line
    assert bool(why) is (duty == Duty.NONE), f"why is it nobody's, or whose is it? {line}"
    return Statement(
        standard=standard, number=number, duty=Duty(duty), asks=asks, why_not=why[0] if why else ""
    )


def tagged_keys(docstring: str) -> Iterator[str]:
    """The statements that a docstring names; `-5` is of the section named before it."""
    for standard, listed in TAG.findall(docstring):
        section = ""
        for item in re.split(r",\s*", listed):
            if item.startswith("-"):
                assert section, f"{item} of which section? [{standard}-{listed}]"
                item = section + item
            assert NUMBER.fullmatch(item), f"{item!r} in [{standard}-{listed}]"
            section = item.partition("-")[0]
            yield f"{standard}-{item}"


@cache
def tagged_tests() -> tuple[TaggedTest, ...]:
    """All tests whose docstrings name statements, by file and place in it."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if TAG.search(text) is None:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                shows = tuple(dict.fromkeys(tagged_keys(ast.get_docstring(node) or "")))
                if shows:
                    where = path.relative_to(ROOT).as_posix()
                    found.append(TaggedTest(path=where, name=node.name, shows=shows))
    return tuple(found)


def shown_by(statement: Statement) -> list[TaggedTest]:
    return [test for test in tagged_tests() if statement.key in test.shows]
