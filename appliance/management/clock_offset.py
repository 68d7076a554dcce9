"""How far a device's clock is from ours, judged by when its messages arrive.

Theory of operation. A message's delay is its arrival less its own time: what the way took, and how far its device's clock is
behind ours. The way takes no less than nothing, so the *lowest* delay of many messages is the clock's share and hardly anything
else. Lowest delays are kept for the two newest slots of CLOCK_SLOT_MS in which something came, by our time of arrival.

* Ahead: a reading can't arrive before it is measured. One negative delay says it.
* Behind: may be the clock, or old readings sent late. A status is written when it is sent, so its time says it at once;
  readings say it only when two slots in a row have the same lowest delay within CLOCK_FLAT_MS, because a device that catches
  up comes nearer from slot to slot. One that always sends its readings late is taken for a slow clock: nothing tells them apart.

The lowest of a slot doesn't depend on order or cut, and the two newest slots don't either: any way through the same messages
ends with the same judgement. In memory only, and found again with the next messages; no row depends on it (envelopes.observe
decides a row's quality from the message alone). Pure; must not know what time it is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from appliance.core.arrays import I64
from appliance.core.limits import (
    CLOCK_AHEAD_TOLERANCE_MS,
    CLOCK_BEHIND_TOLERANCE_MS,
    CLOCK_COMMON_DEVICE_COUNT_MIN,
    CLOCK_FLAT_MS,
)

NOTHING: Final = np.iinfo(np.int64).max
"""The lowest delay of no message at all."""


def lowest_delays(owner: I64, arrived: I64, said: I64, owner_count: int) -> I64:
    """The lowest delay of each owner's messages.

    Args:
        owner: n indexes below `owner_count`. arrived, said: n times in UTC ms: ours, and the message's own.
    Returns:
        owner_count delays in ms, NOTHING for whoever has no message.
    """
    lowest: I64 = np.full(owner_count, NOTHING, np.int64)
    np.minimum.at(lowest, owner, arrived - said)
    return lowest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSample:
    """The lowest delay of one device's messages that arrived in one slot.

    Attributes:
        slot: Arrival // CLOCK_SLOT_MS. delay_ms: May be negative.
        is_status: The messages were statuses, whose time is the time of sending.
    """

    device: str
    slot: int
    delay_ms: int
    is_status: bool = False


@dataclass(slots=True)
class _Slot:
    number: int
    lowest_ms: int
    has_status: bool


class ClockOffsets:
    """What is known of all devices' clocks. About 300 bytes a device that ever gave its time."""

    def __init__(self) -> None:
        self._slots: dict[str, list[_Slot]] = {}
        self._offsets: dict[str, int] = {}

    def note(self, samples: Iterable[ClockSample]) -> None:
        for sample in samples:
            slots = self._slots.setdefault(sample.device, [])
            _put(slots, sample)
            offset_ms = _offset_ms(slots)
            if offset_ms is None:
                self._offsets.pop(sample.device, None)
            else:
                self._offsets[sample.device] = offset_ms

    def offset_ms(self, device: str) -> int | None:
        """How far the device's clock is ahead of ours (negative: behind), or None while that can't be judged."""
        return self._offsets.get(device)

    def is_wrong(self, device: str) -> bool:
        return is_wrong(self._offsets.get(device))

    def wrong(self) -> Mapping[str, int]:
        """The offsets of all devices whose clock is judged wrong."""
        return {device: offset for device, offset in self._offsets.items() if is_wrong(offset)}

    def common_offset_ms(self) -> int | None:
        """The offset that most devices share, if they do: then it is this box's clock that is wrong."""
        return common_offset_ms(self.wrong().values(), len(self._offsets))

    def forget(self) -> None:
        self._slots, self._offsets = {}, {}


def is_wrong(offset_ms: int | None) -> bool:
    """Whether a clock is so far off that its times mislead."""
    return offset_ms is not None and not -CLOCK_BEHIND_TOLERANCE_MS <= offset_ms <= CLOCK_AHEAD_TOLERANCE_MS


def clock_word(offset_ms: int | None) -> Literal["right", "wrong", "unknown"]:
    """What is known of a clock, as the API says it."""
    if offset_ms is None:
        return "unknown"
    return "wrong" if is_wrong(offset_ms) else "right"


def common_offset_ms(offsets_ms: Iterable[int], device_count: int) -> int | None:
    """The offset that most devices share: then it is this box's clock that is wrong, not theirs.

    Args:
        offsets_ms: Of the devices whose clock is judged wrong. device_count: All devices whose clock was judged.
    Returns:
        The median, if at least CLOCK_COMMON_DEVICE_COUNT_MIN and more than half of all devices are within
        CLOCK_AHEAD_TOLERANCE_MS of it; otherwise None.
    """
    found = sorted(offsets_ms)
    if len(found) < CLOCK_COMMON_DEVICE_COUNT_MIN:
        return None
    median = found[len(found) // 2]
    near = sum(abs(each - median) <= CLOCK_AHEAD_TOLERANCE_MS for each in found)
    return median if near >= CLOCK_COMMON_DEVICE_COUNT_MIN and near * 2 > device_count else None


def _put(slots: list[_Slot], sample: ClockSample) -> None:
    """Take a sample into the two newest slots, ascending."""
    for slot in slots:
        if slot.number == sample.slot:
            slot.lowest_ms = min(slot.lowest_ms, sample.delay_ms)
            slot.has_status |= sample.is_status
            return
    slots.append(_Slot(sample.slot, sample.delay_ms, sample.is_status))
    slots.sort(key=lambda slot: slot.number)
    del slots[:-2]


def _offset_ms(slots: list[_Slot]) -> int | None:
    lowest = min(slot.lowest_ms for slot in slots)
    if lowest <= 0 or any(slot.has_status for slot in slots):
        return -lowest
    is_flat = len(slots) == 2 and abs(slots[0].lowest_ms - slots[1].lowest_ms) <= CLOCK_FLAT_MS
    return -lowest if is_flat or lowest <= CLOCK_BEHIND_TOLERANCE_MS else None
