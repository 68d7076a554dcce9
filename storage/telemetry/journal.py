"""The state of a batch in one value: what changed in windows, presence and newest values.

Updating tables costs a few milliseconds a statement, whatever is in it, so most commits only insert one row whose
`state` holds the changes; every so often a commit folds all that have gathered into the tables (store.py). Reading the
state is: the tables, then the rows' changes in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from appliance.management.dedup import Window
from appliance.management.firmware_report import FirmwareReport
from appliance.management.presence import DevicePresence
from storage.telemetry.batch import NewestRows, StoreBatch

WindowRow = tuple[str, str, bool, int, int, int, int, int, list[tuple[int, int]]]
"""device, boot id, is current, low, top, floor, newest_ms, used, earlier intervals."""


class PresenceRow(msgspec.Struct, array_like=True, frozen=True):
    """A row of `presence`. Commits of earlier releases have no `expect_ms` or no `firmware`."""

    device: str
    presence: str
    since_ms: int | None
    reason: str
    last_seen_at_ms: int | None
    address: str
    session: str
    clients: dict[str, int]
    expect_ms: int | None = None
    firmware: FirmwareReport | None = None


class NewestState(msgspec.Struct, array_like=True):
    """NewestRows as little-endian bytes."""

    series: bytes
    observed: bytes
    received: bytes
    numbers: bytes
    texts: list[str]
    quality: bytes


class State(msgspec.Struct, array_like=True):
    """The changes of one batch."""

    windows: list[WindowRow]
    dropped: list[tuple[str, str]]
    presences: list[PresenceRow]
    newest_numbers: NewestState
    newest_texts: NewestState


_encode = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(State).decode


def window_row(window: Window, is_current: bool) -> WindowRow:
    return (
        window.device,
        window.boot_id,
        is_current,
        window.low,
        window.top,
        window.floor,
        window.newest_ms,
        window.used,
        window.earlier,
    )


def presence_row(state: DevicePresence) -> PresenceRow:
    return PresenceRow(
        state.device,
        state.presence.value,
        state.since_ms,
        state.reason,
        state.last_seen_at_ms,
        state.address,
        state.session,
        state.clients,
        state.expect_ms,
        state.firmware,
    )


def newest_state(rows: NewestRows) -> NewestState:
    """Rows as bytes."""
    return NewestState(
        rows.series.tobytes(),
        rows.observed.tobytes(),
        rows.received.tobytes(),
        rows.numbers.tobytes(),
        rows.texts,
        rows.quality.tobytes(),
    )


def newest_rows(state: NewestState) -> NewestRows:
    """The rows again."""
    return NewestRows(
        np.frombuffer(state.series, np.uint32),
        np.frombuffer(state.observed, np.int64),
        np.frombuffer(state.received, np.int64),
        np.frombuffer(state.numbers, np.float64),
        state.texts,
        np.frombuffer(state.quality, np.uint8),
    )


def state_of(batch: StoreBatch) -> State:
    """A batch's changes."""
    return State(
        windows=[window_row(window, is_current) for window, is_current in batch.windows],
        dropped=batch.windows_dropped,
        presences=[presence_row(state) for state in batch.presences],
        newest_numbers=newest_state(batch.newest_numbers),
        newest_texts=newest_state(batch.newest_texts),
    )


def encode_state(state: State) -> bytes:
    return _encode(state)


@dataclass(slots=True)
class Unfolded:
    """Changes of commits that the tables don't have yet, the later over the earlier."""

    windows: dict[tuple[str, str], WindowRow] = field(default_factory=dict)
    dropped: set[tuple[str, str]] = field(default_factory=set)
    presences: dict[str, PresenceRow] = field(default_factory=dict)
    newest_numbers: list[NewestRows] = field(default_factory=list)
    newest_texts: list[NewestRows] = field(default_factory=list)
    commits: int = 0

    def add(self, state: State) -> None:
        """The changes of one commit more."""
        # A window may be dropped and begun again within one batch: dropped first, as in the batch.
        for key in state.dropped:
            self.windows.pop(key, None)
            self.dropped.add(key)
        for row in state.windows:
            self.windows[row[0], row[1]] = row
        for presence in state.presences:
            self.presences[presence.device] = presence
        for parts, more in (
            (self.newest_numbers, state.newest_numbers),
            (self.newest_texts, state.newest_texts),
        ):
            if more.series:
                parts.append(newest_rows(more))
        self.commits += 1

    @property
    def newest_count(self) -> int:
        return sum(map(len, self.newest_numbers)) + sum(map(len, self.newest_texts))
