"""Payloads of any format to documents: what JSON would have said, for the rest to read as it reads JSON.

Each format is decoded by itself, in the order of the messages. Must not know what is in a document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Final

import msgspec

from appliance.core.arrays import I64
from appliance.core.limits import JSON_DEPTH_MAX, PAYLOAD_DECODE_BYTES_MAX
from appliance.management.cbor import decode_cbor
from appliance.management.decoding import REFUSED, decode_payloads, decode_text
from appliance.management.envelopes import group_indexes, take
from appliance.management.mapping import Route
from appliance.management.readings import Reason, Refusal
from appliance.management.senml import points_of_pack

_unpack: Final = msgspec.msgpack.Decoder().decode
_DETAIL_CHARACTERS_MAX: Final = 200
_MSGPACK_DEPTH_MAX: Final = JSON_DEPTH_MAX + 4
_SCALARS: Final = frozenset({int, bool, str, type(None)})


def decode_messages(
    payloads: Sequence[bytes], routes: Sequence[Route], received: I64
) -> tuple[list[object], dict[int, Refusal]]:
    """Decode n payloads, each in its route's format.

    Args:
        received: Times of arrival, UTC ms.
    Returns:
        As decode_payloads: n documents in order, REFUSED where there is none, and the refusals by index.
    """
    documents: list[object] = [REFUSED] * len(payloads)
    refusals: dict[int, Refusal] = {}
    for format, indexes in group_indexes([route.format for route in routes]).items():
        chosen = take(payloads, indexes)
        if format in ("json", "senml"):
            found, refused = decode_payloads(chosen)
        else:
            found, refused = _each(_DECODERS[format], chosen)
        if format.startswith("senml"):
            _resolve_packs(found, refused, [routes[at].device for at in indexes], received[list(indexes)])
        for at, document in zip(indexes, found, strict=True):
            documents[at] = document
        refusals.update((indexes[at], refusal) for at, refusal in refused.items())
    return documents, refusals


def _each(
    decode: Callable[[bytes], object], payloads: Sequence[bytes]
) -> tuple[list[object], dict[int, Refusal]]:
    documents = list(map(decode, payloads))
    refusals = {at: found for at, found in enumerate(documents) if isinstance(found, Refusal)}
    for at in refusals:
        documents[at] = REFUSED
    return documents, refusals


def _resolve_packs(
    documents: list[object], refusals: dict[int, Refusal], devices: Sequence[str], received: I64
) -> None:
    for at, at_ms in enumerate(received.tolist()):
        if at in refusals:
            continue
        found = points_of_pack(documents[at], devices[at], at_ms)
        if isinstance(found, Refusal):
            documents[at], refusals[at] = REFUSED, found
        else:
            # A pack of one time, the usual one, is decoded in columns with others like it; a list goes one by one.
            documents[at] = found[0] if len(found) == 1 else found


def decode_msgpack(payload: bytes) -> object | Refusal:
    """One MessagePack payload: dict with text keys, list, str, int, float (finite), bool or None; or why there is no value.

    Lengths are bounded by the payload before anything is made of them: msgspec refuses those that don't fit.
    """
    if len(payload) > PAYLOAD_DECODE_BYTES_MAX:
        return Refusal(Reason.PAYLOAD_TOO_LARGE, f"{len(payload)} bytes")
    try:
        document = _unpack(payload)
    except RecursionError:
        return Refusal(Reason.TOO_DEEP)
    except UnicodeDecodeError as error:
        return Refusal(Reason.BAD_UTF8, str(error)[:_DETAIL_CHARACTERS_MAX])
    except (msgspec.DecodeError, ValueError, OverflowError) as error:  # also: a timestamp that is no date
        return Refusal(Reason.BAD_MSGPACK, str(error)[:_DETAIL_CHARACTERS_MAX])
    return _strange(document, 1) or document


def _strange(value: object, depth: int) -> Refusal | None:
    """What JSON could not have said, if there is something."""
    kind = type(value)
    if kind in _SCALARS:
        return None
    if kind is float:
        return None if isfinite(value) else Refusal(Reason.NUMBER_OUT_OF_RANGE, str(value))  # type: ignore[arg-type]
    if depth > _MSGPACK_DEPTH_MAX:
        return Refusal(Reason.TOO_DEEP)
    if kind is dict:
        if not all(type(key) is str for key in value):  # type: ignore[attr-defined]
            return Refusal(Reason.BAD_MSGPACK, "a key is no text")
        items = value.values()  # type: ignore[attr-defined]
    elif kind is list:
        items = value
    else:
        return Refusal(Reason.BAD_VALUE, kind.__name__)
    for item in items:
        if type(item) not in _SCALARS:
            found = _strange(item, depth + 1)
            if found is not None:
                return found
    return None


def _decode_senml_cbor(payload: bytes) -> object | Refusal:
    return decode_cbor(payload, is_senml=True)


_DECODERS: Final[dict[str, Callable[[bytes], object]]] = {
    "text": decode_text,
    "cbor": decode_cbor,
    "msgpack": decode_msgpack,
    "senml_cbor": _decode_senml_cbor,
}
