"""From payload bytes to plain Python values: any bytes at all give a value or a refusal, never anything else.

Each payload is decoded by itself, so no payload can touch what another one means. Decoding a whole batch in one
call (payloads joined by a random sentinel) was tried and is slower, see docs/decisions/0002-decode-by-shape.md.

What the JSON decoder does with the corners (pinned by tests): of duplicate keys the last one counts; NaN,
Infinity, trailing commas, comments and a byte order mark are refused; a number beyond the doubles is refused;
whole numbers keep all their digits here and become doubles in the store; invalid UTF-8 and lone surrogates are
refused; nesting beyond the interpreter's recursion limit is refused here, and beyond JSON_DEPTH_MAX in points.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.core.limits import PAYLOAD_DECODE_BYTES_MAX
from appliance.management.readings import Reason, Refusal, Scalar

_decode: Final = msgspec.json.Decoder().decode
_DETAIL_CHARACTERS_MAX: Final = 200


class _Refused:
    """Stands in the place of a payload that can't be decoded; no JSON value has this type."""

    __slots__ = ()


REFUSED: Final = _Refused()


def decode_payloads(payloads: Sequence[bytes]) -> tuple[list[object], dict[int, Refusal]]:
    """Decode n JSON payloads.

    Returns:
        n values in order (dict, list, str, int, float, bool or None; REFUSED where there is none), and the
        refusals by index.
    """
    values: list[object] = []
    refusals: dict[int, Refusal] = {}
    if payloads and max(map(len, payloads)) > PAYLOAD_DECODE_BYTES_MAX:
        payloads = list(payloads)
        for index, payload in enumerate(payloads):
            if len(payload) > PAYLOAD_DECODE_BYTES_MAX:
                refusals[index] = Refusal(Reason.PAYLOAD_TOO_LARGE, f"{len(payload)} bytes")
                payloads[index] = b"null"
    rest = iter(payloads)
    # extend() keeps what it has taken when the decoder raises, and the iterator stands behind the bad payload:
    # n good payloads cost no Python at all, k bad ones k exceptions, whatever their order.
    while True:
        try:
            values.extend(map(_decode, rest))
            break
        except RecursionError:
            refusal = Refusal(Reason.TOO_DEEP)
        except UnicodeDecodeError as error:
            refusal = Refusal(Reason.BAD_UTF8, str(error)[:_DETAIL_CHARACTERS_MAX])
        except msgspec.ValidationError as error:
            refusal = Refusal(Reason.NUMBER_OUT_OF_RANGE, str(error)[:_DETAIL_CHARACTERS_MAX])
        except msgspec.DecodeError as error:
            refusal = Refusal(Reason.BAD_JSON, str(error)[:_DETAIL_CHARACTERS_MAX])
        refusals[len(values)] = refusal
        values.append(REFUSED)
    for index in refusals:
        values[index] = REFUSED
    assert len(values) == len(payloads)
    return values, refusals


def decode_text(payload: bytes) -> Scalar | Refusal:
    """The one value of a payload whose mapping says `format = "text"`: a number, true, false, or else text."""
    if len(payload) > PAYLOAD_DECODE_BYTES_MAX:
        return Refusal(Reason.PAYLOAD_TOO_LARGE, f"{len(payload)} bytes")
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        return Refusal(Reason.BAD_UTF8, str(error)[:_DETAIL_CHARACTERS_MAX])
    if not text:
        return Refusal(Reason.NO_VALUES)
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return value if isinstance(value, int | float | bool) else text
