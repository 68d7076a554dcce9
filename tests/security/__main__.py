"""Makes the tables of docs/SECURITY.md: `python -m tests.security` writes them into the file, below its mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from . import asvs_identity, asvs_system, asvs_web, etsi
from .items import ROOT, STATES, Item

DOCUMENT: Final = ROOT / "docs" / "SECURITY.md"
MARK: Final = "<!-- The tables are made by: python -m tests.security -->\n"
ASVS: Final = asvs_web.ITEMS + asvs_identity.ITEMS + asvs_system.ITEMS
ETSI: Final = etsi.ITEMS


def tables() -> str:
    """Both tables, Markdown."""
    return "".join(
        (
            *_table("ETSI EN 303 645 V2.1.1", "Status", ETSI),
            *_table("OWASP ASVS 5.0.0, levels 1 and 2", "Level", ASVS),
        )
    )


def _table(title: str, level: str, items: Sequence[Item]) -> Iterator[str]:
    counts = {word: sum(STATES[item.state] == word for item in items) for word in ("yes", "no", "n/a")}
    yield f"\n## {title}\n"
    yield f"{counts['yes']} met, {counts['no']} not met, {counts['n/a']} that ask nothing of this program.\n\n"
    yield f"| No. | {level} | What it asks | Met | Shown by, or why |\n|---|---|---|---|---|\n"
    for item in items:
        tests = ", ".join(f"`{test}`" for test in item.tests)
        yield f"| {item.number} | {item.level} | {item.what} | {STATES[item.state]} | {' '.join(filter(None, (item.words, tests)))} |\n"


def write() -> None:
    """Replace what stands below the mark."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(text[: text.index(MARK) + len(MARK)] + tables(), encoding="utf-8")


if __name__ == "__main__":
    write()
