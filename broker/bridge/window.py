"""What is on its way to the remote and not yet certain to have arrived: pure.

An entry is a record of the log (its sequence number) and the packet identifier it goes out under; there is no payload in it,
since the log has that. Entries stand in the order of the log. The first one that is not done is where the bridge
would have to begin again, so that is the cursor's position.

Of QoS 2 the entries are part of what is saved (state_file.py), before the bytes that depend on them leave. So after a
SIGKILL the same record goes out under the same identifier, and the remote takes it once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from broker.mqtt.constants import PACKET_ID_MAX

QOS_2: Final = 2
SUBSCRIBE_ID: Final = 1
UNSUBSCRIBE_ID: Final = 2
"""Kept for SUBSCRIBE and UNSUBSCRIBE, which share their identifiers with PUBLISH (MQTT 5.0 §2.2.1)."""


class Progress(IntEnum):
    """How far a delivery has come."""

    WAITING = 0
    """To be sent, under a new identifier as far as the remote can know."""
    SENT = 1
    """PUBLISH was sent; the remote may have it."""
    RECEIVED = 2
    """PUBREC has come: PUBREL is next, and the message is never sent again."""
    DONE = 3


@dataclass(slots=True)
class Entry:
    seq: int
    packet_id: int
    qos: int
    progress: Progress
    is_open: bool = False
    """Sent on this connection and not done: counts towards the remote's receive maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """How to send a record: `packet_id` 0 for QoS 0, `is_again` for DUP."""

    packet_id: int
    qos: int
    is_again: bool


class OutgoingWindow:
    """See the module's docstring.

    Args:
        next_seq: The cursor: everything before it has arrived, or needn't.
        saved: (sequence, packet identifier, progress) of QoS 2 deliveries, as `saved()` gave them.
        entry_count_max: Most entries, done ones behind the first among them.
    Attributes:
        scanned_seq: Everything before it was looked at.
        has_news: A QoS 2 delivery has changed since somebody set this to False.
    """

    def __init__(
        self, next_seq: int, saved: Iterable[tuple[int, int, int]] = (), *, entry_count_max: int
    ) -> None:
        self._entries = [
            Entry(seq, packet_id, QOS_2, Progress(progress)) for seq, packet_id, progress in sorted(saved)
        ]
        self._by_packet_id = {e.packet_id: e for e in self._entries if e.progress is not Progress.DONE}
        self._entry_count_max = entry_count_max
        self._open_count = 0
        self._open_count_max = entry_count_max
        self._last_packet_id = 0
        self.scanned_seq = next_seq
        self.has_news = False

    def __len__(self) -> int:
        """Deliveries that are not done."""
        return len(self._by_packet_id)

    @property
    def position(self) -> int:
        """Where to begin again: the first record that is not certain to have arrived."""
        return min(self._entries[0].seq, self.scanned_seq) if self._entries else self.scanned_seq

    @property
    def room(self) -> int:
        """How many more may be sent now."""
        if self._open_count >= self._open_count_max:
            return 0
        # Those that an earlier connection has left are sent in their own places, whatever else waits.
        left = sum(not e.is_open and e.progress is not Progress.DONE for e in self._entries)
        more = self._entry_count_max - len(self._entries) + left
        if more <= 0 and self._entries and self.scanned_seq < self._entries[0].seq:
            more = 1  # what stands before everything else is what everything else waits for
        return max(min(more, self._open_count_max - self._open_count), 0)

    def saved(self) -> list[tuple[int, int, int]]:
        """The QoS 2 deliveries from the position on, as the constructor takes them."""
        return [
            (e.seq, e.packet_id, int(e.progress))
            for e in self._entries
            if e.qos == QOS_2 and e.progress is not Progress.WAITING
        ]

    def begin(self, *, session_present: bool, receive_maximum: int) -> list[int]:
        """A connection stands: go back to the position.

        Args:
            session_present: Whether the remote still knows what was under way. If not, all that isn't done is sent as new.
            receive_maximum: The remote's (MQTT 5.0 §3.2.2.3.3).
        Returns:
            Packet identifiers for which PUBREL is to be sent now.
        """
        self._open_count_max = min(self._entry_count_max, receive_maximum)
        self._open_count = 0
        release = []
        for entry in self._entries:
            entry.is_open = False
            if not session_present and entry.progress is not Progress.DONE:
                self._change(entry, Progress.WAITING)
            if entry.progress is Progress.RECEIVED:
                release.append(entry.packet_id)
                self._open(entry)
        self.scanned_seq = self.position
        return release

    def place(self, seq: int, qos: int) -> Placed | None:
        """How a record is to be sent now.

        Args:
            seq: In the order of the log; everything before it was placed or needs no acknowledgement.
            qos: 0, 1 or 2; one that is under way keeps the one it has.
        Returns:
            None if it has arrived already, or is at PUBREL.
        """
        at = bisect_left(self._entries, seq, key=lambda entry: entry.seq)
        self.scanned_seq = seq + 1
        if at < len(self._entries) and self._entries[at].seq == seq:
            entry = self._entries[at]
            if entry.progress in (Progress.RECEIVED, Progress.DONE):
                self._forget_done()
                return None
            is_again = entry.progress is Progress.SENT
        elif not qos:
            return Placed(packet_id=0, qos=0, is_again=False)
        else:
            entry = Entry(seq, self._free_packet_id(), qos, Progress.WAITING)
            self._entries.insert(at, entry)
            self._by_packet_id[entry.packet_id] = entry
            is_again = False
        self._change(entry, Progress.SENT)
        self._open(entry)
        return Placed(packet_id=entry.packet_id, qos=entry.qos, is_again=is_again)

    def pass_to(self, seq: int) -> list[int]:
        """Everything before a sequence was placed, needs no acknowledgement, or is to go out no more (a rule was changed,
        its time is up, the log has forgotten it).

        Returns:
            Packet identifiers for which PUBREL is to be sent: of QoS 2 messages that the remote may have and that go out no
            more. It frees the identifier at the remote, which must not take a later message for this one.
        """
        release = []
        for entry in self._entries:
            if entry.seq >= seq:
                break
            if entry.is_open or entry.progress not in (Progress.WAITING, Progress.SENT):
                continue
            if entry.qos == QOS_2 and entry.progress is Progress.SENT:
                release.append(entry.packet_id)
                self._change(entry, Progress.RECEIVED)
                self._open(entry)
            else:
                self._finish(entry)
        self.scanned_seq = max(self.scanned_seq, seq)
        self._forget_done()
        return release

    def received(self, packet_id: int) -> bool:
        """PUBREC has come. False if no delivery of QoS 2 has this identifier."""
        entry = self._by_packet_id.get(packet_id)
        if entry is None or entry.qos != QOS_2 or not entry.is_open:
            return False
        self._change(entry, Progress.RECEIVED)
        return True

    def complete(self, packet_id: int, qos: int) -> int | None:
        """PUBACK or PUBCOMP has come, or the remote wants it not at all.

        Returns:
            The record's sequence number; None if nothing of that QoS is under way by this identifier.
        """
        entry = self._by_packet_id.get(packet_id)
        if entry is None or entry.qos != qos or not entry.is_open:
            return None
        self._finish(entry)
        self._forget_done()
        return entry.seq

    def give_back(self, packet_id: int) -> None:
        """The remote has refused it for now: it is sent again, as new, on the next connection."""
        entry = self._by_packet_id.get(packet_id)
        if entry is not None:
            # It stays open, or a look at the log that is under way would take it for one that goes out no more.
            self._change(entry, Progress.WAITING)

    def _finish(self, entry: Entry) -> None:
        del self._by_packet_id[entry.packet_id]
        self._change(entry, Progress.DONE)
        self._close(entry)

    def _forget_done(self) -> None:
        """Forget deliveries in front of the first that is not done; a later look at the log does not reach them."""
        count = 0
        for entry in self._entries:
            if entry.progress is not Progress.DONE or entry.seq >= self.scanned_seq:
                break
            count += 1
        del self._entries[:count]

    def _change(self, entry: Entry, progress: Progress) -> None:
        if entry.progress is not progress:
            entry.progress = progress
            self.has_news |= entry.qos == QOS_2

    def _open(self, entry: Entry) -> None:
        if not entry.is_open:
            entry.is_open = True
            self._open_count += 1

    def _close(self, entry: Entry) -> None:
        if entry.is_open:
            entry.is_open = False
            self._open_count -= 1

    def _free_packet_id(self) -> int:
        """The next free one; there is one, since a window has far fewer entries than there are identifiers."""
        while True:
            self._last_packet_id = self._last_packet_id % PACKET_ID_MAX + 1
            if self._last_packet_id > UNSUBSCRIBE_ID and self._last_packet_id not in self._by_packet_id:
                return self._last_packet_id
