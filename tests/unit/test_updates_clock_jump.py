"""A clock that went back while the node was away."""

from __future__ import annotations

from appliance.updates.clock_jump import jump_while_away


def test_while_the_node_was_away() -> None:
    assert jump_while_away(1_000, 900) == -100
    assert jump_while_away(1_000, 5_000) == 0
