"""A cloud node asks and a site's box answers, over a link of queues: within bounds, whoever is at the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from appliance.core.errors import LimitExceeded, RemoteProtocolError, Unavailable, UsageError
from appliance.core.limits_site_reading import (
    READING_ANSWER_BYTES_MAX,
    READING_ASKING_COUNT_MAX,
    READING_LINK_COUNT_MAX,
    READING_PART_BYTES_MAX,
    READING_QUESTION_BYTES_MAX,
    READING_RATE_COUNT,
)
from replication.scheduling import Priority
from replication.tier.gateway_client import GatewayClient
from replication.tier.gateway_links import GatewayLinks
from replication.tier.gateway_messages import ReadingPart, SiteReport, decode, encode
from replication.tier.reading import ReadingAsker, ReadingDoor
from replication.tier.reading_messages import (
    ReadingAnswer,
    ReadingQuestion,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)
from tests.gateway_kit import BOX, CLOUD, End, Silent

QUESTION = ReadingQuestion("devices", "", "limit=10", "anna")
ANSWER = ReadingAnswer(200, b'{"devices":[]}')
Answering = Callable[[str, ReadingQuestion], Awaitable[ReadingAnswer]]


class Reading:
    """A site's box and a cloud node with a link."""

    def __init__(self, answer: Answering | None = None) -> None:
        self.asked: list[tuple[str, ReadingQuestion]] = []
        self.box_end, self.cloud_end = End(BOX, CLOUD), End(CLOUD, BOX)
        self.asker = ReadingAsker(self.cloud_end)
        self.now_ms = 0
        self.door = ReadingDoor(
            self.box_end,
            answer or self._answer,
            lambda why: ReadingAnswer(429, why.encode()),
            now_ms=lambda: self.now_ms,
        )
        self.box = GatewayLinks(self.box_end, Silent(), GatewayClient(self.box_end), door=self.door)
        self.cloud = GatewayLinks(self.cloud_end, Silent(), GatewayClient(self.cloud_end), reader=self.asker)

    async def _answer(self, peer: str, question: ReadingQuestion) -> ReadingAnswer:
        self.asked.append((peer, question))
        return ANSWER

    def cut(self) -> None:
        self.box_end.down()
        self.cloud_end.down()
        self.box.link_down(CLOUD)
        self.cloud.link_down(BOX)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.door.run)
            nursery.start_soon(self.box_end.carry, self.cloud)
            nursery.start_soon(self.cloud_end.carry, self.box)
            yield
            nursery.cancel_scope.cancel()


async def test_a_question_is_answered() -> None:
    pair = Reading()
    async with pair.run():
        assert await pair.asker.ask(BOX, QUESTION) == ANSWER
    assert pair.asked == [(CLOUD, QUESTION)]
    assert (pair.asker.counts.answered, pair.door.counts.answered) == (1, 1)


async def test_the_largest_answer_comes_in_parts_behind_what_is_live() -> None:
    body = bytes(READING_ANSWER_BYTES_MAX)

    async def answer(peer: str, question: ReadingQuestion) -> ReadingAnswer:
        return ReadingAnswer(200, body)

    pair = Reading(answer)
    sent: list[Priority] = []
    send = pair.box_end.send

    def watched(
        peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool:
        sent.append(priority)
        return send(peer, data, priority, on_left)

    pair.box_end.send = watched  # type: ignore[method-assign]
    async with pair.run():
        assert (await pair.asker.ask(BOX, QUESTION)).body == body
    assert len(sent) > 10
    assert set(sent) == {Priority.REPAIR}


def test_what_is_larger_is_no_message() -> None:
    with pytest.raises(UsageError) as caught:
        encode_question(ReadingQuestion("devices", "", "q=" + "x" * 3_000, "anna"))
    assert caught.value.code == "reading_too_long"
    assert str(READING_QUESTION_BYTES_MAX) in caught.value.message
    # Names of characters that are several bytes each fit as long as all of it does.
    assert (
        len(encode_question(ReadingQuestion("device", "ü" * 100, "", "ü" * 100))) < READING_QUESTION_BYTES_MAX
    )
    with pytest.raises(AssertionError):
        encode_answer(ReadingAnswer(200, bytes(READING_ANSWER_BYTES_MAX + 1)))
    part = ReadingPart(1, True, READING_PART_BYTES_MAX + 1, 0, b"x")
    with pytest.raises(RemoteProtocolError):
        decode(encode(part))


@pytest.mark.parametrize("data", [b"", b"\x90", b"\xc1", b"\x94\xa1x\xa1x\xa1x", b"\x92\x00\x01"])
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_question(data)
    with pytest.raises(RemoteProtocolError):
        decode_answer(data)


async def test_a_box_that_never_answers_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(peer: str, question: ReadingQuestion) -> ReadingAnswer:
        await trio.sleep(60)
        return ANSWER

    pair = Reading(answer)
    async with pair.run():
        with pytest.raises(Unavailable) as caught:
            await pair.asker.ask(BOX, QUESTION)
        assert caught.value.code == "site_silent"
        assert "8 s" in caught.value.message
        await trio.sleep(120)  # its answer comes all the same, and is nobody's
        assert pair.asker.counts.failed == 1
        assert pair.door.counts.answered == 1


async def test_a_lost_link_ends_what_waits() -> None:
    async def answer(peer: str, question: ReadingQuestion) -> ReadingAnswer:
        pair.cut()
        return ANSWER

    pair = Reading(answer)
    async with pair.run():
        with pytest.raises(Unavailable, match="link was lost"):
            await pair.asker.ask(BOX, QUESTION)
        with pytest.raises(Unavailable, match="link was lost"):
            await pair.asker.ask(BOX, QUESTION)


async def test_few_are_under_way(autojump_clock: trio.testing.MockClock) -> None:
    gate = trio.Event()

    async def answer(peer: str, question: ReadingQuestion) -> ReadingAnswer:
        await gate.wait()
        return ANSWER

    pair = Reading(answer)
    async with pair.run(), trio.open_nursery() as nursery:
        for _ in range(READING_LINK_COUNT_MAX):
            nursery.start_soon(pair.asker.ask, BOX, QUESTION)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LimitExceeded) as caught:
            await pair.asker.ask(BOX, QUESTION)
        assert caught.value.code == "reading_busy"
        assert str(READING_ASKING_COUNT_MAX) in caught.value.message
        gate.set()
    assert pair.door.counts.answered == READING_LINK_COUNT_MAX


def part_of(request: int, data: bytes, *, total: int | None = None, is_answer: bool = False) -> ReadingPart:
    return ReadingPart(request, is_answer, total or len(data), 0, data)


async def refusals(pair: Reading) -> list[ReadingAnswer]:
    """What an evil cloud node has been told so far."""
    await trio.testing.wait_all_tasks_blocked()
    found = []
    for data in pair.box_end.sent:
        message = decode(data)
        assert isinstance(message, ReadingPart)
        found.append(decode_answer(message.data))
    return found


async def test_an_evil_cloud_node_gets_no_room_and_no_more_than_its_rate() -> None:
    pair = Reading()
    data = encode_question(QUESTION)
    async with pair.run():
        # One that says that it will be large is refused before anything is kept of it.
        pair.door.receive(CLOUD, part_of(1, data, total=READING_QUESTION_BYTES_MAX + 1))
        (refused,) = await refusals(pair)
        assert b"4096 bytes" in refused.body
        assert pair.door._assembler.waiting_bytes == 0
        # As many as it likes: no more than the limit are looked at.
        for number in range(3 * READING_RATE_COUNT):
            pair.door.receive(CLOUD, part_of(number, data))
            await trio.testing.wait_all_tasks_blocked()
        assert len(pair.asked) == READING_RATE_COUNT
        assert pair.door.counts.refused == 2 * READING_RATE_COUNT + 1
        # Beginning many and ending none blocks that link's questions, and nobody else's.
        pair.now_ms = 60_000
        for number in range(1_000, 1_010):
            pair.door.receive(CLOUD, part_of(number, data[:10], total=len(data)))
        assert pair.door._assembler.count_of(CLOUD) == READING_LINK_COUNT_MAX
        pair.door.receive("d0" * 16, part_of(1, data))
        await trio.testing.wait_all_tasks_blocked()
        assert pair.asked[-1][0] == "d0" * 16
        with pytest.raises(RemoteProtocolError):
            pair.door.receive("d0" * 16, part_of(2, b"\xc1"))
        pair.door.link_down(CLOUD)
        assert pair.door._assembler.count_of(CLOUD) == 0


async def test_an_evil_box_is_heard_only_where_it_was_asked() -> None:
    pair = Reading()
    pair.cloud.message(BOX, encode(part_of(7, encode_answer(ANSWER), is_answer=True)))
    assert pair.asker._assembler.waiting_bytes == 0
    # A question to a cloud node, and an answer to a box, are nobody's.
    pair.cloud.message(BOX, encode(part_of(7, encode_question(QUESTION))))
    pair.box.message(CLOUD, encode(part_of(7, encode_answer(ANSWER), is_answer=True)))
    assert pair.asked == []


def test_an_older_cloud_node_understands_a_newer_report_and_the_other_way_round() -> None:
    old = SiteReport(1, 2, 3, 4, 5, "")
    assert decode(encode(old)) == SiteReport(1, 2, 3, 4, 5, "", None, None, None, None)
    whole = SiteReport(1, 2, 3, 4, 5, "", True, 6, 5, (1, 0, 2))
    assert decode(encode(whole)) == whole
    assert encode(old)[1] == 61
    short = b"\x97" + encode(old)[1:-4]  # without the four fields that are new: seven elements with the tag
    assert decode(short) == old
