"""A requirement of a standard, and what shows that it is met or why it does not apply.

Numbers, levels and subjects are the standards'; the words are ours. Sources: OWASP ASVS 5.0.0 (May 2025), levels 1 and 2;
ETSI EN 303 645 V2.1.1 (2020-06), Table B.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).parents[2]
State = Literal["shown", "held", "none", "open"]
STATES: Final[dict[State, str]] = {
    "shown": "yes",
    "held": "yes",
    "none": "n/a",
    "open": "no",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One requirement.

    Attributes:
        number: As the standard writes it.
        level: "1", "2" (ASVS); "M", "R", with C for conditional (ETSI).
        state: `shown` by the tests; `held` by what the words say and no test can show; `none`: asks nothing of this
            program; `open`: not met, with the reason.
        tests: Paths below tests/, with "::name" for one test of a file.
        words: How, or why not.
    """

    number: str
    level: str
    what: str
    state: State
    tests: tuple[str, ...] = ()
    words: str = ""


def shown(number: str, level: str, what: str, *tests: str, words: str = "") -> Item:
    return Item(number=number, level=level, what=what, state="shown", tests=tests, words=words)


def held(number: str, level: str, what: str, words: str) -> Item:
    return Item(number=number, level=level, what=what, state="held", words=words)


def none(number: str, level: str, what: str, words: str) -> Item:
    return Item(number=number, level=level, what=what, state="none", words=words)


def unmet(number: str, level: str, what: str, words: str) -> Item:
    return Item(number=number, level=level, what=what, state="open", words=words)
