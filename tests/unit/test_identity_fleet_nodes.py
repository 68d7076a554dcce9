"""Which node of a fleet somebody means."""

from __future__ import annotations

import pytest

from appliance.core.errors import Conflict, NotFound
from appliance.identity.fleet_nodes import find_node, known
from tests.unit.test_management_fleet import A, B, entry, roster


def test_a_node_is_found_by_its_name_or_the_beginning_of_its_id() -> None:
    nodes = roster(entry(A, name="cellar"), entry(B, name="cellar"))
    assert find_node(nodes, "bbbbbb").node_id == B
    for text, kind in (("cellar", Conflict), ("bbbbb", NotFound), ("", NotFound)):
        with pytest.raises(kind):
            find_node(nodes, text)


def test_no_box_takes_itself_out() -> None:
    nodes = roster(entry(A, name="cellar"))
    assert known(nodes, A, own=B).node_id == A
    with pytest.raises(Conflict):
        known(nodes, A, own=A)
    with pytest.raises(NotFound):
        known(nodes, B, own=A)
