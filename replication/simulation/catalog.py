"""The catalog of a node: rows that it changes, its changes as a stream of their own, and what it takes over from its site's others.

Merging, rules and clocks are the real ones (appliance/management); in place of SQL there are the states of keys in memory, which
tests/properties/test_simulation_catalog_contract.py holds to the real catalog. A change counts once its block is durable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from appliance.management.hlc import HybridClock
from appliance.management.merge import KeyState, merge
from appliance.management.merge_rules import Kind, rules_of
from appliance.management.row_change import Clock, Operation, RowChange, Seen, Value
from storage.replicas.streams import StreamId

from .frames import Frame
from .log_model import LogModel

if TYPE_CHECKING:
    from .body import Body

WRITE_INTERVAL_MS: Final = 8_000
KEYS: Final = ("a", "b", "c")
"""Few, so that nodes change the same ones."""
TABLES: Final = ("devices", "devices", "groups", "settings")
EDITS: Final = {
    "devices": ("name", "tags", "groups", "state"),
    "groups": ("name", "description"),
    "settings": ("value",),
}
FINAL: Final = "decommissioned"
_CHANGE: Final = msgspec.msgpack.Decoder(RowChange)
Key = tuple[str, str]


@dataclass(slots=True)
class CatalogState:
    """What of it lies on a disk.

    Args:
        followed: By node: the first sequence of its stream that is not taken over.
        hlc: The greatest timestamp that was given or followed.
    """

    keys: dict[Key, KeyState] = field(default_factory=dict)
    followed: dict[str, int] = field(default_factory=dict)
    hlc: int = 0
    position: int = 0

    def image(self) -> CatalogState:
        return CatalogState(dict(self.keys), dict(self.followed), self.hlc, self.position)

    def apply(self, change: RowChange) -> None:
        """A change has arrived, of this node or another."""
        key = (change.table, change.key)
        self.keys[key] = merge(rules_of(*key), self.keys.get(key, KeyState()), change)


def written_change(
    before: KeyState, table: str, key: str, row: dict[str, Value] | None, clock: Clock, position: int
) -> RowChange:
    """What writing a row comes to, as the catalog's own triggers capture it; None deletes it."""
    standing = before.row
    if standing is None or row is None:
        assert row is not None or standing is not None
        whole = row if row is not None else dict(standing.values) if standing else {}
        op: Operation = "insert" if row is not None else "delete"
        return RowChange(
            position=position, table=table, key=key, op=op, row=whole, clock=clock, generation=before.dead + 1
        )  # fmt: skip
    rules = rules_of(table, key)
    changed = tuple(sorted(name for name, value in row.items() if standing.values.get(name) != value))
    seen: dict[str, Seen] = {}
    for name in rules.wrote(changed):
        kept = standing.written.get(name)
        if kept is not None and any(
            register.name == name and register.kind is Kind.DECIDED for register in rules.registers_of(row)
        ):
            context = {origin: hlc for origin, hlc in kept.context().items() if origin != clock.origin}
            if context:
                seen[name] = context
    return RowChange(
        position=position, table=table, key=key, op="update", row=row, changed=changed, clock=clock,
        generation=before.dead + 1, seen=seen,
    )  # fmt: skip


class CatalogNode:
    """Of one process of a body.

    Args:
        body: Whose disk, links and clock they are.
    """

    def __init__(self, body: Body, site: frozenset[str], state: CatalogState) -> None:
        self._body = body
        self._site = site
        self._state = state
        self._clock = HybridClock(state.hlc)
        self.own = StreamId(body.node_id, "catalog")

    def start(self) -> None:
        """The stream is there, and what came before is taken over."""
        log = self._body.disk.logs.setdefault(self.own, LogModel(self.own, is_own=True))
        log.begin_epoch(self._body.disk.epoch)
        self._body.holds(self.own, log)
        self.follow()
        self._write_later()

    def follow(self) -> None:
        """Takes over what the copies of the site's others have."""
        for node in sorted(self._site):
            log = self._body.disk.logs.get(StreamId(node, "catalog"))
            next_seq = self._state.followed.get(node, 1)
            for frame in log.frames if log is not None else ():
                if frame.first_seq >= next_seq:
                    change = _CHANGE.decode(frame.body)
                    self._clock.follow(change.clock.hlc, self._body.wall_ms())
                    self._state.apply(change)
                    self._state.followed[node] = frame.next_seq
        self._state.hlc = max(self._state.hlc, self._clock.last)

    def _write_later(self) -> None:
        if self._body.write_interval_ms:
            self._body.after(int(self._body.source.expovariate(1 / WRITE_INTERVAL_MS)), self._write)

    def _write(self) -> None:
        if self._body.is_full or not self._body.write_interval_ms:
            self._write_later()
            return
        log = self._body.disk.logs[self.own]
        change = self._change()
        frame = log.make_frame(1, self._body.wall_ms(), msgspec.msgpack.encode(change))
        log.write(frame)
        self._body.after_disk(12, lambda: self._synced(frame, change))

    def _synced(self, frame: Frame, change: RowChange) -> None:
        log = self._body.disk.logs[self.own]
        log.sync()
        self._state.apply(change)
        self._state.position = change.position
        self._state.hlc = max(self._state.hlc, self._clock.last)
        self._body.scheduler.note(
            f"{self._body.name} {change.op}s {change.table} {change.key} {frame.next_seq}"
        )
        self._body.observer.changed(self._body, change)
        self._body.holds(self.own, log)
        self._write_later()

    def _change(self) -> RowChange:
        """Something that a person does: makes, changes or deletes one of a few rows."""
        source = self._body.source
        table, key = source.choice(TABLES), source.choice(KEYS)
        now_ms = self._body.wall_ms()
        clock = Clock(self._clock.tick(now_ms), self._body.node_id)
        before = self._state.keys.get((table, key), KeyState())
        row: dict[str, Value] | None
        if before.row is None:
            row = {name: source.choice("xyz") for name in EDITS[table]}
            if table != "settings":
                row |= {"created_at_ms": now_ms, "updated_at_ms": now_ms}
        elif source.random() < 0.15:
            row = None
        else:
            name = source.choice(EDITS[table])
            value = FINAL if name == "state" and source.random() < 0.1 else source.choice("xyz")
            row = {**before.row.values, name: value}
            if table != "settings":
                row["updated_at_ms"] = now_ms
        return written_change(before, table, key, row, clock, self._state.position + 1)


def catalog_of(body: Body) -> CatalogNode | None:
    """A process's catalog, where its disk has one."""
    if body.disk.catalog is None:
        return None
    return CatalogNode(body, body.mates, body.disk.catalog)
