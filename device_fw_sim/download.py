"""A download that a power cut only interrupts: blocks on flash, a bitmap of those that are whole, and nothing asked for twice.

    over MQTT    describe → description; get with the bitmap of missing blocks → data, block by block, in any order
    over HTTPS   bytes in order from the first missing block on (`resume_at`), cut as the network cuts them

A block is written first and noted afterwards, so a cut between the two fetches one block again and never trusts half of one.
Pure, above `Flash`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from device_fw_sim import cbor
from device_fw_sim.cbor import CborError
from device_fw_sim.flash import Flash
from device_fw_sim.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_BYTES_MIN,
    IMAGE_BYTES_MAX,
    RETRY_S_MAX,
    WINDOW_BYTES_FIRST,
)

_RECORD: Final = "download"
_AREA: Final = "staging"


class Download:
    """The image that a device is fetching, or has fetched.

    Args:
        flash: Of the device; what an earlier boot left there for the same image counts.
        sha256: Hex.
        size_bytes: 1 or more.
        block_bytes: Of one block, but the last.
        is_cbor: CBOR instead of JSON on the wire.
    Raises:
        FlashError, and ValueError for a size or a block beyond the limits.
    """

    def __init__(
        self, flash: Flash, *, sha256: str, size_bytes: int, block_bytes: int, is_cbor: bool = False
    ) -> None:
        if not 1 <= size_bytes <= IMAGE_BYTES_MAX:
            raise ValueError(f"an image of {size_bytes} bytes does not fit into a slot")
        if not BLOCK_BYTES_MIN <= block_bytes <= BLOCK_BYTES_MAX:
            raise ValueError(f"a block of {block_bytes} bytes")
        self.sha256, self.size_bytes, self.block_bytes = sha256, size_bytes, block_bytes
        self.form = "cbor" if is_cbor else "json"
        self.block_count = -(-size_bytes // block_bytes)
        self._flash = flash
        self._next = 0
        """Over HTTPS: the block that the next bytes belong to."""
        self._tail = b""
        self.is_described = False
        self._stream_version: int | None = None
        self._window_end = self._window_number = 0
        self._window_token = ""
        self.blocks_to_come: int | None = None
        """After the newest block, of the answer to what was asked last; None where the box does not say."""
        self._identity = {"sha256": sha256, "size": size_bytes, "block": block_bytes}
        self._have = 0
        record = flash.get(_RECORD) or {}
        if {key: record.get(key) for key in self._identity} == self._identity:
            self._have = int(record["have"], 16)
        else:
            self.discard()
        self._held_count = self._have.bit_count()

    # --- How far it is ---------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Every block is there; whether they are the right ones, `is_right` says."""
        return self._held_count == self.block_count

    @property
    def bytes_done(self) -> int:
        """Of whole blocks."""
        return min(self._held_count * self.block_bytes, self.size_bytes)

    @property
    def first_missing(self) -> int:
        """Index of the first block that isn't there."""
        held = self._have
        return (~held & (held + 1)).bit_length() - 1

    def is_right(self) -> bool:
        """Whether the digest is the wanted one. Reads all of it."""
        digest = hashlib.sha256()
        for piece in self._flash.pieces(_AREA):
            digest.update(piece)
        return digest.hexdigest() == self.sha256

    def discard(self) -> None:
        """Forget every block: what came was not what was promised."""
        self._have = self._held_count = 0
        # Noted first: a cut in between must not leave the old bitmap beside an empty area.
        self._note()
        self._flash.erase(_AREA)

    # --- Over MQTT -------------------------------------------------------------------------------------

    def describe(self, token: str) -> bytes:
        """The payload that asks for the stream's description."""
        return self._encode({"c": token})

    def described(self, payload: bytes) -> bool:
        """Take a description; False when it isn't one, or the file isn't as long as the job says."""
        message = self._decode(payload)
        files = message.get("r")
        if not isinstance(files, list):
            return False
        sizes = {each.get("f"): each.get("z") for each in files if isinstance(each, dict)}
        if sizes.get(0) != self.size_bytes:
            return False
        version = message.get("s")
        self._stream_version = version if isinstance(version, int) else None
        self.is_described = True
        return True

    def get(self, token: str, window_bytes: int = WINDOW_BYTES_FIRST) -> bytes:
        """The payload that asks for the first missing blocks.

        Args:
            token: What the answer is known by begins with it.
            window_bytes: How much at most; one block at least is asked for.
        """
        first = self.first_missing
        count = max(1, min(window_bytes // self.block_bytes, self.block_count - first))
        self._window_end = first + count
        self._window_number += 1
        # Blocks of an earlier answer that are still on their way must not look like the end of this one.
        self._window_token = f"{token}.{self._window_number}"
        self.blocks_to_come = None
        missing = ~(self._have >> first) & ((1 << count) - 1)
        # Bit 0 of byte 0 is block `o`.
        bitmap = missing.to_bytes(-(-count // 8), "little")
        message: dict[str, Any] = {
            "c": self._window_token, "f": 0, "l": self.block_bytes, "o": first, "n": count,
        }  # fmt: skip
        if self._stream_version is not None:
            message["s"] = self._stream_version
        message["b"] = bitmap if self.form == "cbor" else base64.b64encode(bitmap).decode()
        return self._encode(message)

    @property
    def is_window_in(self) -> bool:
        """Whether every block is there that was asked for last."""
        return self.first_missing >= self._window_end

    def data(self, payload: bytes) -> bool:
        """Take one block; False when it is none of ours. A block that is there already changes nothing.

        Raises:
            FlashError: It was good and could not be written.
        """
        message = self._decode(payload)
        index, piece = message.get("i"), message.get("p")
        if isinstance(piece, str) and self.form == "json":
            try:
                piece = base64.b64decode(piece, validate=True)
            except (binascii.Error, ValueError):
                return False
        if not isinstance(index, int) or not isinstance(piece, bytes) or message.get("f", 0) != 0:
            return False
        to_come = message.get("r")
        if message.get("c") == self._window_token:
            self.blocks_to_come = to_come if isinstance(to_come, int) else None
        return self._keep(index, piece)

    def refused_for_ms(self, payload: bytes) -> int:
        """When to ask again after a refusal, ms; 0 where the box doesn't say."""
        retry_s = self._decode(payload).get("retry_s")
        return retry_s * 1_000 if isinstance(retry_s, int) and 0 < retry_s <= RETRY_S_MAX else 0

    # --- Over HTTPS ------------------------------------------------------------------------------------

    @property
    def resume_at(self) -> int:
        """The byte from which on to ask, with Range. What was only in RAM is asked for again after a cut."""
        return min(self._next * self.block_bytes + len(self._tail), self.size_bytes)

    def begin(self) -> int:
        """Start to take bytes in order; returns the first byte to ask for."""
        self._tail, self._next = b"", self.first_missing
        return self.resume_at

    def bytes_arrived(self, data: bytes) -> None:
        """Take what follows `resume_at`, however long it is. Raises FlashError."""
        self._tail += data
        while self._next < self.block_count and len(self._tail) >= self._length(self._next):
            wanted = self._length(self._next)
            piece, self._tail = self._tail[:wanted], self._tail[wanted:]
            # One that came over MQTT before is on the way too, and is there already.
            self._keep(self._next, piece)
            self._next += 1

    # --- Inside ----------------------------------------------------------------------------------------

    def _keep(self, index: int, piece: bytes) -> bool:
        if not 0 <= index < self.block_count or len(piece) != self._length(index):
            return False
        if not self._have >> index & 1:
            self._flash.write(_AREA, index * self.block_bytes, piece)
            self._have |= 1 << index
            self._held_count += 1
            self._note()
        return True

    def _length(self, index: int) -> int:
        return min(self.block_bytes, self.size_bytes - index * self.block_bytes)

    def _note(self) -> None:
        self._flash.put(_RECORD, {**self._identity, "have": f"{self._have:x}"})

    def _encode(self, message: Mapping[str, Any]) -> bytes:
        if self.form == "cbor":
            return cbor.encode(message)
        return json.dumps(message, separators=(",", ":")).encode()

    def _decode(self, payload: bytes) -> Mapping[str, Any]:
        try:
            message = cbor.decode(payload) if self.form == "cbor" else json.loads(payload)
        except (ValueError, CborError):
            return {}
        return message if isinstance(message, dict) else {}
