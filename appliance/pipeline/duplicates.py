"""Which points of a batch were seen already, and which can't be told yet.

A log is read in order, but for a backlog: then new records are read AHEAD of older ones, and a SECOND time when the older
ones have been read. What a boot that names itself has sent is a set, so AHEAD takes it at once and the windows are shared.
A `seq` without a boot id means what the records before it make of it (the boot that a status named, a restart): AHEAD leaves
the whole message, and the SECOND reading takes exactly those. In a rebuild the same goes for days that are in the archive: what is sent again
now may be there, as records that are still to be read will say. Which they are follows from the message alone, so that
nothing has to be remembered, and nothing is lost or stored twice wherever the node is killed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

import numpy as np

from appliance.core.arrays import I64
from appliance.management.dedup import SeenSequences, Verdict, Window
from appliance.management.envelopes import Points, mask_without
from appliance.management.readings import Reason, Refusal
from appliance.pipeline.records import Gathered
from storage.telemetry.batch import DAY_MS


class Pass(Enum):
    """In which order a batch's records are read."""

    IN_ORDER = "in order"
    AHEAD = "ahead"
    SECOND = "second"


def needs_order(groups: Sequence[Points], held: Collection[int] = ()) -> I64:
    """Indexes of the messages that mean what the records before them make of them.

    Those are: a `seq` without a boot id; a `seq` at all, of a day that the archive may have it of already.

    Args:
        held: These days.
    """
    found = []
    for points in groups:
        if points.seqs is None:
            continue
        if points.boot_ids is None:
            found.append(points.index)
        elif held:
            found.append(points.index[np.isin(points.observed // DAY_MS, list(held))])
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def only(groups: Sequence[Points], messages: I64, *, wanted: bool) -> list[Points]:
    """The points of these messages, or of all others."""
    if not len(messages):
        return [] if wanted else list(groups)
    kept = (points.keep(np.isin(points.index, messages) == wanted) for points in groups)
    return [points for points in kept if len(points)]


def without_duplicates(
    seen: SeenSequences, groups: Sequence[Points], gathered: Gathered, refusals: dict[int, Refusal]
) -> tuple[list[Points], set[int]]:
    """Leave out what was seen; a `seq` too old to tell refuses its message.

    Returns:
        The points that are new, and the indexes of messages that had one that isn't.
    """
    duplicates: set[int] = set()
    numbered = [points for points in groups if points.seqs is not None]
    if not numbered:
        return list(groups), duplicates
    verdicts = _see(seen, numbered, gathered)
    too_old = {
        int(points.index[at])
        for points, found in zip(numbered, verdicts, strict=True)
        for at, verdict in found.items()
        if verdict is Verdict.TOO_OLD
    }
    refusals.update((index, Refusal(Reason.SEQ_TOO_OLD)) for index in too_old)
    kept = [points for points in groups if points.seqs is None]
    for points, found in zip(numbered, verdicts, strict=True):
        duplicates.update(points.index[list(found)].tolist())
        kept.append(points.keep(mask_without(len(points), found)) if found else points)
    if too_old:
        kept = [points.keep(~np.isin(points.index, list(too_old))) for points in kept]
    return kept, duplicates


def _see(seen: SeenSequences, groups: Sequence[Points], gathered: Gathered) -> list[dict[int, Verdict]]:
    """Take note of all `seq` in the order of the log, whatever groups they are in; for each group what isn't new.

    The order matters: one group after the other, a device that alternates between two shapes would leave a gap per
    reading, more than a window can hold.
    """
    windows: list[Window] = []
    at: list[I64] = []
    for points in groups:
        mine, positions = _windows(seen, points, gathered)
        at.append(positions + len(windows))
        windows.extend(mine)
    seqs = np.concatenate([points.seqs for points in groups if points.seqs is not None])
    observed = np.concatenate([points.observed for points in groups])
    index = np.concatenate([points.index for points in groups])
    order = np.argsort(index, kind="stable")
    windows, which = _distinct(windows, np.concatenate(at))
    verdicts = seen.see_all(windows, which[order], seqs[order], observed[order])
    return _by_group(verdicts, order, [len(points) for points in groups])


def _windows(seen: SeenSequences, points: Points, gathered: Gathered) -> tuple[list[Window], I64]:
    """The window of each point: of the boot that it names, or of the one that its device was in."""
    if points.boot_ids is not None:
        devices = [route.device for route in points.routes.each()]
        return seen.windows(devices, points.boot_ids)
    table = points.routes.table
    numbers: dict[str, int] = {}
    of_route = np.zeros(len(table), np.int64)
    for number in points.routes.present().tolist():
        of_route[number] = numbers.setdefault(table[number].device, len(numbers))
    windows = list(map(seen.window_now, numbers))
    at = of_route[points.routes.at]
    records = gathered.messages.records[points.index]
    # Readings that came before a status named another boot belong to the one before.
    for device in gathered.boots.keys() & numbers.keys():
        mine = np.flatnonzero(at == numbers[device])
        for record, before in reversed(gathered.boots[device]):
            at[mine[records[mine] < record]] = len(windows)
            windows.append(before)
    return _distinct(windows, at)


def _distinct(windows: Sequence[Window], at: I64) -> tuple[list[Window], I64]:
    """Each window once, and the indexes into them."""
    numbers: dict[Window, int] = {}
    new = np.array([numbers.setdefault(window, len(numbers)) for window in windows], np.int64)
    return list(numbers), new[at]


def _by_group(verdicts: dict[int, Verdict], order: I64, sizes: Sequence[int]) -> list[dict[int, Verdict]]:
    """Verdicts by position in the merged order, back to positions in each group."""
    found: list[dict[int, Verdict]] = [{} for _ in sizes]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    for position, verdict in verdicts.items():
        at = int(order[position])
        group = int(np.searchsorted(starts, at, side="right")) - 1
        found[group][at - int(starts[group])] = verdict
    return found
