"""Blocks over MQTT: what a device asks, and the messages that it gets."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.core.limits import KIB
from appliance.core.limits_delivery import LINE_RETRY_S
from appliance.device_requests.router import Asked
from appliance.management.blocks import stream_id
from appliance.management.cbor import decode_cbor
from appliance.management.request_topics import parse
from appliance.updates import streams as streams_module
from appliance.updates.budget import Claim
from appliance.updates.delivery import Delivery
from appliance.updates.streams import Streams
from broker.control_messages import DeviceReply
from tests.ca_kit import site
from tests.cbor_kit import encode
from tests.delivery_kit import IMAGE, SHA256, Scene, add_execution, scene, set_execution

SID = stream_id(SHA256)
BLOCK = 4 * KIB
BLOCKS = -(-len(IMAGE) // BLOCK)


class Device:
    def __init__(self, there: Scene, name: str = "pump") -> None:
        self.there = there
        self.name = name
        self.streams = Streams(there.delivery)

    async def ask(
        self, levels: str, fields: dict[str, Any] | bytes, *, prefix: str = "dm", sid: str = SID
    ) -> DeviceReply:
        topic = parse(f"{prefix}/{self.name}/streams/{sid}/{levels}")
        assert topic is not None
        if not isinstance(fields, bytes):
            fields = encode(fields) if levels.endswith("cbor") else json.dumps(fields).encode()
        asked = Asked(topic=topic, payload=fields, device_id=self.name, client_id="c", address="192.0.2.9")
        return await self.streams.handle(asked)

    async def refusal(self, levels: str, fields: dict[str, Any] | bytes, **more: str) -> dict[str, Any]:
        reply = await self.ask(levels, fields, **more)
        ((topic, payload),) = reply.messages
        assert not reply.is_accepted
        assert topic.endswith(f"/rejected/{levels.rpartition('/')[2]}")
        read = decode_cbor(payload) if levels.endswith("cbor") else json.loads(payload)
        assert isinstance(read, dict)
        return read


@asynccontextmanager
async def device(tmp_path: Path, state: str = "downloading") -> AsyncIterator[Device]:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await add_execution(here.catalog, "pump", state=state)
        yield Device(there)


@pytest.mark.parametrize("prefix", ["dm", "$aws/things"])
async def test_what_a_stream_is(tmp_path: Path, prefix: str) -> None:
    async with device(tmp_path) as pump:
        reply = await pump.ask("describe/json", {"c": "t1"}, prefix=prefix)
        ((topic, payload),) = reply.messages
        assert topic == f"{prefix}/pump/streams/{SID}/description/json"
        assert json.loads(payload) == {
            "c": "t1",
            "s": 1,
            "d": "pump 2.0.0",
            "r": [{"f": 0, "z": len(IMAGE)}],
        }


async def test_a_whole_image_block_by_block_in_json(tmp_path: Path) -> None:
    async with device(tmp_path) as pump:
        reply = await pump.ask("get/json", {"c": "t1", "s": 1, "f": 0, "l": BLOCK, "o": 0, "n": 1000})
        assert {topic for topic, _ in reply.messages} == {f"dm/pump/streams/{SID}/data/json"}
        read = [json.loads(payload) for _, payload in reply.messages]
        assert [each["i"] for each in read] == list(range(BLOCKS))
        assert {(each["c"], each["f"]) for each in read} == {("t1", 0)}
        assert [each["r"] for each in read] == list(reversed(range(BLOCKS)))
        assert [each["l"] for each in read[:-1]] == [BLOCK] * (BLOCKS - 1)
        assert read[-1]["l"] == len(IMAGE) % BLOCK
        assert b"".join(b64decode(each["p"]) for each in read) == IMAGE
        blob = pump.there.blobs.by_name[SHA256]
        assert blob.reads == [(0, BLOCKS * BLOCK)]
        assert pump.there.progress.noted == [("pump", "e-pump", len(IMAGE), len(IMAGE))]
        assert pump.there.delivery.statistics().sent_bytes == {"mqtt": len(IMAGE)}


async def test_missing_blocks_in_cbor(tmp_path: Path) -> None:
    async with device(tmp_path) as pump:
        reply = await pump.ask("get/cbor", {"c": "t", "l": BLOCK, "o": 2, "b": b"\x0b"})
        read = [decode_cbor(payload, is_senml=True) for _, payload in reply.messages]
        assert read == [
            {"c": "t", "f": 0, "l": BLOCK, "i": number, "r": to_come, "p": IMAGE[number * BLOCK :][:BLOCK]}
            for number, to_come in ((2, 2), (3, 1), (5, 0))
        ]
        assert pump.there.blobs.by_name[SHA256].reads == [(2 * BLOCK, 2 * BLOCK), (5 * BLOCK, BLOCK)]


async def test_an_answer_is_as_large_as_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with device(tmp_path) as pump:
        asked = []

        async def take(claim: Claim, want_bytes: int, least_bytes: int) -> int:
            asked.append((claim.device_id, want_bytes, least_bytes))
            return max(least_bytes, 3 * BLOCK + 100)

        monkeypatch.setattr(pump.there.budgets, "take", take)
        reply = await pump.ask("get/json", {"l": BLOCK, "n": 8})
        assert [json.loads(payload)["i"] for _, payload in reply.messages] == [0, 1, 2]
        reply = await pump.ask("get/json", {"l": 16 * KIB, "n": 8})
        assert [json.loads(payload)["i"] for _, payload in reply.messages] == [0]
        reply = await pump.ask("get/json", {"l": BLOCK, "o": BLOCKS - 1, "n": 8})
        assert [json.loads(payload)["i"] for _, payload in reply.messages] == [BLOCKS - 1]
        assert asked == [
            ("pump", 8 * BLOCK, BLOCK), ("pump", len(IMAGE), 16 * KIB), ("pump", BLOCK, BLOCK),
        ]  # fmt: skip


async def test_whose_turn_does_not_come_is_told_when_to_ask_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take(claim: Claim, want_bytes: int, least_bytes: int) -> int:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(streams_module, "STREAM_WAIT_MS", 1)
    async with device(tmp_path) as pump:
        monkeypatch.setattr(pump.there.budgets, "take", take)
        refused = await pump.refusal("get/json", {"l": BLOCK, "c": "t"})
        assert (refused["o"], refused["reason"], refused["c"]) == ("RequestThrottled", "delivery_busy", "t")
        later = await pump.refusal("get/json", {"l": BLOCK})
        assert (refused["retry_s"], later["retry_s"]) == (LINE_RETRY_S + 1, LINE_RETRY_S + 2)
        assert pump.streams._downloads == {}
        assert pump.there.delivery.statistics().refused == {"delivery_busy": 2}


class Turns:
    """Budgets whose turns the test gives."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.given = trio.Semaphore(0)

    async def take(self, claim: Claim, want_bytes: int, least_bytes: int) -> int:
        self.asked.append(want_bytes)
        await self.given.acquire()
        return 512 * KIB


async def asking(pump: Device, turns: Turns, *wishes: dict[str, Any], turn_count: int) -> list[list[int]]:
    """Blocks that the answers to requests have, which were made one after the other before the first turn came."""
    answers: list[list[int]] = [[] for _ in wishes]
    # From now on its right is remembered, and no thread is needed for it.
    await pump.ask("describe/json", {})

    async def ask(number: int, fields: dict[str, Any]) -> None:
        reply = await pump.ask("get/json", {"l": BLOCK, **fields})
        assert reply.is_accepted
        answers[number] = [json.loads(payload)["i"] for _, payload in reply.messages]

    async with trio.open_nursery() as nursery:
        for number, fields in enumerate(wishes):
            nursery.start_soon(ask, number, fields)
            # Until it waits or, where nothing is left of it, has its answer.
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(turns.asked) == 1, "a device stands in the queue once"
        for _ in range(turn_count):
            turns.given.release()
    return answers


async def test_a_request_made_again_takes_the_place_of_the_one_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with device(tmp_path) as pump:
        turns = Turns()
        monkeypatch.setattr(pump.there.budgets, "take", turns.take)
        again = {"o": 0, "n": 3}
        answers = await asking(pump, turns, again, again, again, again, turn_count=1)
        assert answers == [[], [], [], [0, 1, 2]], (
            "each block once, with the newest request, at the first turn"
        )
        assert pump.there.delivery.statistics().sent_bytes == {"mqtt": 3 * BLOCK}


async def test_what_only_the_older_one_asks_for_it_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with device(tmp_path) as pump:
        turns = Turns()
        monkeypatch.setattr(pump.there.budgets, "take", turns.take)
        answers = await asking(
            pump, turns, {"o": 0, "n": 2}, {"o": 1, "n": 2}, {"o": 4, "n": 1}, turn_count=3
        )
        assert answers == [[0], [1, 2], [4]]


async def test_other_blocks_replace_those_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with device(tmp_path) as pump:
        turns = Turns()
        monkeypatch.setattr(pump.there.budgets, "take", turns.take)
        answers = await asking(pump, turns, {"n": 2}, {"l": 2 * BLOCK, "n": 1}, turn_count=1)
        assert answers == [[], [0]]


async def test_who_has_gone_leaves_the_turn_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with device(tmp_path) as pump:
        turns = Turns()
        monkeypatch.setattr(pump.there.budgets, "take", turns.take)
        replies = []
        await pump.ask("describe/json", {})

        async def ask() -> None:
            replies.append(await pump.ask("get/json", {"l": BLOCK, "n": 2}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.01)
            async with trio.open_nursery() as gone:
                gone.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked(0.01)
                gone.cancel_scope.cancel()
            turns.given.release()
        assert replies == [DeviceReply(is_accepted=True, messages=())]
        assert pump.there.delivery.statistics().sent_bytes == {}


async def test_refusals_have_their_words(tmp_path: Path) -> None:
    async with device(tmp_path) as pump:
        refused = await pump.refusal("get/json", {"c": "t", "l": 100})
        assert (refused["o"], refused["c"], refused["reason"]) == (
            "BlockSizeOutOfBounds", "t", "BlockSizeOutOfBounds",
        )  # fmt: skip
        assert "256 to 131072" in refused["m"]
        assert (await pump.refusal("get/cbor", b"\x80"))["o"] == "InvalidCbor"
        assert (await pump.refusal("describe/json", b"{"))["o"] == "InvalidJson"
        assert (await pump.refusal("get/json", {"l": BLOCK, "o": 10**9}))["o"] == "OffsetOutOfBounds"
        other = await pump.refusal("get/json", {"l": BLOCK}, sid="fw-none")
        assert (other["o"], other["reason"]) == ("Unauthorized", "not_for_this_device")


async def test_another_device_may_not(tmp_path: Path) -> None:
    async with device(tmp_path) as pump:
        fan = Device(pump.there, "fan")
        assert (await fan.refusal("get/json", {"l": BLOCK}))["o"] == "Unauthorized"
        assert (await fan.refusal("describe/cbor", {}))["o"] == "Unauthorized"


async def test_while_it_is_paused_it_is_to_wait(tmp_path: Path) -> None:
    async with device(tmp_path, "paused") as pump:
        refused = await pump.refusal("get/cbor", {"l": BLOCK})
        assert (refused["o"], refused["reason"], refused["retry_s"]) == (
            "RequestThrottled", "delivery_paused", 60,
        )  # fmt: skip
        await set_execution(pump.there.catalog, "e-pump", state="downloading")
        assert (await pump.ask("get/cbor", {"l": BLOCK})).is_accepted


async def test_bytes_that_are_gone_or_damaged(tmp_path: Path) -> None:
    async with device(tmp_path) as pump:
        pump.there.blobs.by_name[SHA256].fails = StorageError("It is damaged.", code="artifact_damaged")
        refused = await pump.refusal("get/json", {"l": BLOCK})
        assert (refused["o"], refused["reason"]) == ("InternalError", "artifact_damaged")
        pump.there.blobs.by_name.clear()
        device_without = Device(await _fresh(pump.there))
        assert (await device_without.refusal("get/json", {"l": BLOCK}))["o"] == "ResourceNotFound"


async def _fresh(there: Scene) -> Scene:
    """The same with nothing remembered."""
    delivery = Delivery(there.catalog, there.blobs, there.budgets, there.progress, clock=ManualClock())
    return Scene(there.catalog, there.blobs, there.progress, there.budgets, delivery)
