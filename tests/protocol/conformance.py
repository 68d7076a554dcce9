"""docs/MQTT_CONFORMANCE.md: every normative statement of both standards, whose duty it is, and the tests that show it.

`python -m tests.protocol.conformance` writes it to standard output; a test holds the file to it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .statements import ROOT, Duty, Statement, TaggedTest, shown_by, statements

DOCUMENT: Final = ROOT / "docs" / "MQTT_CONFORMANCE.md"
TITLES: Final = {
    "MQTT5": "MQTT 5.0 (OASIS Standard, 7 March 2019)",
    "MQTT3": "MQTT 3.1.1 (OASIS Standard, 29 October 2014)",
}
HEAD: Final = """\
# MQTT, statement by statement
What the standards ask for by number (Appendix B of each), in our own words, and the tests that show that the broker does it. The
broker serves MQTT 3.1 too, as 3.1.1 with its own protocol name; that standard has no numbered statements.

* **server**, **both**: the broker's duty, alone or as every program's. Each has a test, in which packets of a builder that imports nothing
  of the program go to a live broker.
* **client**: a client's. Tests that stand there show what becomes of one that breaks it.
* **none**: asks nothing of this broker; the reason is in the last column.

The tables are made from `tests/protocol/statements_5.py`, `statements_3.py` and the docstrings of the tests, by
`python -m tests.protocol.conformance`. `tests/protocol/test_conformance.py` fails when a statement is missing, a duty has no test, or this
file is out of date. A test `broker_01_connect::connect_success` is `test_01_connect_success` of `tests/protocol/test_broker_01_connect.py`; others have
their path.
"""


def document() -> str:
    """The whole file."""
    return "".join((HEAD, *(part for standard in TITLES for part in _table(standard))))


def _table(standard: str) -> Iterator[str]:
    listed = [statement for statement in statements() if statement.standard == standard]
    counts = Counter(statement.duty for statement in listed)
    of_server = sum(statement.duty.is_servers for statement in listed)
    yield f"\n## {TITLES[standard]}\n"
    yield (
        f"{len(listed)} statements: {of_server} for a server, {counts[Duty.CLIENT]} for clients alone, "
        f"{counts[Duty.NONE]} that ask nothing of this broker.\n\n"
    )
    yield "| Statement | Duty | Asks that | Shown by |\n|---|---|---|---|\n"
    yield from (_row(statement) for statement in listed)


def _row(statement: Statement) -> str:
    shown = ", ".join(f"`{_short(test)}`" for test in shown_by(statement))
    last = "; ".join(part for part in (statement.why_not, shown) if part)
    asks = statement.asks.replace("|", "\\|")
    return f"| {statement.number} | {statement.duty} | {asks} | {last} |\n"


def _short(test: TaggedTest) -> str:
    path = Path(test.path)
    if path.parent.as_posix() != "tests/protocol":
        return f"{path.as_posix()}::{test.name}"
    file = path.stem.removeprefix("test_")
    number = file.split("_")[1]
    return f"{file}::{test.name.removeprefix(f'test_{number}_')}"


if __name__ == "__main__":
    sys.stdout.write(document())
