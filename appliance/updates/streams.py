"""The service `streams`: what of files devices ask for over MQTT, in blocks.

A stream is named after the bytes in it (management/blocks.py), so a download goes on with the same blocks after a power cut of either
side: nothing is kept here between two requests but a device's place in line. A request is answered with as many of its blocks as the budgets give at
this turn, at least one; the device asks for the rest with the bitmap of what is missing. One that has no turn in time is told when to come again.

A block is sent once to a device that asks for it again while it waits: the newest request has it, and with it the turn that the older one has waited
for. What is left of the older one is answered as well, with nothing if need be.

Must not know: whose turn it is, what an execution is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import trio

from appliance.core.errors import HomeportError, NotAuthorized, NotFound, Unavailable, UsageError
from appliance.core.limits_delivery import (
    LINE_FULL_RETRY_S,
    LINE_FULL_RETRY_SPREAD_S,
    LINE_RETRY_S,
    LINE_RETRY_SPREAD_S,
    STREAM_WAIT_MS,
)
from appliance.device_requests.router import Asked
from appliance.management import blocks
from appliance.management.blocks import Form, Get
from appliance.updates.delivery import Delivery, Right
from broker.control_messages import DeviceReply

WAY: Final = "mqtt"
_WORDS: Final[tuple[tuple[type[HomeportError], str, int], ...]] = (
    (NotAuthorized, "Unauthorized", 0),
    (NotFound, "ResourceNotFound", 0),
    (Unavailable, "RequestThrottled", 60),
)
"""For refusals that are not about the request itself, and when to ask again, seconds; every other error is InternalError."""
_RETRIES: Final = {
    "delivery_busy": (LINE_RETRY_S, LINE_RETRY_SPREAD_S),
    "budget_turn": (LINE_RETRY_S, LINE_RETRY_SPREAD_S),
    "delivery_full": (LINE_FULL_RETRY_S, LINE_FULL_RETRY_SPREAD_S),
}
"""Of refusals for want of room: not all come again at the same moment."""
_NOTHING: Final = DeviceReply(is_accepted=True, messages=())


@dataclass(slots=True, eq=False)
class _Wish:
    """A request that waits.

    Attributes:
        sha256: Of the file.
        wanted: Blocks that nobody who came later asks for.
        granted_bytes: Once its turn has come.
        is_first: It stands in line, for all that its device asks for.
        waits: Ends when nothing is left of it.
    """

    sha256: str
    get: Get
    wanted: list[int]
    granted_bytes: int | None = None
    is_first: bool = False
    waits: trio.CancelScope = field(default_factory=trio.CancelScope)

    def want_bytes(self, right: Right) -> int:
        """What it wants has so many bytes at most."""
        return min(len(self.wanted) * self.get.block_bytes, right.size_bytes)

    def leave_to(self, later: _Wish) -> None:
        """Drop what a later request asks for, too; all of it where that counts in other blocks."""
        if self.granted_bytes is not None or later.sha256 != self.sha256:
            return
        if later.get.block_bytes == self.get.block_bytes:
            others = set(later.wanted)
            self.wanted = [each for each in self.wanted if each not in others]
        else:
            self.wanted = []
        if not self.wanted and not self.is_first:
            self.waits.cancel()


@dataclass(slots=True, eq=False)
class _Download:
    """What one device asks for while something of it waits; the oldest first."""

    turn: trio.Lock = field(default_factory=trio.Lock)
    wishes: list[_Wish] = field(default_factory=list)

    def heir(self, wish: _Wish) -> _Wish | None:
        """The newest that waits for the same file; None where it has gone meanwhile."""
        return next(
            (
                each
                for each in reversed(self.wishes)
                if each.sha256 == wish.sha256 and each.wanted and each.granted_bytes is None
            ),
            None,
        )


class Streams:
    """See the module's docstring. `handle` is what the router asks."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._downloads: dict[str, _Download] = {}
        self._retries = 0

    async def handle(self, asked: Asked) -> DeviceReply:
        """Answer one request of a device."""
        name, act, encoding = asked.topic.rest
        form = cast(Form, encoding)
        fields: dict[str, Any] = {}
        try:
            fields = blocks.fields_of(asked.payload, form)
            right = await self._delivery.by_stream(asked.device_id, name)
            if act == "describe":
                payload = blocks.encode_description(
                    form, blocks.token_of(fields), right.title, right.size_bytes
                )
                return _reply(asked, "description", (payload,))
            return await self._blocks(asked, form, right, blocks.get_of(fields, right.size_bytes))
        except HomeportError as error:
            (word, retry_s), token = self._word(error), blocks.token_of(fields)
            text = f"{error.message} {error.hint}".strip()
            payload = blocks.encode_refusal(form, token, word, text, reason=error.code, retry_s=retry_s)
            return _reply(asked, "rejected", (payload,), is_accepted=False)

    async def _blocks(self, asked: Asked, form: Form, right: Right, get: Get) -> DeviceReply:
        wish = _Wish(right.sha256, get, blocks.wanted(get, right.size_bytes))
        await self._wait(asked, right, wish)
        if not wish.wanted:
            return _NOTHING
        assert wish.granted_bytes is not None
        wanted = wish.wanted
        if wish.granted_bytes < wish.want_bytes(right):
            # What is granted beyond whole blocks is less than one, and not worth giving back.
            wanted = wanted[: max(1, wish.granted_bytes // get.block_bytes)]
        payloads, sent_bytes, to_come_count = [], 0, len(wanted)
        for first, count in blocks.runs(wanted):
            data = await self._delivery.read(right, first * get.block_bytes, count * get.block_bytes)
            sent_bytes += len(data)
            for index in range(count):
                to_come_count -= 1
                block = data[index * get.block_bytes : (index + 1) * get.block_bytes]
                payloads.append(blocks.encode_data(form, get, first + index, block, to_come_count))
        end_offset = min((wanted[-1] + 1) * get.block_bytes, right.size_bytes)
        await self._delivery.sent(right, WAY, sent_bytes, end_offset)
        return _reply(asked, "data", tuple(payloads))

    async def _wait(self, asked: Asked, right: Right, wish: _Wish) -> None:
        """Until its turn has come, or somebody else's who has all that it wants.

        Raises:
            Unavailable: `delivery_busy`: not in STREAM_WAIT_MS. Its device's place in line is kept.
        """
        download = self._downloads.setdefault(asked.device_id, _Download())
        for earlier in download.wishes:
            earlier.leave_to(wish)
        download.wishes.append(wish)
        wish.waits.deadline = trio.current_time() + STREAM_WAIT_MS / 1000
        try:
            with wish.waits:
                async with download.turn:
                    wish.is_first = True
                    if wish.granted_bytes is None and wish.wanted:
                        await self._take(asked, right, download, wish)
        finally:
            download.wishes.remove(wish)
            if not download.wishes:
                del self._downloads[asked.device_id]
        if wish.wanted and wish.granted_bytes is None:
            raise Unavailable(
                "Other devices fetch their update before this one.",
                hint="Ask again; the place in line is kept.",
                code="delivery_busy",
            )

    async def _take(self, asked: Asked, right: Right, download: _Download, wish: _Wish) -> None:
        """Wait for place and budget, and let the newest have them that wants what was waited for."""
        budgets, claim = self._delivery.budgets, right.claim(asked.address)
        want_bytes = wish.want_bytes(right)
        async with budgets.place(claim):
            granted_bytes = await budgets.take(claim, want_bytes, min(wish.get.block_bytes, want_bytes))
        heir = wish if wish.wanted else download.heir(wish)
        if heir is not None:
            heir.granted_bytes = granted_bytes

    def _word(self, error: HomeportError) -> tuple[str, int]:
        """A refusal's word as AWS's clients know it, and when to ask again; 0 where that would not help."""
        if isinstance(error, UsageError):
            return error.code, 0
        word, retry_s = next(
            ((word, retry_s) for kind, word, retry_s in _WORDS if isinstance(error, kind)),
            ("InternalError", 60),
        )
        if error.code in _RETRIES:
            self._delivery.refused(error.code)
            first_s, spread_s = _RETRIES[error.code]
            self._retries += 1
            retry_s = first_s + self._retries % spread_s
        return word, retry_s


def _reply(
    asked: Asked,
    level: Literal["description", "data", "rejected"],
    payloads: tuple[bytes, ...],
    *,
    is_accepted: bool = True,
) -> DeviceReply:
    name, _, encoding = asked.topic.rest
    topic = asked.topic.answer(name, level, encoding)
    return DeviceReply(is_accepted=is_accepted, messages=tuple((topic, payload) for payload in payloads))
