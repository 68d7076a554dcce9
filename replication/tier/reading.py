"""A cloud node reads at a site: it asks over the link that stands, is answered what the site's own API answers, and keeps nothing. For trio.

Theory of operation: the asker has some questions under way per link and in all, each with a deadline. The door, at the box, takes as many of a
link, and so many a minute; what comes beyond is answered with a refusal, before anything of it is kept. Whether this cloud node may read
is not known here: who answers looks that up for each question, so a grant that is taken back holds for the next one. Both ways it goes
behind what is written now, and before a backlog.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from appliance.core.errors import LimitExceeded, Unavailable
from appliance.core.limits_site_reading import (
    READING_ASKING_COUNT_MAX,
    READING_LINK_COUNT_MAX,
    READING_QUESTION_BYTES_MAX,
    READING_RATE_COUNT,
    READING_RATE_S,
    READING_S,
)
from appliance.core.token_bucket import Bucket, Quota
from replication.scheduling import Priority
from replication.tier.engine import TierAway
from replication.tier.gateway_messages import ReadingPart
from replication.tier.gateway_parts import Assembler, Carrier, send_in_parts
from replication.tier.reading_messages import (
    ReadingAnswer,
    ReadingQuestion,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)

REQUEST_MAX: Final = 2**32 - 1
RATE: Final = Quota("site-reading", READING_RATE_COUNT, READING_RATE_S)
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ReadingCounts:
    """Since this process began.

    Attributes:
        answered: As the site's API does. refused: With a reason: no grant, too many at once, a bound. failed: No answer in time, or the link was lost.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0

    def count(self, answer: ReadingAnswer) -> None:
        if answer.status < 400:
            self.answered += 1
        else:
            self.refused += 1


class ReadingAsker:
    """The cloud node's end. Hand it what comes from peers, and when a link is gone."""

    def __init__(self, links: Carrier) -> None:
        self._links = links
        # Not from the beginning: an answer to a question of the process before would be taken for one to ours.
        self._number = secrets.randbelow(REQUEST_MAX)
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._assembler = Assembler(lambda peer, request, total: (peer, request) in self._waiting)
        self.counts = ReadingCounts()

    def receive(self, peer: str, part: ReadingPart) -> None:
        """A part of an answer. Raises RemoteProtocolError."""
        data = self._assembler.take(peer, part)
        if data is not None and (waiting := self._waiting.get((peer, part.request))) is not None:
            waiting.answer = decode_answer(data)
            waiting.done.set()

    def link_down(self, peer: str) -> None:
        self._assembler.left(peer)
        for (name, _), waiting in self._waiting.items():
            if name == peer:
                waiting.done.set()

    async def ask(self, peer: str, question: ReadingQuestion) -> ReadingAnswer:
        """Ask a box, within READING_S.

        Raises:
            UsageError: `reading_too_long`. LimitExceeded: `reading_busy`. Unavailable: `site_silent`: there is no link, or no answer in time.
        """
        data = encode_question(question)
        of_peer = sum(1 for name, _ in self._waiting if name == peer)
        if of_peer >= READING_LINK_COUNT_MAX or len(self._waiting) >= READING_ASKING_COUNT_MAX:
            raise LimitExceeded(
                f"This cloud node asks {READING_LINK_COUNT_MAX} things of one box and {READING_ASKING_COUNT_MAX} of all at once.",
                hint="Try again in a moment.",
                code="reading_busy",
            )
        self._number = self._number % REQUEST_MAX + 1
        key, waiting = (peer, self._number), _Waiting()
        self._waiting[key] = waiting
        try:
            with trio.move_on_after(READING_S):
                await send_in_parts(
                    self._links,
                    peer,
                    key[1],
                    data,
                    is_answer=False,
                    priority=Priority.REPAIR,
                    make=ReadingPart,
                )
                await waiting.done.wait()
        except TierAway:
            waiting.answer = None
        finally:
            del self._waiting[key]
            self._assembler.forget(*key)
        if waiting.answer is None:
            self.counts.failed += 1
            raise Unavailable(
                f"The box did not answer within {READING_S:g} s, or its link was lost.",
                hint="Look at the page Sites, whether it is heard from; then try again.",
                code="site_silent",
            )
        self.counts.count(waiting.answer)
        return waiting.answer


class _Waiting:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: ReadingAnswer | None = None


class ReadingDoor:
    """The site's end. Hand it what comes from peers, when a link is gone, and `run` it.

    Args:
        answer: Answers a peer's question within its own deadline; must not raise.
        refuse: The answer that a question gets which isn't looked at, for a reason.
        now_ms: Monotonic.
    """

    def __init__(
        self,
        links: Carrier,
        answer: Callable[[str, ReadingQuestion], Awaitable[ReadingAnswer]],
        refuse: Callable[[str], ReadingAnswer],
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._links, self._answer, self._refuse, self._now_ms = links, answer, refuse, now_ms
        self._assembler = Assembler(self._is_welcome)
        self._working: dict[str, int] = {}
        self._buckets: dict[str, Bucket] = {}
        """Of peers that are linked or ask too much; as many as the fleet has nodes."""
        self._links_lost: dict[str, int] = {}
        self._nursery: trio.Nursery | None = None
        self._refusing = 0
        self.counts = ReadingCounts()

    def receive(self, peer: str, part: ReadingPart) -> None:
        """A part of a question. Raises RemoteProtocolError."""
        data = self._assembler.take(peer, part)
        if data is not None and self._nursery is not None:
            question = decode_question(data)
            self._working[peer] = self._working.get(peer, 0) + 1
            lost = self._links_lost.get(peer, 0)
            self._nursery.start_soon(self._work, lost, peer, part.request, question)

    def link_down(self, peer: str) -> None:
        """What it had begun to ask is forgotten; what is being answered is told nobody."""
        self._assembler.left(peer)
        self._links_lost[peer] = self._links_lost.get(peer, 0) + 1

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answers until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # --- Inside -----------------------------------------------------------------------------------------------

    def _is_welcome(self, peer: str, request: int, total_bytes: int) -> bool:
        under_way = self._assembler.count_of(peer) + self._working.get(peer, 0)
        bucket = self._buckets.setdefault(peer, Bucket(RATE, self._now_ms()))
        if total_bytes > READING_QUESTION_BYTES_MAX:
            why = f"A question to a site has {READING_QUESTION_BYTES_MAX} bytes at most."
        elif under_way >= READING_LINK_COUNT_MAX:
            why = f"A site answers a cloud node {READING_LINK_COUNT_MAX} questions at once."
        elif bucket.wait_ms(self._now_ms()):
            why = f"A site answers a cloud node {READING_RATE_COUNT} questions in {READING_RATE_S} s."
        else:
            bucket.take()
            return True
        self.counts.refused += 1
        # Who asks without a pause hears some refusals at once, and of the rest nothing: their asker has a deadline.
        if self._nursery is not None and self._refusing < READING_LINK_COUNT_MAX:
            self._refusing += 1
            self._nursery.start_soon(self._say_refused, peer, request, self._refuse(why))
        return False

    async def _say_refused(self, peer: str, request: int, answer: ReadingAnswer) -> None:
        try:
            await self._say(peer, request, answer)
        finally:
            self._refusing -= 1

    async def _work(self, lost: int, peer: str, request: int, question: ReadingQuestion) -> None:
        try:
            answer = await self._answer(peer, question)
            self.counts.count(answer)
            if self._links_lost.get(peer, 0) == lost:
                await self._say(peer, request, answer)
        finally:
            self._working[peer] -= 1
            if not self._working[peer]:
                del self._working[peer]

    async def _say(self, peer: str, request: int, answer: ReadingAnswer) -> None:
        data = encode_answer(answer)
        with trio.move_on_after(READING_S) as deadline:
            try:
                await send_in_parts(
                    self._links,
                    peer,
                    request,
                    data,
                    is_answer=True,
                    priority=Priority.REPAIR,
                    make=ReadingPart,
                )
            except TierAway:
                log.debug("a cloud node left before it was answered", peer=peer)
        if deadline.cancelled_caught:
            # Who asked has given up; what is left of it would only fill the link.
            self.counts.failed += 1
