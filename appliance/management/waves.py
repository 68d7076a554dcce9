"""Who gets new firmware when: the waves of a rollout. Pure.

A wave says how far the rollout has gone when it is over: 1 device, 5 % of all, 25 %, 100 %. Sizes round up, so that 5 % of ten devices is
one; a wave that would add no device is left out. Which device is in which wave follows from the rollout's seed and the devices' ids
alone, so that doing it again gives the same.

Must not know: time, tables, what devices run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

from appliance.core.errors import UsageError
from appliance.core.limits_updates import ROLLOUT_DEVICE_COUNT_MAX, ROLLOUT_WAVE_COUNT_MAX

_DIGEST_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Wave:
    """How far the rollout has gone when this wave is over.

    Attributes:
        amount: Devices, or percent of all devices.
        is_percent: Which of the two.
    """

    amount: int
    is_percent: bool

    @classmethod
    def of(cls, text: str) -> Self:
        """The wave that a person wrote: "3" for three devices, "5%" for five percent.

        Raises:
            UsageError: `wave_invalid`.
        """
        number, is_percent = text.strip().removesuffix("%").rstrip(), text.strip().endswith("%")
        most = 100 if is_percent else ROLLOUT_DEVICE_COUNT_MAX
        if not (number.isascii() and number.isdigit() and len(number) <= 6 and 1 <= int(number) <= most):
            raise _refused(
                f"“{text[:20]}” is no wave: a number of devices up to {ROLLOUT_DEVICE_COUNT_MAX}, or 1% to 100%"
            )
        return cls(int(number), is_percent)

    def __str__(self) -> str:
        return f"{self.amount}%" if self.is_percent else str(self.amount)

    def reach(self, device_count: int) -> int:
        """How many of so many devices have their turn by the end of this wave; rounded up."""
        reached = -(-device_count * self.amount // 100) if self.is_percent else self.amount
        return min(reached, device_count)


DEFAULT_WAVES: Final = (Wave(1, False), Wave(5, True), Wave(25, True), Wave(100, True))


def check_waves(waves: Sequence[Wave]) -> None:
    """Refuse waves that end before all devices had their turn, or that go back.

    Raises:
        UsageError: `wave_invalid`.
    """
    if not 1 <= len(waves) <= ROLLOUT_WAVE_COUNT_MAX:
        raise _refused(f"a rollout has 1 to {ROLLOUT_WAVE_COUNT_MAX} waves, not {len(waves)}")
    if waves[-1] != Wave(100, True):
        raise _refused("the last wave has to be 100%, or some devices would never have their turn")
    for is_percent in (False, True):
        amounts = [wave.amount for wave in waves if wave.is_percent == is_percent]
        if amounts != sorted(set(amounts)):
            raise _refused("each wave has to go further than the one before")


def sizes(waves: Sequence[Wave], device_count: int) -> tuple[int, ...]:
    """How many devices each wave adds, without waves that add none; together all devices.

    Args:
        waves: As `check_waves` takes them.
        device_count: 0 gives no wave.
    """
    return tuple(size for _, size in _that_add(waves, device_count))


def that_add(waves: Sequence[Wave], device_count: int) -> tuple[Wave, ...]:
    """The waves that add devices, as `sizes` numbers them.

    Args:
        waves: As `check_waves` takes them.
    """
    return tuple(wave for wave, _ in _that_add(waves, device_count))


def _that_add(waves: Sequence[Wave], device_count: int) -> list[tuple[Wave, int]]:
    found, reached = [], 0
    for wave in waves:
        reach = wave.reach(device_count)
        if reach > reached:
            found.append((wave, reach - reached))
            reached = reach
    return found


def order_of(seed: str, device_id: str) -> bytes:
    """Where a device stands in a rollout's order: as good as random, and always the same."""
    return hashlib.blake2b(f"{seed}\0{device_id}".encode(), digest_size=_DIGEST_BYTES).digest()


def assign(
    device_ids: Collection[str], waves: Sequence[Wave], *, seed: str, canaries: Sequence[str] = ()
) -> dict[str, int]:
    """The wave of each device, from 0.

    Args:
        seed: The rollout's.
        canaries: Who comes first, in this order; those that are no targets don't matter.
    """
    first = {device_id: place for place, device_id in enumerate(canaries)}
    ordered = sorted(device_ids, key=lambda each: (first.get(each, len(first)), order_of(seed, each), each))
    found: dict[str, int] = {}
    begin = 0
    for number, size in enumerate(sizes(waves, len(ordered))):
        found |= dict.fromkeys(ordered[begin : begin + size], number)
        begin += size
    return found


def start_delay_ms(seed: str, device_id: str, spread_ms: int) -> int:
    """How long a device waits after its turn came, 0..spread_ms - 1, so that not all start in the same moment."""
    return int.from_bytes(order_of(f"start\0{seed}", device_id)) % spread_ms if spread_ms > 0 else 0


def _refused(why: str) -> UsageError:
    return UsageError(
        f"The waves can't be used: {why}.", hint="For example: 1, 5%, 25%, 100%.", code="wave_invalid"
    )
