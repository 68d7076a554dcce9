"""What the log says of a session's deliveries, and what that makes of them when it is read again.

A message that is to be delivered is known from its own record. These records say what of them is done, so that after a loss of
power a client gets again what it may not have: QoS 1 at least once, QoS 2 exactly once.
"""

from __future__ import annotations

from typing import NamedTuple

from .outbound import Outbound, Step
from .state.positions import Positions


class Progress(NamedTuple):
    """What a record says.

    Attributes:
        through: What was to be delivered of the records before this one is done, but for `unacknowledged`.
        unacknowledged: Of QoS 1: packet identifier and entry of `Outbound.in_flight`.
        completed: Identifiers of QoS 2 messages that are done.
    """

    through: int
    unacknowledged: list[tuple[int, int]]
    completed: list[int]


def take_progress(outbound: Outbound, next_seq: int) -> Progress:
    """What a record is to say now.

    Args:
        next_seq: First record that has not been offered yet.
    """
    through = next_seq if outbound.lag_seq is None else outbound.lag_seq
    waiting = (d.seq for d, _, group in outbound.queue if group is None and not d.is_kept)
    through = min(through, next(waiting, through))
    through = min(through, next((p.seq for p in outbound.positions if not p.is_retained), through))
    completed, outbound.completed = list(outbound.completed), {}
    outbound.is_changed = False
    unacknowledged = [
        (packet_id, entry)
        for packet_id, entry in outbound.in_flight.items()
        # Those of a shared subscription are the group's to record.
        if entry & 3 == Step.PUBACK and packet_id not in outbound.shared
    ]
    return Progress(through, unacknowledged, completed)


def apply_progress(outbound: Outbound, progress: Progress) -> None:
    """Have what a record said; positions were collected from the records before it."""
    positions = outbound.positions
    positions.remove_before(progress.through)
    positions.remove({entry >> 3 for _, entry in progress.unacknowledged})
    if outbound.lag_seq is not None:
        outbound.lag_seq = max(outbound.lag_seq, progress.through)
        outbound.handed = {seq for seq in outbound.handed if seq >= outbound.lag_seq}
    for packet_id in progress.completed:
        outbound.in_flight.pop(packet_id, None)
    kept = {i: entry for i, entry in outbound.in_flight.items() if entry & 3 != Step.PUBACK}
    outbound.in_flight = kept | dict(progress.unacknowledged)


def apply_sent(outbound: Outbound, packet_id: int, entry: int) -> None:
    """Have what a record said of a QoS 2 message before it went out."""
    seq = entry >> 3
    outbound.positions.remove({seq})
    if outbound.lag_seq is not None and seq >= outbound.lag_seq:
        outbound.handed.add(seq)
    outbound.in_flight.pop(packet_id, None)
    outbound.in_flight[packet_id] = entry


def all_waiting(outbound: Outbound) -> Positions:
    """What is to be delivered when the client comes back, as a checkpoint keeps it: nothing is changed, here or by the caller."""
    if not outbound.queue:
        return outbound.positions
    waiting = Positions()
    for delivery, _, group in outbound.queue:
        if group is None:
            waiting.append(delivery.seq, delivery.size_bytes, is_retained=delivery.is_kept)
    found = Positions(*outbound.positions.packed())
    found.put_in_front(waiting)
    return found
