"""Dead letters: what was kept but could not be read, by reason, with the payload as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from appliance.core.limits import PAGE_TEXT_LENGTH_MAX
from appliance.management.readings import HINT_OF_REASON
from ui.pages.device_facts import cut
from ui.pages.format import visible
from ui.pages.shell import Shell
from ui.pages.views import DeadLetterGroup, DeadLetterView
from ui.services import DeadLetter

LETTER_COUNT: Final = 100
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
    chosen = query.get("reason", "")
    chosen = chosen if chosen in counts else ""
    return await shell.render(
        request,
        "dead_letters.html",
        title="Dead letters",
        section="dead_letters",
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
