"""Real catalogs of a site: whatever is written where, and heard of in whatever order, all come to the same rows, names and conflicts."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError
from tests.merge_kit import SiteNode, converge, differences

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA"


def write_something(node: SiteNode, dice: random.Random) -> None:
    """One of the things that people do; what is refused here and now was not done."""
    catalog, key = node.catalog, dice.choice(("a", "b"))
    acts = (
        lambda: catalog.add_device(key, name=dice.choice("xy")),
        lambda: catalog.edit_device(key, name=dice.choice("xyz")),
        lambda: catalog.edit_device(key, tags=(dice.choice("xyz"),)),
        lambda: catalog.note_first_contact([key], at_ms=node.clock.now_ms()),
        lambda: catalog.adopt_device(key),
        lambda: catalog.reject_device(key),
        lambda: catalog.decommission_device(key) if dice.random() < 0.2 else None,
        lambda: catalog.set_token(key, dice.choice("xyz").encode() * 32),
        lambda: catalog.revoke_token(key, dice.choice("xyz").encode().hex() * 32),
        lambda: catalog.add_group(key, name=dice.choice("xy")),
        lambda: catalog.edit_group(key, name=dice.choice("xyz")),
        lambda: catalog.remove_group(key),
        lambda: catalog.add_user(key, role="viewer", password_hash=HASH),
        lambda: catalog.set_role(key, dice.choice(("viewer", "operator", "installer")), None),
        lambda: catalog.disable_user(key),
        lambda: catalog.enable_user(key),
        lambda: catalog.remove_user(key),
        lambda: catalog.set_setting("site.name", dice.choice("xyz")),
        lambda: catalog.set_setting("firmware_fence", catalog.get_setting("firmware_fence", 0) + 1),
        lambda: _name_list(node, dice.choice("lmn"), dice.choice("xy")),
        lambda: _name_list(node, dice.choice("lmn"), ""),
        lambda: _resolve(node, dice),
    )
    try:
        with catalog.transaction():
            dice.choice(acts)()
    except HomeportError:
        pass


def _name_list(node: SiteNode, list_id: str, name: str) -> None:
    catalog = node.catalog
    if not name:
        catalog.execute("DELETE FROM on_call_lists WHERE list_id = ?", (list_id,))
        return
    catalog.execute(
        "INSERT INTO on_call_lists (list_id, name, definition, created_at_ms, updated_at_ms, origin, hlc) VALUES (?, ?, '{}', 0, 0, ?, ?) "
        "ON CONFLICT (list_id) DO UPDATE SET name = excluded.name, origin = excluded.origin, hlc = excluded.hlc",
        (list_id, name, node.node_id, catalog.hlc),
    )


def _resolve(node: SiteNode, dice: random.Random) -> None:
    conflicts = node.catalog.list_conflicts().conflicts
    if conflicts:
        chosen = dice.choice(conflicts)
        node.catalog.resolve_conflict(chosen.conflict_id, dice.randrange(len(chosen.candidates)), by="ada")


@given(st.integers(0, 10**9), st.integers(5, 40))
@settings(max_examples=12, deadline=None)
def test_all_nodes_come_to_the_same_catalog(seed: int, steps: int) -> None:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        nodes = [
            SiteNode(Path(folder), n, ManualClock(1_700_000_000_000 + dice.randint(0, 400_000)))
            for n in (1, 2, 3)
        ]
        try:
            for _ in range(steps):
                node = dice.choice(nodes)
                node.clock.advance(dice.choice((0, 1, 1_000)))
                if dice.random() < 0.6:
                    write_something(node, dice)
                else:
                    other = dice.choice([each for each in nodes if each is not node])
                    node.hear(other, count=dice.randint(1, 8), again=dice.choice((0, 0, 3)))
            converge(*nodes)
            for other in nodes[1:]:
                assert differences(nodes[0], other) == ""
            assert sum(node.catalog.count_set_aside() for node in nodes) == 0
        finally:
            for node in nodes:
                node.close()
