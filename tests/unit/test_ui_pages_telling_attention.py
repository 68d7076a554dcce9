"""Nobody would hear of an urgent alarm: the Overview says so, and where that is changed."""

from __future__ import annotations

from pathlib import Path

from tests.node_kit import running_node
from tests.people_kit import person
from ui.pages.telling_attention import telling_attention


def test_it_is_said_while_nobody_is_told() -> None:
    assert telling_attention(is_anybody_told=True) == ()
    (line,) = telling_attention(is_anybody_told=False)
    assert (line.text, line.url) == ("Nobody would be told of an urgent alarm (P1).", "/notifications")


async def test_it_stands_on_the_overview_with_a_way_for_whoever_can_change_it(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        for role, may in (("installer", True), ("viewer", False)):
            async with person(node, role) as client:  # type: ignore[arg-type]
                page = (await client.get("/")).text
                assert "Nobody would be told of an urgent alarm" in page
                assert ("Say who is told" in page) is may
