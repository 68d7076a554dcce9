"""Which copy of a node this is: data_dir/identity/instance.

A node's keys can be copied: an SD card is cloned, a virtual machine is restored elsewhere. So the folder holds a random id that is bound to
what a copy doesn't take along: the box's hardware serial (or, where there is none, the system's machine id) and the data
folder's place on its file system. Where the binding doesn't fit, this is a copy, or the disk is in another box; which of
the two it is people must say (docs/REPLICATION.md).

A copy of a whole virtual machine has it all: that one is found out when both are there at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import ConfigError
from appliance.core.ids import RandomBytes
from appliance.identity import files

INSTANCE_BYTES: Final = 16
SERIAL_PATHS: Final = (
    Path("/sys/firmware/devicetree/base/serial-number"),
    Path("/etc/machine-id"),
    Path("/var/lib/dbus/machine-id"),
)
"""In this order. The serial of a PC's board is for root alone to read, and the service is another user."""
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_BINDING: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """See the module's docstring.

    Attributes:
        is_bound: It belongs to this box and folder.
    """

    instance_id: str
    is_bound: bool


def instance_path(data_dir: Path) -> Path:
    """The file."""
    return data_dir / "identity" / "instance"


def load_instance(data_dir: Path, *, serial_paths: Sequence[Path] = SERIAL_PATHS) -> Instance | None:
    """The instance of this box; None where it has none yet.

    Raises:
        ConfigError: `instance_file_invalid`, `secret_file_open`.
    """
    path = instance_path(data_dir)
    data = files.read_secret(path)
    if data is None:
        return None
    try:
        found = json.loads(data)
        instance_id, binding = found["instance"], found["binding"]
        if _HEX.fullmatch(instance_id) is None or _BINDING.fullmatch(binding) is None:
            raise ValueError("digits")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} does not hold an instance's id.",
            hint="Move it away and have this box join its fleet again.",
            code="instance_file_invalid",
        ) from error
    return Instance(
        instance_id=instance_id, is_bound=binding == _binding(data_dir, instance_id, serial_paths)
    )


def make_instance(
    data_dir: Path,
    *,
    serial_paths: Sequence[Path] = SERIAL_PATHS,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> Instance:
    """A new instance, in place of what there was.

    Raises:
        StorageError: it can't be written.
    """
    instance_id = random_bytes(INSTANCE_BYTES).hex()
    instance_path(data_dir).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.replace(instance_path(data_dir), instance_content(data_dir, instance_id, serial_paths=serial_paths))
    return Instance(instance_id=instance_id, is_bound=True)


def instance_content(
    data_dir: Path, instance_id: str, *, serial_paths: Sequence[Path] = SERIAL_PATHS
) -> bytes:
    """The file's bytes for an instance of this box."""
    binding = _binding(data_dir, instance_id, serial_paths)
    return json.dumps({"instance": instance_id, "binding": binding}).encode() + b"\n"


def _binding(data_dir: Path, instance_id: str, serial_paths: Sequence[Path]) -> str:
    """A digest of what this box is, and not its serial: the file may be in a backup that others read."""
    serial = b""
    for path in serial_paths:
        try:
            serial = path.read_bytes().strip(b"\0\n ")
        except OSError:
            continue
        if serial:
            break
    # A file system's id is made of its UUID, and stays when disks come up in another order; device numbers don't.
    place = f"{os.statvfs(data_dir).f_fsid:x}/{data_dir.stat().st_ino:x}"
    return hashlib.sha256(b"\0".join((instance_id.encode(), serial, place.encode()))).hexdigest()
