"""What a device is told whose request was not taken up: too large, too many, nobody there, no such thing. Pure.

One shape for each service: where AWS IoT has one, theirs (numbers for shadows, words for jobs, letters for streams), with
our own `reason` and `retry_s` beside it. What a handler itself refuses it says in its own words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from .cbor_writing import encode_cbor
from .request_topics import CBOR, PROVISION, DeviceTopic

_CLIENT_TOKEN: Final = re.compile(rb'"(?:clientToken|c)"\s*:\s*"([\x20\x21\x23-\x5b\x5d-\x7e]{1,64})"')
"""At most 64 bytes, as AWS IoT has it."""
_STATUS: Final = {
    "request_too_large": 413,
    "requests_waiting": 429,
    "requests_too_fast": 429,
    "answer_too_large": 413,
    "not_authorized": 403,
    "unavailable": 500,
}
"""Of a shadow's refusal; 500 is also what AWS says when it can't answer now."""
_WORD: Final = {
    400: "InvalidRequest",
    403: "Unauthorized",
    404: "ResourceNotFound",
    409: "VersionMismatch",
    413: "InvalidRequest",
    429: "RequestThrottled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request was not taken up.

    Attributes:
        code: Stable, of ours.
        status: As in HTTP; 0 for the code's own.
        retry_s: When it may be asked again; None where that would not help.
    """

    code: str
    message: str
    status: int = 0
    retry_s: int | None = None


def refusal_message(topic: DeviceTopic, refusal: Refusal, asked: bytes) -> tuple[str, bytes]:
    """Topic and payload of the answer.

    Args:
        asked: The request's payload; its client token comes back, where one is found without reading it.
    """
    status = refusal.status or _STATUS.get(refusal.code, 400)
    word = _WORD.get(status, "InternalError")
    token = _client_token(asked)
    more: dict[str, str | int] = {"reason": refusal.code}
    if refusal.retry_s is not None:
        more["retry_s"] = refusal.retry_s
    words: dict[str, str | int]
    if topic.service == "streams":
        words = {"o": word, "m": refusal.message, **({"c": token} if token else {}), **more}
        encoded = encode_cbor(words) if topic.rest[-1] == CBOR else _json(words)
        return topic.rejected(), encoded
    if topic.service in (PROVISION, "cmd"):
        words = {"code": refusal.code, "message": refusal.message}
        del more["reason"]
    else:
        words = {"code": status if topic.service == "shadow" else word, "message": refusal.message}
        if token:
            words["clientToken"] = token
    return topic.rejected(), _json(words | more)


def _client_token(asked: bytes) -> str:
    found = _CLIENT_TOKEN.search(asked)
    return found.group(1).decode("ascii") if found else ""


def _json(words: dict[str, str | int]) -> bytes:
    return json.dumps(words, ensure_ascii=False).encode()
