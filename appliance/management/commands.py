"""A command: something a device is asked to do, said at most once. Its states, what moves it, and its messages. Pure.

TRANSITIONS is closed. A command is marked as sent before it is said and is never said again, so a box that dies in between loses it:
it is then unanswered, and whoever sent it decides whether to send another. An answer that comes after that is kept and moves nothing.

Must not know: time, tables, topics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, get_args

from appliance.core.errors import UsageError
from appliance.core.limits_twins import (
    COMMAND_ANSWER_BYTES_MAX,
    COMMAND_ERROR_LENGTH_MAX,
    COMMAND_EXPIRY_MS_DEFAULT,
    COMMAND_EXPIRY_MS_MAX,
    COMMAND_EXPIRY_MS_MIN,
    COMMAND_METHOD_LENGTH_MAX,
    COMMAND_PARAMS_BYTES_MAX,
    TWIN_DEPTH_MAX,
)
from appliance.management.twin_json import check_text, decode, depth, encode

WhenAway = Literal["queue", "refuse"]
"""What becomes of a command to a device that doesn't listen: it waits until it expires, or it is refused at once."""
WHEN_AWAY: Final[tuple[WhenAway, ...]] = get_args(WhenAway)
FENCE: Final = 0
"""Which box commands: it grows when another one takes over, and devices refuse a lower one. A site of one box has 0."""


class CommandState(StrEnum):
    QUEUED = "queued"
    """Waits for the device to listen."""
    SENT = "sent"
    """Said, or about to be, once; no answer yet."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The device says that it didn't."""
    EXPIRED = "expired"
    """The device did not listen in time: it was never told."""
    UNANSWERED = "unanswered"
    """No answer in time: whether it was done is unknown."""
    CANCELED = "canceled"
    """Somebody took it back before it was said."""
    REFUSED = "refused"
    """The device went away just before it was said, and it was not to wait."""


class CommandEvent(StrEnum):
    PUSHED = "pushed"
    """About to be said to the device."""
    UNDELIVERED = "undelivered"
    """The broker knows that nobody got it; it is not to wait."""
    PUT_BACK = "put_back"
    """The broker knows that nobody got it; it may wait."""
    ANSWERED_OK = "answered_ok"
    ANSWERED_ERROR = "answered_error"
    DEADLINE = "deadline"
    CANCELED = "canceled"


_S, _E = CommandState, CommandEvent
TRANSITIONS: Final[dict[tuple[CommandState, CommandEvent], CommandState]] = {
    (_S.QUEUED, _E.PUSHED): _S.SENT,
    (_S.QUEUED, _E.DEADLINE): _S.EXPIRED,
    (_S.QUEUED, _E.CANCELED): _S.CANCELED,
    (_S.SENT, _E.PUT_BACK): _S.QUEUED,
    (_S.SENT, _E.UNDELIVERED): _S.REFUSED,
    (_S.SENT, _E.ANSWERED_OK): _S.SUCCEEDED,
    (_S.SENT, _E.ANSWERED_ERROR): _S.FAILED,
    (_S.SENT, _E.DEADLINE): _S.UNANSWERED,
}
OPEN: Final = frozenset({_S.QUEUED, _S.SENT})
ENDED: Final = frozenset(_S) - OPEN


def target(state: CommandState, event: CommandEvent) -> CommandState | None:
    """Where an event leads, None where it moves nothing."""
    return TRANSITIONS.get((state, event))


def sources(event: CommandEvent) -> tuple[CommandState, ...]:
    """The states that an event moves."""
    return tuple(a for a, each in TRANSITIONS if each is event)


def as_mermaid() -> str:
    """TRANSITIONS as a Mermaid state diagram."""
    arrows = [f"    {a} --> {b}: {event}" for (a, event), b in TRANSITIONS.items()]
    ends = [f"    {state} --> [*]" for state in _S if state in ENDED]
    return "\n".join(["stateDiagram-v2", "    [*] --> queued", *arrows, *ends]) + "\n"


_METHOD: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.:/-]{{0,{COMMAND_METHOD_LENGTH_MAX - 1}}}")
_ID: Final = re.compile(r"[A-Za-z0-9:_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWish:
    """What somebody wants a device to do.

    Attributes:
        params: Any value of JSON.
        expires_in_ms: From now; then it is not to be begun any more.
    """

    method: str
    params: Any = None
    when_away: WhenAway = "queue"
    expires_in_ms: int = COMMAND_EXPIRY_MS_DEFAULT

    def check(self) -> None:
        """Refuse what no device can be asked.

        Raises:
            UsageError: `command_method_invalid`, `command_params_invalid`, `command_when_away_invalid`, `command_expiry_invalid`.
        """
        if not _METHOD.fullmatch(self.method):
            raise UsageError(
                f"“{self.method[:80]}” can't be a method.",
                hint=f"Use 1 to {COMMAND_METHOD_LENGTH_MAX} letters, digits, “_”, “.”, “:”, “/” and “-”, a letter or digit first.",
                code="command_method_invalid",
            )
        if self.when_away not in WHEN_AWAY:
            raise UsageError(
                "A command to a device that is away is queued or refused.",
                hint="Say queue or refuse.",
                code="command_when_away_invalid",
            )
        if not COMMAND_EXPIRY_MS_MIN <= self.expires_in_ms <= COMMAND_EXPIRY_MS_MAX:
            raise UsageError(
                "A command expires after 1 second at least and 7 days at most.",
                hint="Send it again later if it is to wait for longer.",
                code="command_expiry_invalid",
            )
        check_params(self.params)


def check_params(params: Any) -> None:
    """Refuse params that are too large or too deep.

    Raises:
        UsageError: `command_params_invalid`; `json_invalid`: half a surrogate pair.
    """
    if depth(params) > TWIN_DEPTH_MAX:
        raise _params_invalid(f"they have more than {TWIN_DEPTH_MAX} levels of objects and arrays")
    check_text(params)
    size_bytes = len(encode(params))
    if size_bytes > COMMAND_PARAMS_BYTES_MAX:
        raise _params_invalid(
            f"they have {size_bytes:,} bytes as JSON; {COMMAND_PARAMS_BYTES_MAX:,} are taken"
        )


def decode_params(text: str) -> Any:
    """Params that somebody typed as JSON; nothing typed is null.

    Raises:
        UsageError: `command_params_invalid`, `json_invalid`.
    """
    if not text.strip():
        return None
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > 2 * COMMAND_PARAMS_BYTES_MAX:
        raise _params_invalid(f"{COMMAND_PARAMS_BYTES_MAX:,} bytes are taken")
    params = decode(data)
    check_params(params)
    return params


def is_id(text: str) -> bool:
    """Whether a text can be a command's id."""
    return _ID.fullmatch(text) is not None


def message(*, method: str, params: Any, expires_at_ms: int, fence: int = FENCE) -> bytes:
    """What the device is told: `{m, p, exp, fence}`."""
    return encode({"m": method, "p": params, "exp": expires_at_ms, "fence": fence})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswer:
    """What a device says came of a command.

    Attributes:
        result: Any value of JSON.
        error: Why it failed, in the device's words; "" where it is ok.
    """

    ok: bool
    result: Any = None
    error: str = ""

    @property
    def event(self) -> CommandEvent:
        return CommandEvent.ANSWERED_OK if self.ok else CommandEvent.ANSWERED_ERROR


def decode_answer(payload: bytes) -> CommandAnswer:
    """`{ok, r?, e?}`.

    Raises:
        UsageError: `command_answer_invalid`, `json_invalid`.
    """
    if len(payload) > COMMAND_ANSWER_BYTES_MAX:
        raise _answer_invalid(f"it has {len(payload):,} bytes; {COMMAND_ANSWER_BYTES_MAX:,} are taken")
    said = decode(payload)
    if not isinstance(said, dict) or not isinstance(said.get("ok"), bool):
        raise _answer_invalid("“ok” is neither true nor false")
    check_text(said)
    error = said.get("e")
    if error is not None and not isinstance(error, str):
        raise _answer_invalid("“e” is no text")
    if depth(said.get("r")) > TWIN_DEPTH_MAX:
        raise _answer_invalid(f"“r” has more than {TWIN_DEPTH_MAX} levels of objects and arrays")
    ok = said["ok"]
    return CommandAnswer(
        ok=ok, result=said.get("r"), error="" if ok else (error or "")[:COMMAND_ERROR_LENGTH_MAX]
    )


def _params_invalid(why: str) -> UsageError:
    return UsageError(
        f"The params can't be used: {why}.",
        hint="Say less, or say it in parts.",
        code="command_params_invalid",
    )


def _answer_invalid(why: str) -> UsageError:
    return UsageError(
        f"The answer can't be used: {why}.",
        hint='Send {"ok": true, "r"?: …, "e"?: "…"}.',
        code="command_answer_invalid",
    )
