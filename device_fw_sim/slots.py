"""Two slots and the bootloader: which image runs, which is on trial, and the way back. Pure, above `Flash`.

    boot()                       the trial's slot while it has boots left, else the confirmed one
    erase, copy …, finish        write an image into the slot that neither runs nor is confirmed
    arm()                        the next boot tries what was written, BOOT_COUNT_MAX times at most
    confirm()                    what runs stays
    give_up(), go_back()         the next boot is the old image again

Invariant: whatever write the power is cut in, the confirmed slot's image is whole, and boot() finds a slot to start.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from device_fw_sim.flash import Flash
from device_fw_sim.image import SIZE_BYTES_MIN, Behaviour, Header, Image, header_of
from device_fw_sim.limits import BOOT_COUNT_MAX
from device_fw_sim.messages import Firmware

_RECORD: Final = "slots"


class Slots:
    """The bootloader's view of the flash.

    Args:
        flash: Of the device.
        factory: What slot A holds when the device leaves the factory; written when the flash is empty.
    """

    def __init__(self, flash: Flash, factory: Image) -> None:
        self._flash = flash
        record: dict[str, Any] | None = flash.get(_RECORD)
        if record is None:
            flash.erase("A")
            flash.write("A", 0, factory.data)
            record = {
                "confirmed": "A",
                "trial": None,
                "boots_left": 0,
                "slots": {"A": _entry(factory.header, factory.sha256), "B": None},
            }
            flash.put(_RECORD, record)
        self._record = record
        self._headers: dict[str, Header] = {}
        self.running = str(record["confirmed"])

    # --- The bootloader --------------------------------------------------------------------------------

    def boot(self) -> Header:
        """Choose a slot, count the boot, and start it. Returns the header of what runs now."""
        record = self._record
        if record["trial"] is not None:
            if record["boots_left"] > 0:
                self._save(boots_left=record["boots_left"] - 1)
                self.running = record["trial"]
                return self.header
            self._save(trial=None)
        self.running = record["confirmed"]
        return self.header

    @property
    def header(self) -> Header:
        """Of the running image."""
        entry = self._record["slots"][self.running]
        found = self._headers.get(entry["sha256"])
        if found is None:
            found = self._headers[entry["sha256"]] = _header(entry)
        return found

    @property
    def sha256(self) -> str:
        """Of the running image, hex."""
        return str(self._record["slots"][self.running]["sha256"])

    @property
    def is_confirmed(self) -> bool:
        """Whether what runs was confirmed."""
        return bool(self.running == self._record["confirmed"])

    @property
    def other(self) -> str:
        """The slot that doesn't run."""
        return "B" if self.running == "A" else "A"

    @property
    def other_sha256(self) -> str | None:
        """Digest of what the other slot holds whole, None for nothing."""
        entry = self._record["slots"][self.other]
        return None if entry is None else str(entry["sha256"])

    def firmware(self) -> Firmware:
        """What the device reports at every connect."""
        entry = self._record["slots"][self.running]
        version, sha256 = entry["version"], entry["sha256"]
        if self.header.behaviour is Behaviour.WRONG_VERSION:
            version, sha256 = f"{version}-x", hashlib.sha256(sha256.encode()).hexdigest()
        return Firmware(
            version=version,
            digest=f"sha256:{sha256}",
            slot=self.running,
            confirmed=self.is_confirmed,
            epoch=entry["epoch"],
        )

    # --- Changes ---------------------------------------------------------------------------------------

    def erase(self) -> None:
        """Make the other slot ready to be written: from now on it holds nothing that could be started."""
        assert self.is_confirmed, "the slot that doesn't run is the only way back"
        self._record["slots"][self.other] = None
        self._save(trial=None, boots_left=0)
        self._flash.erase(self.other)

    def copy(self, offset: int, data: bytes) -> None:
        """Write a piece into the other slot."""
        self._flash.write(self.other, offset, data)

    def finish(self, sha256: str) -> Header | None:
        """Read the other slot back; only the whole, right image becomes something to start.

        Returns:
            Its header, None when what is there is not that image.
        """
        digest, head = hashlib.sha256(), b""
        for piece in self._flash.pieces(self.other):
            digest.update(piece)
            if len(head) < SIZE_BYTES_MIN:
                head += piece[:SIZE_BYTES_MIN]
        header = header_of(head)
        if header is None or digest.hexdigest() != sha256:
            return None
        self._record["slots"][self.other] = _entry(header, sha256)
        self._save()
        return header

    def arm(self) -> None:
        """Have the other slot tried at the next boot."""
        assert self._record["slots"][self.other] is not None, "an empty slot can't be tried"
        self._save(trial=self.other, boots_left=BOOT_COUNT_MAX)

    def confirm(self) -> None:
        """What runs stays, also after the next boot."""
        self._save(confirmed=self.running, trial=None, boots_left=0)

    def give_up(self) -> None:
        """Stop trying: the next boot starts the confirmed slot."""
        self._save(trial=None, boots_left=0)

    def go_back(self) -> None:
        """The next boot starts the other slot, which ran before, for good."""
        assert self._record["slots"][self.other] is not None, "an empty slot can't be started"
        self._save(confirmed=self.other, trial=None, boots_left=0)

    def _save(self, **changed: Any) -> None:
        self._record |= changed
        self._flash.put(_RECORD, self._record)


def _entry(header: Header, sha256: str) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "version": header.version,
        "hw": header.hw,
        "epoch": header.epoch,
        "behaviour": header.behaviour.value,
        "after_s": header.after_s,
    }


def _header(entry: dict[str, Any]) -> Header:
    return msgspec.convert({key: entry[key] for key in entry if key != "sha256"}, Header)
