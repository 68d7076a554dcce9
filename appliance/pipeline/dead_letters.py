"""What is kept of records that could not become rows, and in which boot their devices were.

A reading may leave out its boot and then belongs to the one that its device was in. When a dead letter is read again, days later, that
is another one; so each letter remembers its own, and a replay asks the windows of that boot. A message that was refused after its
sequence number had been noted, for a name say, would take itself for its own duplicate: so a letter remembers that too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.core.arrays import I64
from appliance.core.limits import DEAD_LETTER_BATCH_BYTES_MAX, DEAD_LETTER_PAYLOAD_BYTES_MAX
from appliance.management.dedup import SeenSequences, Window
from appliance.management.envelopes import Points
from appliance.management.mapping import TopicRouter
from appliance.management.readings import Refusal
from appliance.pipeline.records import BatchRecords
from storage.telemetry.batch import DeadLetter

BootChanges = Mapping[str, Sequence[tuple[int, Window]]]
"""Device → (record index at which another boot began, the window until then), in order."""


@dataclass(frozen=True, slots=True)
class Boots:
    """In which boot a device was at a record of a batch."""

    changes: BootChanges
    seen: SeenSequences

    def of(self, device: str, record: int) -> str:
        for at, before in self.changes.get(device, ()):
            if record < at:
                return before.boot_id
        return self.seen.current_boot_id(device)


def boots_then(
    seen: SeenSequences, devices: Sequence[str], boots: Sequence[str | None]
) -> dict[str, list[tuple[int, Window]]]:
    """The changes of boots that n records stand for, each of which has its own; None for the one its device is in now."""
    found: dict[str, list[tuple[int, Window]]] = {}
    before: dict[str, str | None] = {}
    for record, (device, boot_id) in enumerate(zip(devices, boots, strict=True)):
        if before.setdefault(device, boot_id) != boot_id:
            found.setdefault(device, []).append((record, _window(seen, device, before[device])))
            before[device] = boot_id
    for device, boot_id in before.items():
        found.setdefault(device, []).append((len(devices), _window(seen, device, boot_id)))
    return found


def _window(seen: SeenSequences, device: str, boot_id: str | None) -> Window:
    if boot_id is None:
        return seen.window_now(device)
    (window,), _ = seen.windows([device], [boot_id])
    return window


def without_sequences(groups: Sequence[Points], records: I64, is_noted: Sequence[bool]) -> list[Points]:
    """Take the sequence numbers off points whose messages were refused after these had been noted: they are no duplicates.

    Args:
        records: The record of each message. is_noted: By record.
    """
    noted = np.array(is_noted, np.bool_)
    found: list[Points] = []
    for points in groups:
        mask = noted[records[points.index]]
        if points.seqs is None or not mask.any():
            found.append(points)
            continue
        freed = points.keep(mask)
        freed.seqs = freed.boot_ids = None
        found += [freed, points.keep(~mask)]
    return [points for points in found if len(points)]


def dead_letters(
    records: BatchRecords,
    refusals: Mapping[int, Refusal],
    router: TopicRouter,
    boots: Boots | None,
    unnoted: Collection[int],
) -> list[DeadLetter]:
    """The letters of a batch, in the order of its records.

    Args:
        boots: None where earlier records are still to be read, which may name other boots.
        unnoted: Records whose sequence numbers were not taken note of.
    """
    letters: list[DeadLetter] = []
    budget_bytes = DEAD_LETTER_BATCH_BYTES_MAX
    for record in sorted(refusals):
        reason, detail = refusals[record]
        block, columns, at = records.place(record)
        payload = columns.payload(at)
        kept: bytes | None = payload[:DEAD_LETTER_PAYLOAD_BYTES_MAX]
        budget_bytes -= len(kept or b"")
        if budget_bytes < 0:
            kept = None
        client_id, principal = columns.clients[columns.client_index[at]]
        topic = columns.topics[columns.topic_index[at]]
        device = router.route(topic).device or principal
        letters.append(
            DeadLetter(
                epoch=block.epoch,
                seq=block.first_seq + at,
                received_at_ms=block.first_time_ms + columns.received_delta_ms[at],
                device=device,
                topic=topic.decode("utf-8", "replace"),
                client_id=client_id,
                reason=reason.value,
                detail=detail,
                payload=kept,
                payload_bytes=len(payload),
                boot_id=None if boots is None else boots.of(device, record),
                is_noted=record not in unnoted,
            )
        )
    return letters
