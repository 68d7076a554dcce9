"""Listing the messages of a subject: all of them, in order, also from a server that lags behind its leader."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from appliance.core.limits_jetstream import NATS_PAGE_COUNT
from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines import jetstream_calls
from replication.tier.engines import jetstream_listing as module
from replication.tier.engines.jetstream_access import Access
from replication.tier.engines.jetstream_calls import Calls
from replication.tier.engines.jetstream_listing import listed
from tests.nats_stand_in import Asked, StandIn, stand_in, to


class Leader:
    """A stream's leader, and a server that has only so many of its messages.

    Args:
        lags: How many of the messages the consumer's server has, for each consumer.
        status: With what it ends a page that is not full; "" for the count of what is left.
    """

    def __init__(self, last: int, *lags: int, status: str = "") -> None:
        self.last, self.lags, self.status = last, list(lags), status
        self.from_seq = 1
        self.has = 0
        self.domain = ""

    def __call__(self, asked: Asked) -> bytes:
        if asked.subject == "tier.a":
            return to(
                asked,
                {
                    "error": {
                        "code": 400,
                        "err_code": 10071,
                        "description": f"wrong last sequence: {self.last}",
                    }
                },
            )
        if "CONSUMER.CREATE" in asked.subject:
            self.from_seq = json.loads(asked.data)["config"]["opt_start_seq"]
            self.has = self.lags.pop(0) if len(self.lags) > 1 else self.lags[0]
            return to(asked, {"config": {}})
        if "MSG.NEXT" in asked.subject:
            number = int(asked.reply.rpartition("-")[2]) + 1
            page = range(self.from_seq, min(self.has, self.from_seq + NATS_PAGE_COUNT - 1) + 1)
            back = b"".join(
                b"HMSG tier.a %d %s 12 12\r\nNATS/1.0\r\n\r\n\r\n" % (number, self.reply(seq).encode())
                for seq in page
            )
            self.from_seq = page.stop
            if self.status and len(page) < NATS_PAGE_COUNT:
                back += to(asked, status=self.status, subscription=number)
            return back or to(asked, status="404 No Messages", subscription=number)
        return to(asked, {"success": True})

    def reply(self, seq: int) -> str:
        if self.domain:
            return f"$JS.ACK.{self.domain}.hash.tier.c.1.{seq}.1.0.{self.has - seq}.token"
        return f"$JS.ACK.tier.c.1.{seq}.1.0.{self.has - seq}"


async def all_of(server: StandIn, from_seq: int = 0) -> list[int]:
    calls = Calls("tier", [server.address], Access(), lambda _: None)
    try:
        return [each.seq async for each in listed(calls, "tier.a", from_seq)]
    finally:
        await calls.aclose()


@pytest.mark.parametrize("status", ["", "404 No Messages", "408 Request Timeout", "409 Consumer Deleted"])
@pytest.mark.parametrize("lags", [(1_203,), (0, 700, 701, 1_203)])
async def test_all_that_the_leader_has_also_from_one_that_lags(status: str, lags: tuple[int, ...]) -> None:
    async with stand_in(Leader(1_203, *lags, status=status)) as server:
        assert await all_of(server) == list(range(1, 1_204))
        assert any("CONSUMER.DELETE" in asked.subject for asked in server.asked)
        assert await all_of(server, 1_200) == [1_200, 1_201, 1_202, 1_203]
        assert await all_of(server, 1_204) == []


async def test_nothing_there_asks_for_no_consumer() -> None:
    async with stand_in(Leader(0, 0)) as server:
        assert await all_of(server) == []
        assert len(server.asked) == 1


async def test_an_account_in_a_domain_says_more_of_each_message() -> None:
    leader = Leader(3, 3)
    leader.domain = "edge"
    async with stand_in(leader) as server:
        assert await all_of(server) == [1, 2, 3]


async def test_the_last_one_may_be_removed_meanwhile() -> None:
    leader = Leader(9, 7)

    def answer(asked: Asked) -> bytes:
        if "MSG.NEXT" in asked.subject:
            leader.last = 7
        return leader(asked)

    async with stand_in(answer) as server:
        assert await all_of(server) == [1, 2, 3, 4, 5, 6, 7]


async def test_one_that_does_not_catch_up_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NATS_CALL_S", 0.05)
    monkeypatch.setattr(module, "NATS_LAG_S", 0.01)
    async with stand_in(Leader(9, 7)) as server:
        with trio.fail_after(60), pytest.raises(TierAway, match="does not catch up"):
            await all_of(server)


async def test_what_is_refused_or_makes_no_sense_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream_calls, "NATS_CALL_S", 0.5)
    leader = Leader(2, 2)

    def refuse(asked: Asked) -> bytes:
        values: dict[str, Any] = {
            "error": {"code": 400, "err_code": 10026, "description": "maximum consumers limit reached"}
        }
        return to(asked, values) if "CREATE" in asked.subject else leader(asked)

    async with stand_in(refuse) as server:
        with pytest.raises(TierUnfit, match="maximum consumers"):
            await all_of(server)

    def nowhere(asked: Asked) -> bytes:
        if "MSG.NEXT" not in asked.subject:
            return leader(asked)
        number = int(asked.reply.rpartition("-")[2]) + 1
        return b"HMSG tier.a %d nowhere 12 12\r\nNATS/1.0\r\n\r\n\r\n" % number

    async with stand_in(nowhere) as server:
        with trio.fail_after(60), pytest.raises(TierAway, match="says not where"):
            await all_of(server)
