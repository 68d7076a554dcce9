"""What a bridge must remember: its cursor over the log, and the QoS 2 deliveries under way in both directions.

One JSON file a bridge, `data_dir/cursors/bridge-NAME.json`, replaced as a whole: written beside, fsynced, renamed, its folder
fsynced. Whoever decides what the log may forget reads `next_seq` in it (docs/LOG_FORMAT.md, "Cursors of bridges").

A file that can't be read is never taken for a new bridge: that would send, or leave out, what nobody asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import StorageError

FORMAT: Final = 1
FILE_BYTES_MAX: Final = 1024 * 1024
"""1,000 deliveries out, 65,535 identifiers in and 256 filters of 1.5 KiB are below 0.9 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeState:
    """See the module's docstring.

    Attributes:
        next_seq: First record of the telemetry log that is not certain to have arrived at the remote.
        epoch: Of the log when this was saved.
        outgoing: As `OutgoingWindow.saved`.
        taken, begun: As in `IncomingIds`.
        subscribed: Topic filters, with their QoS, that the session at the remote has.
    """

    next_seq: int
    epoch: int
    outgoing: tuple[tuple[int, int, int], ...] = ()
    taken: tuple[int, ...] = ()
    begun: tuple[tuple[int, int], ...] = ()
    subscribed: tuple[tuple[str, int], ...] = ()


def encode_state(state: BridgeState) -> bytes:
    """The file's bytes."""
    fields = {
        "format": FORMAT,
        "stream": "telemetry",
        "next_seq": state.next_seq,
        "epoch": state.epoch,
        "outgoing": state.outgoing,
        "taken": state.taken,
        "begun": state.begun,
        "subscribed": state.subscribed,
    }
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decode_state(data: bytes) -> BridgeState:
    """Read the file's bytes.

    Raises:
        ValueError: they are not what `encode_state` makes; the message says what is wrong.
    """
    try:
        fields: dict[str, Any] = json.loads(data)
        if fields["format"] != FORMAT or fields["stream"] != "telemetry":
            raise ValueError(f"format {fields['format']!r} of stream {fields['stream']!r}")
        state = BridgeState(
            next_seq=int(fields["next_seq"]),
            epoch=int(fields["epoch"]),
            outgoing=tuple((int(a), int(b), int(c)) for a, b, c in fields["outgoing"]),
            taken=tuple(int(each) for each in fields["taken"]),
            begun=tuple((int(a), int(b)) for a, b in fields["begun"]),
            subscribed=tuple((str(a), int(b)) for a, b in fields["subscribed"]),
        )
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    ids = [*state.taken, *(each for each, _ in state.begun), *(each for _, each, _ in state.outgoing)]
    if state.next_seq < 1 or not all(1 <= each <= 0xFFFF for each in ids):
        raise ValueError("a number is out of bounds")
    if not all(1 <= progress <= 3 and seq >= state.next_seq for seq, _, progress in state.outgoing):
        raise ValueError("a delivery is out of bounds")
    return state


def read_state(path: Path) -> BridgeState | None:
    """What was saved; None for a bridge that is new.

    Raises:
        StorageError: the file can't be read (`bridge_state_damaged`).
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ValueError(f"larger than {FILE_BYTES_MAX} bytes")
        return decode_state(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"The bridge's cursor {path} can't be read: {error}.",
            hint="Move the file away to have the bridge begin anew, as its key 'begin' says.",
            code="bridge_state_damaged",
        ) from error


def write_state(path: Path, state: BridgeState) -> None:
    """Replace the file. Blocks for two fsyncs.

    Raises:
        StorageError: the disk is full or fails; the file of before is still there (`bridge_state_failed`).
    """
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode_state(state))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise StorageError(
            f"The bridge's cursor {path} can't be written: {error.strerror}.",
            hint="Look at the disk's free space and at the folder's owner and mode.",
            code="bridge_state_failed",
        ) from error
