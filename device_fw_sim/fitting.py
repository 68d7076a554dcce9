"""Fits simulated devices with firmware that can be managed: what the command line says of it, and one `Managed` for each device."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from device_fw_sim.errors import OptionsError
from device_fw_sim.events import HARDWARE
from device_fw_sim.faults import FIRMWARE_FAULTS, FaultRequest
from device_fw_sim.file_flash import FileFlash
from device_fw_sim.flash import BlockPool, Flash, MemoryFlash
from device_fw_sim.image import SIZE_BYTES_MIN, Header, Image, build
from device_fw_sim.limits import BLOCK_BYTES
from device_fw_sim.managed import Managed, ManagedOptions
from device_fw_sim.verify import Trust
from device_fw_sim.work import AgentOptions

HTTPS_PORT = 8_444
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareOptions:
    """What all devices of a run are before their first update.

    Args:
        version: Of the image that they leave the factory with.
        hardware: What images have to fit.
        epoch: Of that image.
        trust: Whose signatures they believe.
        block_bytes: Of a block over MQTT.
        is_cbor: CBOR for blocks.
        https_port: Bytes over HTTPS from this port of the broker's host; None for MQTT.
        folder: Where each device has its flash; None keeps it in memory, and it ends with the process.
    """

    version: str = "1.4.2"
    hardware: str = HARDWARE
    epoch: int = 0
    trust: Trust = field(default_factory=Trust)
    block_bytes: int = BLOCK_BYTES
    is_cbor: bool = False
    https_port: int | None = None
    folder: Path | None = None

    def factory(self) -> Image:
        """The image that devices leave the factory with."""
        header = Header(version=self.version, hw=[self.hardware], epoch=self.epoch)
        return build(header, size_bytes=SIZE_BYTES_MIN)


class Fitter:
    """Makes the managed side of one device after the other; they share the blocks that they have in common.

    Args:
        options: What they are.
    """

    def __init__(self, options: FirmwareOptions) -> None:
        self._options = options
        self._factory = options.factory()
        self._pool = BlockPool()

    def managed(self, device_id: str, *, interval_ms: int) -> Managed:
        """The managed side of a device.

        Raises:
            OptionsError: Its folder can't be made.
        """
        options = self._options
        flash: Flash = (
            MemoryFlash(self._pool) if options.folder is None else FileFlash(options.folder / device_id)
        )
        agent = AgentOptions(
            hardware=options.hardware,
            trust=options.trust,
            block_bytes=options.block_bytes,
            is_cbor=options.is_cbor,
            over_https=options.https_port is not None,
        )
        managed = ManagedOptions(
            device_id=device_id, factory=self._factory, agent=agent, interval_ms=interval_ms
        )
        return Managed(managed, flash)


def check_faults(requests: Iterable[FaultRequest], firmware: FirmwareOptions | None) -> None:
    """Raises OptionsError for a fault of the update agent in devices that have none."""
    for request in requests:
        if firmware is None and request.kind in FIRMWARE_FAULTS:
            raise OptionsError(
                f"Only a device that takes updates can have {request.kind.value}.", hint="Add --firmware."
            )


class _TrustFile(msgspec.Struct, forbid_unknown_fields=True):
    threshold: int
    keys: dict[str, str]


def load_trust(path: Path) -> Trust:
    """Trusted keys: {"threshold": 1, "keys": {"key id": "Ed25519 public key, 32 bytes in base64"}}.

    Raises:
        OptionsError: The file can't be read, or says something else.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_TrustFile)
        keys = {name: base64.b64decode(key, validate=True) for name, key in found.keys.items()}
    except OSError as error:
        raise OptionsError(f"{path} can't be read: {error.strerror}.", hint="Check the path.") from error
    except (msgspec.ValidationError, msgspec.DecodeError, binascii.Error) as error:
        raise OptionsError(
            f"{path}: {error}.", hint='Write {"threshold": 1, "keys": {"id": "base64"}}.'
        ) from error
    wrong = [name for name, key in keys.items() if len(key) != _KEY_BYTES]
    if wrong or not 0 <= found.threshold <= len(keys):
        what = f"key {wrong[0]!r} has not 32 bytes" if wrong else f"{len(keys)} keys can't make the threshold"
        raise OptionsError(f"{path}: {what}.", hint="Give Ed25519 public keys, raw, in base64.")
    return Trust(keys=keys, threshold=found.threshold)
