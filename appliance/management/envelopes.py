"""Many messages at once, first half: what stands around the values (time, sequence, quality), as columns.

Documents are grouped by their keys, and a whole group is checked and taken apart by C-level calls over columns.
What is irregular in a group (a `ts` of text, an unknown `q`, a list) is split off by itself and goes through
points.py, so one strange message costs only itself. (Messages of a shape that is
known well don't come here at all: typed.py.) Both ways give the same points; a property test holds them
against each other. Decided in docs/decisions/0002-decode-by-shape.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import itemgetter
from typing import Any, Final, TypeVar

import numpy as np

from appliance.core.arrays import F64, I64, U8, Mask, i64
from appliance.core.limits import (
    BOOT_ID_BYTES_MAX,
    CLOCK_AHEAD_MS_MAX,
    CLOCK_AHEAD_TOLERANCE_MS,
    CLOCK_UNCHECKED_MS_MAX,
    CLOCK_WRONG_BEFORE_MS,
    EPOCH_2000_MS,
)
from appliance.management.decoding import REFUSED
from appliance.management.messages import Routes
from appliance.management.points import ENVELOPE_V_KEYS, ENVELOPE_VALUES_KEYS, SEQ_MAX, points_of
from appliance.management.readings import QUALITY_OF_WORD, Quality, Refusal, ValueKind

_T = TypeVar("_T")
_TS_MAX: Final = 2**62
"""Beyond it, either way, one absurd time is as good as another, and sums of times stay within 64 bits."""
Column = F64 | list[str]
"""Values of one key: numbers and booleans (0.0, 1.0), or texts."""


def take(items: Sequence[_T], indexes: Iterable[int]) -> list[_T]:
    """The items at some indexes, in that order."""
    return list(map(items.__getitem__, indexes))


@dataclass(slots=True)
class Points:
    """n points as columns: one device, one time and a dict of values each.

    Attributes:
        index: Index of the message each came from (an array's points share one).
        received: Our time of arrival, UTC ms.
        observed: Time of the reading, UTC ms; equals `received` where the device said none that can be believed.
        quality: u8 × n, values of `Quality`.
        values: Key → value as decoded (may be nested, may hold nulls) unless `flat`.
        seqs: One per point, or None when none of them has one.
        boot_ids: One per point, or None when none of them says it.
        flat: Values are checked scalars, ready for columns.
        keys, kinds, columns: Set where typed.py has made columns already (as in ColumnGroup); `values` is empty then.
    """

    index: I64
    routes: Routes
    received: I64
    observed: I64
    quality: U8
    values: list[dict[str, Any]]
    seqs: I64 | None = None
    boot_ids: list[str] | None = None
    flat: bool = False
    keys: tuple[str, ...] = ()
    kinds: tuple[ValueKind, ...] = ()
    columns: list[Column] | None = None

    def __len__(self) -> int:
        return len(self.index)

    def keep(self, mask: Mask) -> Points:
        """The points where the mask is true, in order."""
        chosen = mask.tolist()
        return Points(
            index=self.index[mask],
            routes=self.routes.take(mask),
            received=self.received[mask],
            observed=self.observed[mask],
            quality=self.quality[mask],
            values=list(compress(self.values, chosen)),
            seqs=None if self.seqs is None else self.seqs[mask],
            boot_ids=None if self.boot_ids is None else list(compress(self.boot_ids, chosen)),
            flat=self.flat,
            keys=self.keys,
            kinds=self.kinds,
            columns=None if self.columns is None else [keep_items(c, mask) for c in self.columns],
        )


def keep_items(column: Column, mask: Mask) -> Column:
    """A column's items where the mask is true."""
    if isinstance(column, list):
        return list(compress(column, mask.tolist()))
    return column[mask]


def mask_without(count: int, positions: Iterable[int]) -> Mask:
    """True for all of n but some positions."""
    mask = np.ones(count, np.bool_)
    mask[list(positions)] = False
    return mask


@dataclass(slots=True)
class Opened:
    """What a batch of documents held.

    Attributes:
        groups: Points, grouped by the form of their envelope.
        refusals: By message index.
        nulls_skipped: Null values that were left out.
        clocks_absurd: Points whose `ts` could not be believed. absurd: Of them, message indexes and what they said, UTC ms.
    """

    groups: list[Points] = field(default_factory=list)
    refusals: dict[int, Refusal] = field(default_factory=dict)
    nulls_skipped: int = 0
    clocks_absurd: int = 0
    absurd: list[tuple[I64, I64]] = field(default_factory=list)


def open_envelopes(
    documents: Sequence[object], routes: Routes, received: I64, opened: Opened, index: I64
) -> None:
    """Read n decoded payloads of telemetry topics.

    Args:
        documents: From decode_payloads; REFUSED entries are passed over.
        routes: Where each came from. received: When, UTC ms.
        opened: What is found is added to it.
        index: Message index of each document.
    """
    for form, indexes in group_by_form(documents).items():
        if form is type(REFUSED):
            continue
        if len(indexes) == len(documents):
            batch = _Batch(index, documents, routes, received)
        else:
            batch = _Batch(index, documents, routes, received).part(indexes)
        if isinstance(form, tuple):
            _open_objects(form, batch, opened)
        elif form in (int, float, bool, str):
            plain = [{"": document} for document in batch.documents]
            _add(batch, None, None, plain, None, None, opened)
        else:
            _open_one_by_one(batch, opened)


def group_by_form(documents: Sequence[object]) -> dict[Any, Sequence[int]]:
    """Indexes by form: an object's form is the tuple of its keys, anything else's is its type."""
    if set(map(type, documents)) == {dict}:
        forms: list[Any] = list(map(tuple, documents))  # type: ignore[arg-type]
    else:
        forms = [tuple(d) if type(d) is dict else type(d) for d in documents]
    return group_indexes(forms)


def group_indexes(keys: Sequence[Any]) -> dict[Any, Sequence[int]]:
    """Indexes by key, each in order."""
    # In order of first appearance, not of a set: the same records must get the same series ids in a rebuild.
    groups: dict[Any, list[int]] = {key: [] for key in dict.fromkeys(keys)}
    if len(groups) == 1:
        return {next(iter(groups)): range(len(keys))}
    for index, key in enumerate(keys):
        groups[key].append(index)
    return groups  # type: ignore[return-value]


@dataclass(slots=True)
class _Batch:
    """Messages of one form."""

    index: I64
    documents: Sequence[Any]
    routes: Routes
    received: I64

    def part(self, positions: Sequence[int]) -> _Batch:
        chosen = i64(positions)
        return _Batch(
            self.index[chosen],
            take(self.documents, positions),
            self.routes.take(chosen),
            self.received[chosen],
        )


def _is_short_text(boot_id: object) -> bool:
    return type(boot_id) is str and 0 < len(boot_id) * 4 <= BOOT_ID_BYTES_MAX


_REGULAR: Final[dict[str, tuple[Callable[[list[Any]], bool], Callable[[Any], bool]]]] = {
    # key: (holds for a whole column at C speed, holds for one)
    "ts": (lambda column: set(map(type, column)) == {int}, lambda ts: type(ts) is int),
    "seq": (
        lambda column: set(map(type, column)) == {int} and min(column) >= 0 and max(column) <= SEQ_MAX,
        lambda seq: type(seq) is int and 0 <= seq <= SEQ_MAX,
    ),
    "q": (
        lambda column: set(map(type, column)) == {str} and set(column) <= QUALITY_OF_WORD.keys(),
        lambda word: type(word) is str and word in QUALITY_OF_WORD,
    ),
    "boot_id": (
        lambda column: set(map(type, column)) == {str} and all(map(_is_short_text, set(column))),
        _is_short_text,
    ),
    "v": (lambda column: set(map(type, column)) == {dict}, lambda values: type(values) is dict),
}
_REGULAR["values"] = _REGULAR["v"]


def _open_objects(keys: tuple[str, ...], batch: _Batch, opened: Opened) -> None:
    """Objects that all have these keys, in this order."""
    for body, allowed in (("v", ENVELOPE_V_KEYS), ("values", ENVELOPE_VALUES_KEYS)):
        if body in keys and allowed.issuperset(keys):
            regular, rest = _split(keys, batch)
            if regular is not None:
                columns = {key: list(map(itemgetter(key), regular.documents)) for key in keys}
                seqs = columns.get("seq")
                _add(
                    regular,
                    columns.get("ts"),
                    qualities(columns.get("q")),
                    columns[body],
                    None if seqs is None else i64(seqs),
                    columns.get("boot_id"),
                    opened,
                )
            if rest is not None:
                _open_one_by_one(rest, opened)
            return
    if "ts" not in keys:
        _add(batch, None, None, list(batch.documents), None, None, opened)
        return
    regular, rest = _split(("ts",), batch)
    if regular is not None:
        times = [document.pop("ts") for document in regular.documents]
        _add(regular, times, None, list(regular.documents), None, None, opened)
    if rest is not None:
        _open_one_by_one(rest, opened)


def _split(keys: tuple[str, ...], batch: _Batch) -> tuple[_Batch | None, _Batch | None]:
    """The messages whose envelope is regular in all of these keys, and the others."""
    documents = batch.documents
    if all(_REGULAR[key][0](list(map(itemgetter(key), documents))) for key in keys):
        return batch, None
    tests = [(key, _REGULAR[key][1]) for key in keys]
    regular: list[int] = []
    rest: list[int] = []
    for position, document in enumerate(documents):
        (regular if all(test(document[key]) for key, test in tests) else rest).append(position)
    return (batch.part(regular) if regular else None), (batch.part(rest) if rest else None)


def _add(
    batch: _Batch,
    times: list[int] | None,
    said: U8 | None,
    values: list[dict[str, Any]],
    seqs: I64 | None,
    boot_ids: list[str] | None,
    opened: Opened,
) -> None:
    """Add a group whose times are whole numbers (or missing), whatever their size."""
    if times is not None and (min(times) < -_TS_MAX or max(times) > _TS_MAX):
        times = [max(-_TS_MAX, min(ms, _TS_MAX)) for ms in times]
    observed, quality = observe(
        None if times is None else i64(times), said, batch.received, batch.index, opened
    )
    opened.groups.append(
        Points(
            index=batch.index,
            routes=batch.routes,
            received=batch.received,
            observed=observed,
            quality=quality,
            values=values,
            seqs=seqs,
            boot_ids=boot_ids,
        )
    )


def qualities(words: Sequence[str] | None) -> U8 | None:
    """The qualities that messages say, or None when none says one."""
    return None if words is None else np.frombuffer(bytes(map(QUALITY_OF_WORD.__getitem__, words)), np.uint8)


def observe(times: I64 | None, said: U8 | None, received: I64, index: I64, opened: Opened) -> tuple[I64, U8]:
    """The time that counts, and the quality that follows from it (points.py says the rule).

    Args:
        times: n device times in ms, or None when no message says one. said: n qualities, or None when none says one.
        index: n message indexes.
    """
    if times is None:
        absurd: Mask = np.ones(len(received), np.bool_)
        observed = received
    else:
        absurd = (times < EPOCH_2000_MS) | (
            times
            > np.where(
                received < CLOCK_WRONG_BEFORE_MS, CLOCK_UNCHECKED_MS_MAX, received + CLOCK_AHEAD_MS_MAX
            )
        )
        observed = np.where(absurd, received, times)
        if count := int(np.count_nonzero(absurd)):
            opened.clocks_absurd += count
            opened.absurd.append((index[absurd], times[absurd]))
        absurd |= times > received + CLOCK_AHEAD_TOLERANCE_MS
    quality = np.where(absurd, np.uint8(Quality.UNCERTAIN), np.uint8(Quality.GOOD))
    return observed, quality if said is None else np.maximum(quality, said)


def _open_one_by_one(batch: _Batch, opened: Opened) -> None:
    """The general way: anything at all, some microseconds each."""
    # Points with and without a seq, and with and without a boot id, are groups of their own.
    rows: dict[tuple[bool, bool], list[tuple[int, int, int, Any]]] = {}
    absurd: list[tuple[int, int]] = []
    for index, document, route, received in zip(
        batch.index.tolist(), batch.documents, batch.routes.at.tolist(), batch.received.tolist(), strict=True
    ):
        found = points_of(document, received)
        if isinstance(found, Refusal):
            opened.refusals[index] = found
            continue
        points, nulls = found
        opened.nulls_skipped += nulls
        for point in points:
            if point.absurd_ms is not None:
                absurd.append((index, point.absurd_ms))
            key = (point.seq is not None, point.seq is not None and point.boot_id is not None)
            rows.setdefault(key, []).append((index, route, received, point))
    if absurd:
        opened.clocks_absurd += len(absurd)
        opened.absurd.append((i64([index for index, _ in absurd]), i64([said for _, said in absurd])))
    for (has_seq, has_boot_id), group in rows.items():
        opened.groups.append(
            Points(
                index=i64([row[0] for row in group]),
                routes=Routes(batch.routes.table, i64([row[1] for row in group])),
                received=i64([row[2] for row in group]),
                observed=i64([row[3].observed_at_ms for row in group]),
                quality=np.frombuffer(bytes(row[3].quality for row in group), np.uint8),
                values=[row[3].values for row in group],
                seqs=i64([row[3].seq for row in group]) if has_seq else None,
                boot_ids=[row[3].boot_id for row in group] if has_boot_id else None,
                flat=True,
            )
        )
