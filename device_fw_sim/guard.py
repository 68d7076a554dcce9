"""What a device remembers for ever, so that nobody can lead it back: epoch, release counters, fence. Pure, above `Flash`."""

from __future__ import annotations

from typing import Any, Final

from device_fw_sim.flash import Flash

_RECORD: Final = "guard"


def fence_key(fence: Any) -> tuple[int, str]:
    """A fence as something to compare: a counter, or a counter and the node's id ([7, "node"], {"counter", "node"}, "7:node")."""
    if isinstance(fence, dict):
        fence = [fence.get("counter", 0), fence.get("node", "")]
    if isinstance(fence, str):
        fence = fence.split(":", 1)
    if isinstance(fence, list) and fence:
        counter = fence[0] if isinstance(fence[0], int) else int(fence[0]) if str(fence[0]).isdigit() else 0
        return counter, str(fence[1]) if len(fence) > 1 else ""
    return (fence, "") if isinstance(fence, int) else (0, "")


class Guard:
    """Three facts that only grow.

    Args:
        flash: Where they are kept.
        epoch: Of the image that the device left the factory with.
    """

    def __init__(self, flash: Flash, epoch: int) -> None:
        self._flash = flash
        found = flash.get(_RECORD) or {"epoch": epoch, "counters": {}, "fence": [0, ""]}
        self.epoch_floor: int = found["epoch"]
        self.counters: dict[str, tuple[int, str]] = {
            name: (each[0], each[1]) for name, each in found["counters"].items()
        }
        self._fence: tuple[int, str] = (found["fence"][0], found["fence"][1])

    def obeys(self, fence: Any) -> bool:
        """Whether an order is from who is in charge now, as far as this device knows; a higher fence is remembered."""
        key = fence_key(fence)
        # Of two nodes with the same counter the device believes whom it heard; only a higher counter takes over.
        if key[0] < self._fence[0] or (key[0] == self._fence[0] and key[1] < self._fence[1]):
            return False
        if key != self._fence:
            self._fence = key
            self._save()
        return True

    def confirmed(self, epoch: int, name: str, counter: int | None, sha256: str) -> None:
        """An image was confirmed: its epoch is the floor from now on, its release is known."""
        self.epoch_floor = max(self.epoch_floor, epoch)
        if counter is not None and counter >= self.counters.get(name, (0, ""))[0]:
            self.counters[name] = (counter, sha256)
        self._save()

    def _save(self) -> None:
        self._flash.put(
            _RECORD, {"epoch": self.epoch_floor, "counters": self.counters, "fence": list(self._fence)}
        )
