"""Dead letters: what was kept but could not be read, by reason, with the payload as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.limits import LETTER_GROUP_COUNT_MAX, PAGE_TEXT_LENGTH_MAX
from appliance.management.readings import HINT_OF_REASON
from storage.catalog.replays import Replay
from storage.telemetry.letters import NOT_REPLAYED
from ui.api.letters import head_position
from ui.letters import DeadLetter, LetterGroup
from ui.pages.device_facts import cut
from ui.pages.format import visible
from ui.pages.shell import Shell, form_of
from ui.pages.views import DeadLetterGroup, DeadLetterView, LetterGroupView, Notice, ReplayView

LETTER_COUNT: Final = 100
REPLAY_COUNT: Final = 10
_NOT_MENDED: Final = frozenset(
    {"bad_status", "bad_session_record", "unknown_device", "seq_too_old", "too_many_series"}
)
"""Reasons that no mapping can do anything about."""
_ASKED: Final = Notice(tone="good", text="They are being read again. What can't be read still stays here.")
_HINTS: Final = {str(reason): hint for reason, hint in HINT_OF_REASON.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonLink:
    word: str
    count: int
    url: str
    current: bool


def payload_text(payload: bytes, length_max: int = PAGE_TEXT_LENGTH_MAX) -> tuple[str, bool]:
    """A payload as something to read, and whether it was cut: text as it is, bytes that are no text as hex.

    Characters that can't be seen become `\\xNN`, so that nothing in it can rearrange the page's text.
    """
    head = payload[: 4 * length_max]
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character that the cut went through isn't the payload's fault.
        if len(payload) > len(head) and error.start >= len(head) - 3:
            text = head[: error.start].decode("utf-8")
        else:
            text = "hex: " + head[: length_max // 2].hex(" ")
    is_cut = len(text) > length_max or len(payload) > len(head)
    return visible(text[:length_max]) + ("…" if is_cut else ""), is_cut


async def show(shell: Shell, request: Request) -> Response:
    """`GET /dead-letters?reason=&before=`, the newest first.

    Raises:
        Unavailable: the store is away.
    """
    query = request.query_params
    before = position_of(query.get("before", ""))
    found = await shell.services.telemetry.dead_letters(LETTER_COUNT, before)
    counts = Counter(letter.reason for letter in found)
    groups = await shell.services.telemetry.letter_groups(LETTER_GROUP_COUNT_MAX)
    replays = await shell.services.catalog.read(lambda catalog: catalog.list_replays(limit=REPLAY_COUNT))
    chosen = query.get("reason", "")
    chosen = chosen if chosen in counts else ""
    return await shell.render(
        request,
        "dead_letters.html",
        title="Dead letters",
        section="dead_letters",
        letter_groups=[] if chosen or before else [group_view(group) for group in groups],
        replays=[] if chosen or before else [_replay_view(each) for each in replays],
        notice=_ASKED if query.get("done") == "asked" else None,
        reason=chosen,
        reasons=[
            ReasonLink(
                word=_word(reason),
                count=count,
                url="/dead-letters?"
                + urlencode({"reason": reason} | ({"before": query["before"]} if before else {})),
                current=reason == chosen,
            )
            for reason, count in counts.most_common()
        ],
        groups=groups_of([letter for letter in found if not chosen or letter.reason == chosen]),
        next_url=f"/dead-letters?before={_position(found[-1])}" if len(found) == LETTER_COUNT else "",
    )


async def replay(shell: Shell, request: Request) -> Response:
    """`POST /dead-letters/replay` with reason and pattern: these letters are read again by the mappings that hold now.

    Raises:
        Conflict: `replay_waiting`.
    """
    form = await form_of(request)
    epoch, at_seq = await head_position(shell.services)
    await shell.write(
        request,
        "dead_letters.replay",
        lambda catalog: catalog.request_replay(
            reason=form.get("reason", "")[:64], pattern=form.get("pattern", ""), epoch=epoch, at_seq=at_seq
        ),
    )
    return RedirectResponse("/dead-letters?done=asked", 303)


def group_view(group: LetterGroup) -> LetterGroupView:
    """One group of storage.telemetry as text."""
    mend = {"pattern": group.pattern, "source": "dead_letters"}
    return LetterGroupView(
        word=_word(group.reason),
        reason=group.reason,
        pattern=cut(group.pattern)[0],
        pattern_value=group.pattern,
        hint=_HINTS.get(group.reason, ""),
        count=group.count,
        first_at_ms=group.first_at_ms,
        last_at_ms=group.last_at_ms,
        sample=letter_view(group.sample),
        mend_url="" if group.reason in _NOT_MENDED else f"/mappings/new?{urlencode(mend)}",
        is_replayed=group.reason not in NOT_REPLAYED,
    )


def _replay_view(each: Replay) -> ReplayView:
    what = " ".join(filter(None, (_word(each.reason), cut(each.pattern)[0], cut(each.device_id)[0])))
    return ReplayView(
        what=what or "all",
        is_done=each.state == "done",
        letter_count=each.letter_count,
        row_count=each.row_count,
        still_dead=each.still_dead,
        requested_at_ms=each.requested_at_ms,
    )


def groups_of(letters: Sequence[DeadLetter]) -> tuple[DeadLetterGroup, ...]:
    """Letters by reason, the reason with the newest letter first; each group keeps the order given."""
    by_reason: dict[str, list[DeadLetterView]] = {}
    for letter in letters:
        by_reason.setdefault(str(letter.reason), []).append(letter_view(letter))
    return tuple(
        DeadLetterGroup(word=_word(reason), hint=_HINTS.get(reason, ""), letters=tuple(views))
        for reason, views in by_reason.items()
    )


def letter_view(letter: DeadLetter) -> DeadLetterView:
    """One letter of storage.telemetry as text."""
    if letter.payload is None:
        text, is_cut = "(not kept beside the log: there were too many at once)", False
    else:
        text, is_cut = payload_text(letter.payload)
    return DeadLetterView(
        topic=cut(letter.topic)[0],
        device_id=letter.device or "",
        received_at_ms=letter.received_at_ms,
        payload=text or "(empty)",
        size_bytes=letter.payload_bytes,
        is_cut=is_cut,
        position=_position(letter),
        detail=cut(letter.detail or "")[0],
    )


def _word(reason: str) -> str:
    return str(reason).replace("_", " ")


def _position(letter: DeadLetter) -> str:
    return f"{letter.epoch}:{letter.seq}"


def position_of(text: str) -> tuple[int, int] | None:
    """The epoch and sequence number that a URL names as "EPOCH:SEQ"; None for anything else."""
    epoch, _, seq = text.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in (epoch, seq)):
        return None
    return int(epoch), int(seq)
