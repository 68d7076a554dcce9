"""The laws of merging: whatever way changes of several nodes reach a node, it comes to the same rows and the same conflicts.

Changes are made by nodes that write what they see, as real ones do, and hear of each other's in the order of each stream, late or never.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.management.merge import KeyState, merge
from appliance.management.merge_rules import TableRules, rules_of
from appliance.management.row_change import Clock, RowChange, Value

TABLES = ("devices", "device_tokens", "users", "rules", "executions", "alarm_events", "known_bad", "claims")
COLUMNS: dict[str, dict[str, tuple[Value, ...]]] = {
    "devices": {"state": ("active", "waiting", "rejected", "decommissioned"), "name": ("a", "b"), "groups": ("[]", '["g"]'),
                "kind": ("device", "application"), "role": ("", "r"), "first_contact_at_ms": (None, 1, 2)},
    "device_tokens": {"revoked_at_ms": (None, 3, 4), "expires_at_ms": (None, 5)},
    "users": {"role": ("viewer", "admin"), "scope": ("null", "[]"), "disabled": (0, 1), "credentials_changed_at_ms": (1, 2, 3)},
    "rules": {"definition": ("{}", '{"a":1}'), "version": (1, 2, 3), "is_enabled": (0, 1), "name": ("x", "y")},
    "executions": {"state": ("queued", "installing"), "home": ("a", "b"), "home_fence": (0, 1, 2)},
    "alarm_events": {"note": ("a", "b")},
    "known_bad": {"reason": ("a", "b")},
    "claims": {"use_count": (0, 1, 2, 3), "revoked_at_ms": (None, 7), "name": ("a", "b")},
}  # fmt: skip


@dataclass
class Node:
    """One that writes and listens; its clock is a counter of its own, so clocks of nodes differ by any amount."""

    name: str
    clock: int
    state: KeyState = field(default_factory=KeyState)
    written: list[RowChange] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)

    def write(self, rules: TableRules, table: str, dice: random.Random) -> None:
        row = self.state.row
        if row is None:
            values = {name: dice.choice(options) for name, options in COLUMNS[table].items()}
            self._say(rules, table, "insert", values, (), self.state.dead + 1)
            return
        if dice.random() < 0.15:
            self._say(rules, table, "delete", dict(row.values), (), self.state.dead + 1)
            return
        changed = dice.sample(sorted(COLUMNS[table]), dice.randint(1, len(COLUMNS[table])))
        values = {**row.values, **{name: dice.choice(COLUMNS[table][name]) for name in changed}}
        for name in changed:
            # What real nodes don't do: take back a decommissioning, let a count fall.
            if row.values[name] == "decommissioned" or name.endswith(("_count", "_at_ms")):
                values[name] = row.values[name]
        differ = tuple(name for name in changed if values[name] != row.values[name])
        if differ:
            self._say(rules, table, "update", values, differ, self.state.dead + 1)

    def _say(self, rules, table, op, values, changed, generation) -> None:  # type: ignore[no-untyped-def]
        row = self.state.row
        seen = {}
        # Later than all that it replaces, as the triggers have it.
        last = max((each.clock.hlc for each in row.written.values()), default=0) if row else 0
        self.clock = max(self.clock, last) + 1
        if row is not None and op == "update":
            for name in rules.wrote(changed):
                if name in row.written:
                    seen[name] = {o: c for o, c in row.written[name].context().items() if o != self.name}
        change = RowChange(
            position=len(self.written) + 1, table=table, key="k", op=op, row=values, changed=changed,
            clock=Clock(self.clock, self.name), generation=generation, seen=seen,
        )  # fmt: skip
        self.written.append(change)
        self.state = merge(rules, self.state, change)

    def hear(self, rules: TableRules, other: Node, count: int) -> None:
        at = self.heard.get(other.name, 0)
        for change in other.written[at : at + count]:
            self.state = merge(rules, self.state, change)
        self.heard[other.name] = min(at + count, len(other.written))


def history(table: str, seed: int, nodes: int, steps: int) -> list[Node]:
    dice, rules = random.Random(seed), rules_of(table)
    site = [Node(name=f"{n}" * 4, clock=dice.randint(0, 60)) for n in range(nodes)]
    for _ in range(steps):
        node = dice.choice(site)
        if dice.random() < 0.5:
            node.write(rules, table, dice)
        else:
            node.hear(rules, dice.choice([each for each in site if each is not node]), dice.randint(1, 4))
    return site


@given(
    st.sampled_from(TABLES),
    st.integers(0, 10**9),
    st.integers(2, 4),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
@settings(max_examples=120, deadline=None)
def test_any_order_of_the_same_changes_any_number_of_times_is_the_same_row(
    table: str, seed: int, nodes: int, steps: int, order: random.Random
) -> None:
    rules, site = rules_of(table), history(table, seed, nodes, steps)
    changes = [change for node in site for change in node.written]
    outcomes = []
    for _ in range(3):
        shuffled = changes + order.sample(changes, len(changes) // 2)
        order.shuffle(shuffled)
        state = KeyState()
        for change in shuffled:
            state = merge(rules, state, change)
        outcomes.append(state)
    # And the nodes themselves, each having written some of them and heard of the rest at last.
    for node in site:
        for other in site:
            node.hear(rules, other, len(changes))
        outcomes.append(node.state)
    assert all(each == outcomes[0] for each in outcomes), outcomes


@given(st.sampled_from(TABLES), st.integers(0, 10**9), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_a_change_that_is_known_changes_nothing(table: str, seed: int, steps: int) -> None:
    rules = rules_of(table)
    for node in history(table, seed, 3, steps):
        for change in node.written:
            assert merge(rules, node.state, change) is node.state
