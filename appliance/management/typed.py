"""The fastest way for the messages that make up nearly all of the load: a decoder of its own for each shape.

A topic whose messages keep having the same keys and kinds gets a typed shape: a msgspec struct made for exactly these
keys. Decoding into it takes half the time of decoding into dictionaries, checks keys and kinds in passing, and its fields
come out as columns without touching a message in Python. A message that doesn't fit raises inside the decoder and
goes the general way by itself, with the same result; so what a shape accepts must mean the same there, which a
property test checks.

Shapes come from the outside, so they are bounded (TYPED_SHAPE_COUNT_MAX) and earned (PROMOTE_COUNT messages of a topic);
a topic that often misses its shape loses it for a while. Figures: docs/decisions/0002-decode-by-shape.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from appliance.core.arrays import I64, f64, i64
from appliance.core.limits import (
    BOOT_ID_BYTES_MAX,
    METRIC_NAME_BYTES_MAX,
    PAYLOAD_DECODE_BYTES_MAX,
    TEXT_VALUE_BYTES_MAX,
    TYPED_METRIC_COUNT_MAX,
    TYPED_SHAPE_COUNT_MAX,
)
from appliance.management.envelopes import Column, Opened, Points, mask_without, observe, qualities, take
from appliance.management.mapping import Route
from appliance.management.messages import Messages
from appliance.management.points import ENVELOPE_V_KEYS, ENVELOPE_VALUES_KEYS, SEQ_MAX
from appliance.management.readings import KIND_OF_TYPE, ValueKind

PROMOTE_COUNT: Final = 32
"""Messages of a topic that went the general way before it gets a shape."""
UNFIT_PAUSE_COUNT: Final = 1_000
"""Messages of a topic after one that no shape can be made of, until the next try."""
MISS_COUNT_MAX: Final = 64
MISS_PAUSE_COUNT: Final = 5_000
"""Misses after which a topic loses its shape, and messages until it may get one again."""
CHUNK_MESSAGES: Final = 2_000
"""Decoded at a time: their objects (about 1 KiB each) stay in the processor's cache. 24,000 took 30 % longer."""

_astuple: Final = msgspec.structs.astuple
_TYPE_OF_KIND: Final[dict[ValueKind, Any]] = {
    ValueKind.NUMBER: float,
    ValueKind.BOOLEAN: bool,
    # Characters: within the limit whatever they are in UTF-8. A longer text goes the general way, which counts bytes.
    ValueKind.TEXT: Annotated[str, msgspec.Meta(max_length=TEXT_VALUE_BYTES_MAX // 4)],
}
_WHOLE: Final = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
_TYPE_OF_KEY: Final[dict[str, Any]] = {
    # Other whole numbers are no times; the general way says so.
    "ts": Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)],
    "seq": _WHOLE,
    "q": Literal["good", "est", "bad"],
    "boot_id": Annotated[str, msgspec.Meta(min_length=1, max_length=BOOT_ID_BYTES_MAX // 4)],
}
_Key = tuple[str, tuple[str, ...], tuple[str, ...], tuple[ValueKind, ...]]


class TypedShape:
    """A decoder for messages with exactly these keys.

    Args:
        body: `v` or `values` where the values stand in an envelope, "" where they are the message itself.
        outer: Keys beside the values, of `ts`, `seq`, `q` and `boot_id`; for body "" of `ts` only.
        keys, kinds: Of the values.
    """

    __slots__ = ("_decode", "_fields", "body", "keys", "kinds", "outer")

    def __init__(
        self, body: str, outer: tuple[str, ...], keys: tuple[str, ...], kinds: tuple[ValueKind, ...]
    ) -> None:
        self.body, self.outer, self.keys, self.kinds = body, outer, keys, kinds
        values = [(f"k{at}", _TYPE_OF_KIND[kind]) for at, kind in enumerate(kinds)]
        names = {f"k{at}": key for at, key in enumerate(keys)}
        around = [(key, _TYPE_OF_KEY[key]) for key in outer]
        if body:
            around.append((body, _struct(values, names)))
            whole = _struct(around, {})
        else:
            whole = _struct([*values, *around], names)
        self._fields = len(outer) + (1 if body else len(keys))
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(whole).decode

    def decode(self, payloads: Sequence[bytes]) -> tuple[list[Any], list[int]]:
        """The payloads that fit, as structs, and the positions of those that don't."""
        objects: list[Any] = []
        missed: list[int] = []
        rest = iter(payloads)
        # As in decoding.decode_payloads: extend() keeps what it took, the iterator stands behind the misfit.
        while True:
            try:
                objects.extend(map(self._decode, rest))
                return objects, missed
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                missed.append(len(objects) + len(missed))

    def columns(self, objects: Sequence[Any]) -> _Rows:
        """The objects' fields as columns, without an index."""
        width = self._fields
        flat = list(chain.from_iterable(map(_astuple, objects)))
        start = 0 if self.body else len(self.keys)
        outer: dict[str, list[Any]] = {key: flat[start + at :: width] for at, key in enumerate(self.outer)}
        if self.body:
            flat = list(chain.from_iterable(map(_astuple, flat[width - 1 :: width])))
            width = len(self.keys)
        columns: list[Column]
        if ValueKind.TEXT in self.kinds or width != len(self.keys):
            lists = [flat[at::width] for at in range(len(self.keys))]
            columns = [
                column if kind is ValueKind.TEXT else f64(column)
                for kind, column in zip(self.kinds, lists, strict=True)
            ]
        else:
            columns = list(f64(flat).reshape(-1, width).T)
        return _Rows(
            times=i64(outer["ts"]) if "ts" in outer else None,
            seqs=i64(outer["seq"]) if "seq" in outer else None,
            words=outer.get("q"),
            boot_ids=outer.get("boot_id"),
            columns=columns,
        )


@dataclass(slots=True)
class _Rows:
    """What some messages of one shape gave: None for what the shape doesn't have."""

    times: I64 | None
    seqs: I64 | None
    words: list[str] | None
    boot_ids: list[str] | None
    columns: list[Column]


@dataclass(slots=True)
class _Found:
    """What the messages of one shape gave so far, chunk by chunk."""

    index: list[I64] = field(default_factory=list)
    rows: list[_Rows] = field(default_factory=list)


def _joined(pieces: Sequence[Any]) -> Any:
    """Pieces of one column as one; None where the shape has none."""
    if len(pieces) == 1 or pieces[0] is None:
        return pieces[0]
    return list(chain.from_iterable(pieces)) if isinstance(pieces[0], list) else np.concatenate(pieces)


def _struct(fields: list[tuple[str, Any]], names: dict[str, str]) -> type:
    # gc=False: the values are scalars, no cycle can pass through them, and the collector need not look.
    return msgspec.defstruct("Message", fields, rename=names or None, gc=False, forbid_unknown_fields=True)


def key_of(document: object) -> _Key | None:
    """The key of the typed shape that this document would have, or None when it can have none."""
    if type(document) is not dict or not document:
        return None
    body = ""
    for name, allowed in (("v", ENVELOPE_V_KEYS), ("values", ENVELOPE_VALUES_KEYS)):
        if type(document.get(name)) is dict and document.keys() <= allowed:
            body = name
    values = document[body] if body else {key: value for key, value in document.items() if key != "ts"}
    outer = tuple(sorted(document.keys() - {body})) if body else ("ts",) * ("ts" in document)
    if not 0 < len(values) <= TYPED_METRIC_COUNT_MAX or not all(map(_is_good_key, values)):
        return None
    keys = tuple(sorted(values))
    kinds = [KIND_OF_TYPE.get(type(values[key])) for key in keys]
    if any(kind is None for kind in kinds):
        return None
    if type(document.get("ts", 0)) is not int:
        return None
    if body and (type(document.get("seq", 0)) is not int or type(document.get("boot_id", "")) is not str):
        return None
    return body, outer, keys, tuple(kind for kind in kinds if kind is not None)


def _is_good_key(key: str) -> bool:
    # msgspec takes no quote, backslash or control character in a field's name.
    return (
        bool(key) and len(key) <= METRIC_NAME_BYTES_MAX and key.isprintable() and not set(key) & {'"', "\\"}
    )


class TypedShapes:
    """The typed shapes in use, and which topics have one (on their Route)."""

    def __init__(self, *, shape_count_max: int = TYPED_SHAPE_COUNT_MAX) -> None:
        self._shapes: dict[_Key, TypedShape] = {}
        self._shape_count_max = shape_count_max
        self.misses_total = 0

    def __len__(self) -> int:
        return len(self._shapes)

    def read(self, messages: Messages, opened: Opened) -> I64:
        """Read the messages that fit the shapes of their topics.

        Args:
            opened: Their points are added to it.
        Returns:
            Indexes of the messages that must go the general way, ascending.
        """
        # Shapes are numbered by first appearance: the same records must get the same series ids in a rebuild.
        numbers: dict[TypedShape | None, int] = {None: 0}
        of_route = [numbers.setdefault(route.shape, len(numbers)) for route in messages.routes.table]
        shape_at = np.array(of_route, np.int64)[messages.routes.at]
        shapes = list(numbers)
        found: dict[int, _Found] = {}
        rest: list[I64] = []
        for start, end, part, first in messages.chunks(CHUNK_MESSAGES):
            here = shape_at[start:end]
            payloads = part.each(first, first + end - start)
            for number in np.flatnonzero(np.bincount(here)).tolist():
                index = start + np.flatnonzero(here == number)
                shape = shapes[number]
                if shape is None:
                    rest.append(index)
                    continue
                chosen = payloads
                if len(index) != end - start:
                    chosen = take(payloads, (index - start).tolist())
                self._read_chunk(shape, chosen, index, messages, found.setdefault(number, _Found()), rest)
        for number in sorted(found):
            shape = shapes[number]
            if shape is not None and found[number].index:
                _add(shape, found[number], messages, opened)
        return np.sort(np.concatenate(rest)) if rest else np.empty(0, np.int64)

    def _read_chunk(
        self,
        shape: TypedShape,
        payloads: Sequence[bytes],
        index: I64,
        messages: Messages,
        found: _Found,
        rest: list[I64],
    ) -> None:
        if max(map(len, payloads)) > PAYLOAD_DECODE_BYTES_MAX:
            rest.append(index)
            return
        objects, missed = shape.decode(payloads)
        if missed:
            misfits = index[missed]
            rest.append(misfits)
            self._note_misses(messages.routes.take(misfits).each())
            index = index[mask_without(len(index), missed)]
        if objects:
            found.index.append(index)
            found.rows.append(shape.columns(objects))

    def _note_misses(self, routes: Sequence[Route]) -> None:
        self.misses_total += len(routes)
        for route in routes:
            route.misses += 1
            if route.misses >= MISS_COUNT_MAX:
                route.shape, route.misses, route.untyped = None, 0, -MISS_PAUSE_COUNT

    def learn(self, routes: Sequence[Route], documents: Sequence[object]) -> None:
        """Take note of messages that went the general way; topics that had enough of them get a shape.

        A topic's first message is enough where another topic has earned that shape already.
        """
        for route, document in zip(routes, documents, strict=True):
            if route.format != "json":
                continue
            route.untyped += 1
            if route.shape is None and (route.untyped == 1 or route.untyped >= PROMOTE_COUNT):
                route.shape = self._shape_for(document, is_earned=route.untyped > 1)
                if route.shape is not None:
                    route.untyped = 0
                elif route.untyped > 1:
                    route.untyped = -UNFIT_PAUSE_COUNT

    def _shape_for(self, document: object, *, is_earned: bool) -> TypedShape | None:
        key = key_of(document)
        if key is None:
            return None
        shape = self._shapes.get(key)
        if shape is None and is_earned:
            if len(self._shapes) >= self._shape_count_max:
                self._shapes.clear()
            shape = self._shapes[key] = TypedShape(*key)
        return shape


def _add(shape: TypedShape, found: _Found, messages: Messages, opened: Opened) -> None:
    index = _joined(found.index)
    rows = found.rows
    received = messages.received[index]
    times, words = _joined([r.times for r in rows]), _joined([r.words for r in rows])
    observed, quality = observe(times, qualities(words), received, index, opened)
    opened.groups.append(
        Points(
            index=index,
            routes=messages.routes.take(index),
            received=received,
            observed=observed,
            quality=quality,
            values=[],
            seqs=_joined([r.seqs for r in rows]),
            boot_ids=_joined([r.boot_ids for r in rows]),
            keys=shape.keys,
            kinds=shape.kinds,
            columns=[_joined([r.columns[at] for r in rows]) for at in range(len(shape.keys))],
        )
    )
