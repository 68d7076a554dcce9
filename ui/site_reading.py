"""A cloud node reads at sites, for pages and API alike: which box of a site is asked, what its answer is taken for, and the audit's line about who did.

Nothing is kept but who read which site lately. What a box answers is another machine's word: errors come out as one of ours with the box's words in
them, and only a code that is known here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from appliance.core.clock import Clock
from appliance.core.errors import (
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    Unavailable,
    UsageError,
)
from appliance.core.limits_site_reading import READING_AUDIT_COUNT_MAX, READING_AUDIT_INTERVAL_MS
from appliance.management.audit import Act, Actor
from appliance.management.replication_state import ReplicationState, SiteNodeState
from appliance.management.site_reading import HINT, NOT_ALLOWED, Part
from storage.catalog import AsyncCatalog

T = TypeVar("T")
READ: Final = "site.read"
"""The action, as the audit names it."""
WORDS_LENGTH_MAX: Final = 500
AskSite: TypeAlias = Callable[[str, str, str, str, str], Awaitable[tuple[int, bytes]]]
"""(node id, part, device id, query, person) → status and JSON. Raises HomeportError."""
_CODES: Final[dict[str, type[HomeportError]]] = {
    "device_unknown": NotFound,
    "alarm_unknown": NotFound,
    "query_invalid": UsageError,
    "range_invalid": UsageError,
    "interval_invalid": UsageError,
    "cursor_invalid": UsageError,
    "reading_device": UsageError,
    "reading_not_allowed": NotAuthorized,
    "reading_answer_too_large": LimitExceeded,
    "reading_busy": LimitExceeded,
    "too_many_requests": LimitExceeded,
}
"""What a site may refuse with that is the asker's to hear as it is; all else is the site's own trouble."""


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""
    code: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRead:
    """What a site answered.

    Attributes:
        node: The box that did, as it was known then. at_ms: When, UTC, by this cloud node's clock.
        content: The JSON object.
    """

    node: SiteNodeState
    at_ms: int
    content: dict[str, Any]

    def as_a(self, kind: type[T]) -> T:
        """The answer as what this release takes it for.

        Raises:
            Unavailable: `site_unreadable`: the box is of another release.
        """
        try:
            return msgspec.convert(self.content, kind)
        except msgspec.ValidationError as error:
            raise _unreadable(self.node, str(error)) from error


class SiteReadingDesk:
    """See the module.

    Args:
        ask: Asks a box. state: What the replicator knows of sites.
    """

    def __init__(
        self,
        ask: AskSite,
        state: Callable[[], Awaitable[ReplicationState | None]],
        catalog: AsyncCatalog,
        *,
        clock: Clock,
    ) -> None:
        self._ask, self._state, self._catalog, self._clock = ask, state, catalog, clock
        self._noted: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def boxes(self, site_id: str) -> tuple[SiteNodeState, ...]:
        """The boxes of a site, in the order in which they would be asked.

        Raises:
            NotFound: `site_unknown`: this is no cloud node, or has no such site. HomeportError: as the replicator says.
        """
        state = await self._state()
        found = [node for node in state.sites if node.site_id == site_id] if state is not None else []
        if not found:
            raise NotFound(
                f"No box of a site {site_id[:32]} belongs to the fleet of this cloud node.",
                hint="Look at the page Sites, or at homeport tier sites.",
                code="site_unknown",
            )
        return tuple(sorted(found, key=_preference))

    async def read(
        self, site_id: str, part: Part, actor: Actor, *, device_id: str = "", query: str = ""
    ) -> SiteRead:
        """Read at a site; the audit says who did, before it is done.

        Args:
            query: As in an address.
        Raises:
            NotFound: `site_unknown`, `device_unknown`. NotAuthorized: `reading_not_allowed`. Unavailable: `site_silent`, `site_unreadable`,
                `site_refused`, and as catalog and replicator say. UsageError, LimitExceeded: as the site says.
        """
        boxes = await self.boxes(site_id)
        asked = _to_ask(boxes, self._clock.now_ms())
        await self._note(site_id, actor)
        failure: Unavailable | None = None
        for node in asked[:2]:
            try:
                status, body = await self._ask(node.node_id, part, device_id, query, actor.name)
            except Unavailable as error:
                failure = error  # another box of the site may be there
                continue
            at_ms = self._clock.now_ms()
            if status >= 400:
                raise refusal_of(node, body)
            return SiteRead(node=node, at_ms=at_ms, content=_decoded(node, body))
        assert failure is not None
        raise failure

    async def _note(self, site_id: str, actor: Actor) -> None:
        now_ms, key = self._clock.mono_ms(), (actor.name, site_id)
        noted_ms = self._noted.get(key)
        if noted_ms is not None and now_ms - noted_ms < READING_AUDIT_INTERVAL_MS:
            return
        act = Act(action=READ, actor=actor)
        await self._catalog.write(
            lambda catalog: catalog.note(READ, object_kind="site", object_id=site_id), by=act
        )
        self._noted[key] = now_ms
        self._noted.move_to_end(key)
        if len(self._noted) > READING_AUDIT_COUNT_MAX:
            self._noted.popitem(last=False)


def _preference(node: SiteNodeState) -> tuple[bool, bool, bool, str]:
    return (node.link != "up", not node.is_fresh, node.may_read is not True, node.name)


def _to_ask(boxes: Sequence[SiteNodeState], now_ms: int) -> list[SiteNodeState]:
    """Those of a site's boxes that can be asked now.

    Raises:
        Unavailable: `site_silent`. NotAuthorized: `reading_not_allowed`.
    """
    there = [node for node in boxes if node.link == "up" and node.is_fresh]
    if not there:
        heard_ms = max((node.heard_at_ms for node in boxes if node.heard_at_ms is not None), default=None)
        since = (
            "since this cloud node started" if heard_ms is None else f"for {_span_words(now_ms - heard_ms)}"
        )
        raise Unavailable(
            f"No box of the site was heard {since}.",
            hint="Look at the page Sites, and at the network to it.",
            code="site_silent",
        )
    allowed = [node for node in there if node.may_read is True]
    if not allowed:
        if all(node.may_read is None for node in there):
            raise Unavailable(
                "The site's box does not say whether it may be read: its node is away, or it runs an older release.",
                hint="Try again in a moment; then look at the box.",
                code="site_silent",
            )
        raise NotAuthorized("The site does not let this cloud node read it.", hint=HINT, code=NOT_ALLOWED)
    return allowed


def _span_words(span_ms: int) -> str:
    seconds = max(0, span_ms // 1_000)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7_200 else f"{seconds // 3_600} h"


def refusal_of(node: SiteNodeState, body: bytes) -> HomeportError:
    """What a box refused with, as an error of ours."""
    try:
        said = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        said = _Problem()
    words, hint = said.detail[:WORDS_LENGTH_MAX], said.hint[:WORDS_LENGTH_MAX]
    kind = _CODES.get(said.code)
    if kind is None:
        return Unavailable(
            f"{node.name} can't answer: {words or 'it does not say why'}", hint=hint, code="site_refused"
        )
    return kind(words, hint=hint, code=said.code)


def _decoded(node: SiteNodeState, body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unreadable(node, str(error)) from error


def _unreadable(node: SiteNodeState, why: str) -> Unavailable:
    return Unavailable(
        f"What {node.name} answers can't be read: {why[:WORDS_LENGTH_MAX]}.",
        hint="It runs another release: update one of them.",
        code="site_unreadable",
    )
