"""Files in blocks over MQTT: what a device asks for, what it gets, and how a refusal reads. Pure.

    describe    {c}                        → description   {c, s, d, r: [{f, z}]}
    get         {c, s, f, l, o, n, b?}     → data          {c, f, l, i, r, p}, one message a block
                                           → rejected      {o, m, c, reason, retry_s?}

c token of the client, s version of the stream, f file, l length of a block, o number of the first block, n how many, b bitmap of those that
are missing, counted from o, the first one in the lowest bit of the first byte; i number of the block, r how many of the same answer come behind it, p its bytes, z size of the
file.
In JSON bytes are base64; in CBOR they are bytes. The fields and the words of refusals are those of AWS IoT's file delivery, whose SDKs
ask here too; r, reason and retry_s are ours, as in every refusal (request_refusals.py).

Must not know: whose device it is, where the bytes lie, how fast they may go.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.core.errors import UsageError
from appliance.core.limits_delivery import (
    BLOCK_BITMAP_BYTES_MAX,
    BLOCK_BYTES_MAX,
    BLOCK_BYTES_MIN,
    BLOCK_COUNT_MAX,
    STREAM_ANSWER_DATA_BYTES_MAX,
    STREAM_TOKEN_BYTES_MAX,
)
from appliance.management.cbor import decode_cbor
from appliance.management.cbor_writing import Writable, encode_cbor
from appliance.management.readings import Refusal

Form = Literal["json", "cbor"]
STREAM_VERSION: Final = 1
"""A stream is named after its content, so it has one version."""
FILE_ID: Final = 0
"""And one file."""
_PREFIX: Final = "fw-"
_DIGEST_LENGTH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """Blocks that are asked for.

    Attributes:
        block_bytes: Length of a block; the file's last one may be shorter.
        first: Number of the first block, and of the bitmap's first bit.
        count: How many at most; None for as many as there are.
        bitmap: Of those that are missing; None for all from `first` on.
    """

    token: str
    block_bytes: int
    first: int
    count: int | None
    bitmap: bytes | None


def stream_id(sha256: str) -> str:
    """The stream's name: 35 characters, of the first 128 bits of what is in it.

    Args:
        sha256: 64 hexadecimal digits.
    """
    return _PREFIX + sha256[:_DIGEST_LENGTH]


def fields_of(payload: bytes, form: Form) -> dict[str, Any]:
    """The fields of a request; an empty payload has none.

    Raises:
        UsageError: `InvalidJson`, `InvalidCbor`.
    """
    if not payload:
        return {}
    if form == "cbor":
        value = decode_cbor(payload, is_senml=True)
        if not isinstance(value, dict):
            what = value.detail if isinstance(value, Refusal) else "it is no map"
            raise _refused("InvalidCbor", f"The request is no CBOR map: {what}.")
        return value
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _refused("InvalidJson", f"The request is no JSON: {str(error)[:80]}.") from error
    if not isinstance(value, dict):
        raise _refused("InvalidJson", "The request is no JSON object.")
    return value


def token_of(fields: dict[str, Any]) -> str:
    """The client's token; "" where there is none that may go back."""
    token = fields.get("c", "")
    return (
        token
        if isinstance(token, str) and len(token.encode(errors="replace")) <= STREAM_TOKEN_BYTES_MAX
        else ""
    )


def get_of(fields: dict[str, Any], size_bytes: int) -> Get:
    """What a `get` asks for.

    Args:
        size_bytes: Of the file.
    Raises:
        UsageError: `InvalidRequest`, `VersionMismatch`, `ResourceNotFound`, `BlockSizeOutOfBounds`, `OffsetOutOfBounds`,
            `BlockCountLimitExceeded`, `BlockBitmapLimitExceeded`.
    """
    if _whole(fields, "s", STREAM_VERSION) != STREAM_VERSION:
        raise _refused("VersionMismatch", f"The stream has version {STREAM_VERSION}.")
    if _whole(fields, "f", FILE_ID) != FILE_ID:
        raise _refused("ResourceNotFound", f"The stream has one file, {FILE_ID}.")
    block_bytes = _whole(fields, "l", None)
    if not BLOCK_BYTES_MIN <= block_bytes <= BLOCK_BYTES_MAX:
        raise _refused("BlockSizeOutOfBounds", f"A block has {BLOCK_BYTES_MIN} to {BLOCK_BYTES_MAX} bytes.")
    first = _whole(fields, "o", 0)
    if not 0 <= first * block_bytes < size_bytes:
        raise _refused("OffsetOutOfBounds", f"The file has {size_bytes} bytes, which is less.")
    count = _whole(fields, "n", 0) if "n" in fields else None
    if count is not None and not 1 <= count <= BLOCK_COUNT_MAX:
        raise _refused("BlockCountLimitExceeded", f"1 to {BLOCK_COUNT_MAX} blocks can be asked for.")
    return Get(
        token=token_of(fields), block_bytes=block_bytes, first=first, count=count, bitmap=_bitmap(fields)
    )


def wanted(get: Get, size_bytes: int, bytes_max: int = STREAM_ANSWER_DATA_BYTES_MAX) -> list[int]:
    """Numbers of the blocks that answer a request, rising: at least one, at most as many as have `bytes_max` in all.

    Raises:
        UsageError: `OffsetOutOfBounds`: the file has none of those that are asked for.
    """
    count = min(max(bytes_max // get.block_bytes, 1), get.count or BLOCK_COUNT_MAX)
    end = -(-size_bytes // get.block_bytes)
    if get.bitmap is None:
        return list(range(get.first, min(end, get.first + count)))
    found: list[int] = []
    for number in _set_bits(get.bitmap):
        if len(found) == count or get.first + number >= end:
            break
        found.append(get.first + number)
    if not found:
        raise _refused("OffsetOutOfBounds", f"The file has {end} blocks of this length, and none of these.")
    return found


def runs(blocks: list[int]) -> list[tuple[int, int]]:
    """Blocks that follow each other, as (first, count): what can be read at once."""
    joined: list[tuple[int, int]] = []
    for number in blocks:
        if joined and sum(joined[-1]) == number:
            joined[-1] = (joined[-1][0], joined[-1][1] + 1)
        else:
            joined.append((number, 1))
    return joined


def encode_data(form: Form, get: Get, number: int, data: bytes, to_come_count: int) -> bytes:
    """One block.

    Args:
        to_come_count: Blocks of this answer behind it.
    """
    if form == "cbor":
        return encode_cbor(
            {"c": get.token, "f": FILE_ID, "l": len(data), "i": number, "r": to_come_count, "p": data}
        )
    # By hand: json.dumps would look at each of 170,000 characters for what must be escaped.
    token = json.dumps(get.token)
    text = f'{{"c":{token},"f":{FILE_ID},"l":{len(data)},"i":{number},"r":{to_come_count},"p":"'
    return b"".join((text.encode(), b64encode(data), b'"}'))


def encode_description(form: Form, token: str, description: str, size_bytes: int) -> bytes:
    """What a stream is."""
    return _encode(
        form, {"c": token, "s": STREAM_VERSION, "d": description, "r": [{"f": FILE_ID, "z": size_bytes}]}
    )


def encode_refusal(
    form: Form, token: str, word: str, message: str, *, reason: str, retry_s: int = 0
) -> bytes:
    """Why a request gets nothing.

    Args:
        word: AWS's, for clients that know them.
        reason: Our own code.
        retry_s: When to ask again; 0 where that would not help.
    """
    fields: dict[str, Writable] = {"o": word, "m": message, "c": token, "reason": reason}
    return _encode(form, fields | ({"retry_s": retry_s} if retry_s else {}))


def _encode(form: Form, fields: dict[str, Writable]) -> bytes:
    return encode_cbor(fields) if form == "cbor" else json.dumps(fields, separators=(",", ":")).encode()


def _whole(fields: dict[str, Any], name: str, default: int | None) -> int:
    value = fields.get(name, default)
    if type(value) is not int:
        what = "is missing" if value is None else "is no whole number"
        raise _refused("InvalidRequest", f"“{name}” {what}.")
    return value


def _bitmap(fields: dict[str, Any]) -> bytes | None:
    value = fields.get("b")
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = b64decode(value, validate=True)
        except (ValueError, binascii.Error) as error:
            raise _refused("InvalidRequest", "“b” is no base64.") from error
    if type(value) is not bytes:
        raise _refused("InvalidRequest", "“b” is no bitmap.")
    if len(value) > BLOCK_BITMAP_BYTES_MAX:
        raise _refused("BlockBitmapLimitExceeded", f"A bitmap has {BLOCK_BITMAP_BYTES_MAX} bytes at most.")
    if not any(value):
        raise _refused("InvalidRequest", "“b” asks for nothing: no bit of it is set.")
    return value


def _set_bits(bitmap: bytes) -> Iterator[int]:
    for index, byte in enumerate(bitmap):
        if byte:
            yield from (index * 8 + bit for bit in range(8) if byte >> bit & 1)


def _refused(code: str, message: str) -> UsageError:
    return UsageError(message, hint="Ask as docs/DEVICE_CONTRACT.md says.", code=code)
