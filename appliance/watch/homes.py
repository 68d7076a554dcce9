"""On a site every node sees all readings, and one of them says what is wrong with a device: its home, the node that heard of it last.

Theory of operation. All nodes find the same, since all see the same readings, each a little later than the node that took them. What a home finds is
passed on at once. What is found elsewhere is held back. If readings or connections say it, it is passed on after WATCH_HELD_BACK_MS all the same: by
then what the home found has long come by the catalog, and applying it again changes nothing, since an alarm's id and its events follow from what it is about
and when; but where the home died first, or could not be told, somebody is told. What only the clock says (silence) is passed on by the home alone, since elsewhere
it may be the copy that is late.

When a device goes to another node its state is there already. What was held back of it is passed on then, so that nothing is lost between
the two, and what the old home raised ends here.

The home is the node with the newest arrival, of two the greater id: the same on all nodes once they have the same records. What is about no
device (a site, a group) is at home at the node with the least id of those that were heard of in the last five minutes.

Pure. A box without others passes everything on, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from appliance.core.limits_watch import WATCH_HELD_BACK_COUNT_MAX, WATCH_HELD_BACK_MS, WATCH_NODE_HERE_MS
from appliance.management.arrived import Heard
from appliance.management.rule_transition import AlarmKey, Transition

OWN: Final = ""
_LOOK_MS: Final = 1_000
"""How often what is held back is looked through."""


class _Held(msgspec.Struct, array_like=True):
    transition: Transition
    since_ms: int
    is_by_clock: bool


class SavedHomes(msgspec.Struct, array_like=True, frozen=True):
    """As `Homes` is saved: devices that others were heard of with, nodes and when they were last, what is held back."""

    devices: dict[str, tuple[str, int]] = {}
    nodes: dict[str, int] = {}
    held: list[_Held] = []


class Homes:
    """See the module.

    Args:
        own_id: This node's; "" on a box that is alone.
    Attributes:
        late_total: Transitions that were passed on though they are another node's. full_total: Those that there was no room to hold back.
    """

    def __init__(self, own_id: str) -> None:
        self.own_id = own_id
        self._devices: dict[str, tuple[str, int]] = {}
        self._nodes: dict[str, int] = {}
        self._held: dict[AlarmKey, list[_Held]] = {}
        self._held_count = 0
        self._has_moved = False
        self._looked_ms = 0
        self.late_total = self.full_total = 0

    @property
    def is_alone(self) -> bool:
        """Nobody else was ever heard of."""
        return not self._nodes

    @property
    def held_count(self) -> int:
        return self._held_count

    def note(self, heard: Sequence[Heard]) -> None:
        """Who was heard of where, in any order."""
        devices, nodes = self._devices, self._nodes
        for device_id, node_id, at_ms in heard:
            if node_id != OWN and at_ms >= nodes.get(node_id, 0):
                nodes[node_id] = at_ms
            before = devices.get(device_id)
            if before is None:
                # One that only this node has heard of needs no entry.
                if node_id != OWN:
                    devices[device_id] = node_id, at_ms
            elif (at_ms, node_id or self.own_id) > (before[1], before[0] or self.own_id):
                devices[device_id] = node_id, at_ms
                self._has_moved = self._has_moved or node_id != before[0]

    def is_ours(self, key: AlarmKey, now_ms: int) -> bool:
        """Whether this node says what is wrong there."""
        if key.device_id:
            return self._devices.get(key.device_id, (OWN, 0))[0] == OWN
        here = [node for node, at_ms in self._nodes.items() if at_ms > now_ms - WATCH_NODE_HERE_MS]
        return self.own_id <= min(here, default=self.own_id)

    def passed_on(
        self, found: Sequence[Transition], by_clock: Collection[int], now_ms: int
    ) -> list[Transition]:
        """What is to be told now, of what was found and of what was held back.

        Args:
            by_clock: id() of those that the clock decided.
        """
        if self.is_alone:
            return list(found)
        told: list[Transition] = []
        for each in found:
            if self.is_ours(each.key, now_ms):
                told += self._let_go(each.key)
                told.append(each)
            else:
                self._hold(_Held(each, now_ms, id(each) in by_clock), told)
        if self._held and (self._has_moved or now_ms - self._looked_ms >= _LOOK_MS):
            self._has_moved, self._looked_ms = False, now_ms
            for key in list(self._held):
                told += self._let_go(key) if self.is_ours(key, now_ms) else self._late(key, now_ms)
        return told

    def _hold(self, held: _Held, told: list[Transition]) -> None:
        mine = self._held.setdefault(held.transition.key, [])
        if mine and mine[-1].is_by_clock and mine[-1].transition.is_raised != held.transition.is_raised:
            mine.pop()  # its home never said it, or says itself that it is over
            self._held_count -= 1
        if self._held_count >= WATCH_HELD_BACK_COUNT_MAX:
            self.full_total += 1
            told.append(held.transition)
            return
        mine.append(held)
        self._held_count += 1

    def _let_go(self, key: AlarmKey) -> list[Transition]:
        held = self._held.pop(key, [])
        self._held_count -= len(held)
        return [each.transition for each in held]

    def _late(self, key: AlarmKey, now_ms: int) -> list[Transition]:
        held = self._held[key]
        due = [
            at
            for at, each in enumerate(held)
            if not each.is_by_clock and now_ms - each.since_ms >= WATCH_HELD_BACK_MS
        ]
        if not due:
            return []
        # What the clock said before it is nobody's any more: something came after it.
        rest = held[due[-1] + 1 :]
        self._held_count -= len(held) - len(rest)
        self.late_total += len(due)
        if rest:
            self._held[key] = rest
        else:
            del self._held[key]
        return [held[at].transition for at in due]

    def save(self) -> SavedHomes:
        held = [each for several in self._held.values() for each in several]
        return SavedHomes(dict(self._devices), dict(self._nodes), held)

    def load(self, saved: SavedHomes) -> None:
        self._devices, self._nodes = dict(saved.devices), dict(saved.nodes)
        self._held, self._held_count = {}, len(saved.held)
        for each in saved.held:
            self._held.setdefault(each.transition.key, []).append(each)
