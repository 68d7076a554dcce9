"""What the endpoints about groups of dead letters, and replays, take and answer."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from appliance.core.limits import LETTER_GROUP_COUNT_MAX
from ui.api.structs import Answer, Query, Request

Reason = Annotated[str, Meta(max_length=64)]
Pattern = Annotated[str, Meta(max_length=65_535)]


class GroupQuery(Query, kw_only=True, frozen=True):
    """How many groups at most."""

    limit: Annotated[int, Meta(ge=1, le=LETTER_GROUP_COUNT_MAX)] = LETTER_GROUP_COUNT_MAX


class LetterGroup(Answer, kw_only=True, frozen=True):
    """Dead letters of one reason and pattern (the topic with `{device}` for its device), with the newest as a sample.

    `sample_payload` is its beginning, base64; null if it wasn't kept.
    """

    reason: str
    hint: str
    pattern: str
    count: int
    first_at_ms: int
    last_at_ms: int
    sample_topic: str
    sample_payload: bytes | None
    sample_payload_bytes: int
    sample_detail: str
    sample_epoch: int
    sample_seq: int


class LetterGroups(Answer, kw_only=True, frozen=True):
    """All groups, the one with the newest letter first."""

    groups: tuple[LetterGroup, ...]


class NewReplay(Request, kw_only=True, frozen=True):
    """Which dead letters are to be read again: those that came before now; "" stands for any."""

    reason: Reason = ""
    pattern: Pattern = ""
    device_id: Annotated[str, Meta(max_length=128)] = ""


class Replay(Answer, kw_only=True, frozen=True):
    """A replay: `message_count` of `letter_count` letters became `row_count` readings, `still_dead` stay as they are.

    What is neither had been seen before.
    """

    replay_id: str
    reason: str
    pattern: str
    device_id: str
    state: Literal["requested", "done", "failed"]
    letter_count: int
    message_count: int
    row_count: int
    still_dead: int
    requested_at_ms: int
    done_at_ms: int | None


class ReplayList(Answer, kw_only=True, frozen=True):
    """The newest first."""

    replays: tuple[Replay, ...]
