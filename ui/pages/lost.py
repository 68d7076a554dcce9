"""Records that nobody has, on the page “Sites”: which, what marking them lost means, and doing so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import UsageError
from appliance.management.audit import Act
from appliance.management.replication_state import LostState, MissingState
from ui.api.lost_structs import REASON_LENGTH_MAX
from ui.auth import actor_of
from ui.lost_marking import MARK_LOST, LostWords
from ui.pages.format import visible
from ui.pages.shell import Shell, form_of
from ui.pages.sites_facts import names_of
from ui.pages.typed import check_typed
from ui.replication import ReplicationNow

LOST_WORD: Final = "lost"
"""What is typed to mark records so: it can't be taken back."""
_DIGITS_MAX: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeView:
    """A range of records. `whose` is the box that wrote them."""

    whose: str
    name: str
    first_seq: int
    last_seq: int
    missing: MissingState | None = None
    lost: LostState | None = None

    @property
    def words(self) -> str:
        records = (
            f"record {self.first_seq}"
            if self.first_seq == self.last_seq
            else f"records {self.first_seq} to {self.last_seq}"
        )
        return f"{records} of the {self.name} log of {self.whose}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostView:
    """What is missing, what is marked, and who is away that might have it."""

    missing: tuple[RangeView, ...] = ()
    lost: tuple[RangeView, ...] = ()
    away: str = ""
    reason_length_max: int = REASON_LENGTH_MAX


def lost_view(now: ReplicationNow) -> LostView:
    state = now.state
    if state is None:
        return LostView()
    names = names_of(now)

    def whose(node_id: str) -> str:
        return visible(names.get(node_id, f"{node_id[:8]}…"))

    return LostView(
        missing=tuple(
            RangeView(
                whose=whose(each.node_id),
                name=each.name,
                first_seq=each.first_seq,
                last_seq=each.next_seq - 1,
                missing=each,
            )
            for each in state.missing
        ),
        lost=tuple(
            RangeView(
                whose=whose(each.node_id),
                name=each.name,
                first_seq=each.first_seq,
                last_seq=each.next_seq - 1,
                lost=each,
            )
            for each in state.lost
        ),
        away=", ".join(
            visible(each.name) for each in state.peers if each.state == "admitted" and each.link != "up"
        ),
    )


async def mark(shell: Shell, request: Request) -> Response:
    """`POST /sites/lost` with node, name, epoch, first, next, reason and confirm.

    Raises:
        UsageError: `form_invalid`, `not_confirmed`. NotFound, Conflict, Unavailable: as the replicator says.
    """
    form, services = await form_of(request), shell.services
    numbers = [form.get(key, "") for key in ("epoch", "first", "next")]
    if not all(each.isdecimal() and len(each) <= _DIGITS_MAX for each in numbers):
        raise UsageError("No range was chosen.", hint="Choose one on the page Sites.", code="form_invalid")
    check_typed(form.get("confirm", ""), LOST_WORD)
    epoch, first_seq, next_seq = map(int, numbers)
    actor = await actor_of(request)
    words = LostWords(
        node_id=form.get("node", "")[:32],
        name=form.get("name", "")[:64],
        epoch=epoch,
        first_seq=first_seq,
        next_seq=next_seq,
        by=actor.name,
        reason=form.get("reason", "").strip()[:REASON_LENGTH_MAX],
    )
    act = Act(action=MARK_LOST, actor=actor)
    async with services.audit.noted(act, object_kind="log", object_id=words.stream, detail=words.detail):
        await services.mark_lost(words.fields)
    return RedirectResponse("/sites?done=lost", 303)
