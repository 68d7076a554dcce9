"""What the node relies on when it asks the broker, held against a running one and against the tests' stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
import trio

from appliance.core.errors import Conflict, NotFound, UsageError
from broker.link import BrokerLink
from tests.broker_kit import running_broker
from tests.broker_stand_in import AnsweringBroker, away_row, client_row, retained_row
from tests.protocol import builder
from ui.api import broker_structs as structs


class Asked(Protocol):
    async def ask(self, question: str, **fields: Any) -> dict[str, Any]: ...


Opened = Callable[[Path], AbstractAsyncContextManager[Asked]]
FILTER = {
    "topic_filter": "dm/dev-a/#", "qos": 1, "no_local": False, "retain_as_published": False, "identifiers": [],
}  # fmt: skip


@asynccontextmanager
async def real(tmp_path: Path) -> AsyncIterator[Asked]:
    path = tmp_path / "broker.sock"
    link = BrokerLink(path, lambda: None, lambda _names: None)
    async with (
        running_broker(tmp_path, control_path=path) as running,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(link.run)
        await running.wait_until(lambda: link.connected)
        first = await running.connect("a", username="dev-a", version=5)
        await first.subscribe("dm/dev-a/#")
        await running.connect("b", username="dev-b", version=5)
        gone = await running.connect("c", username="dev-C", version=5, properties=b"\x11\0\0\x0e\x10")
        await gone.send(b"\xe0\0")
        await running.wait_until(lambda: running.statistics()["sessions"]["away"] == 1)
        writer = await running.connect("writer", username="site-dev", version=5)
        for number, topic in enumerate(("plant/x", "plant/Y"), start=1):
            await writer.send(
                builder.publish(topic, b"on", qos=1, retain=True, packet_id=number, properties=b"")
            )
            await writer.expect(builder.PUBACK)
        yield link
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def stand_in(tmp_path: Path) -> AsyncIterator[Asked]:
    yield AnsweringBroker(
        clients=[
            client_row("a", principal="dev-a", subscriptions=1),
            client_row("b", principal="dev-b"),
            away_row("c", principal="dev-C", subscriptions=0, queued_messages=0, queued_bytes=0),
            client_row("writer", principal="site-dev"),
        ],
        subscriptions={"a": [FILTER]},
        retained=[retained_row(1, "plant/x"), retained_row(2, "plant/Y")],
    )


@pytest.fixture(params=[real, stand_in], ids=["real", "stand-in"])
def opened(request: pytest.FixtureRequest) -> Opened:
    found: Opened = request.param
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [client.client_id for client in msgspec.convert(answer, structs.ClientPage).clients]


def topics(answer: dict[str, Any]) -> list[str]:
    return [one.topic for one in msgspec.convert(answer, structs.RetainedPage).retained]


async def test_clients(opened: Opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as broker:
        page = await broker.ask("clients", q="", cursor="", limit=2)
        assert (ids(page), page["next_cursor"], page["total"]) == (["a", "b"], "b", 4)
        page = await broker.ask("clients", q="", cursor="b", limit=2)
        assert (ids(page), page["next_cursor"]) == (["c", "writer"], None)
        assert ids(await broker.ask("clients", q="DEV-c")) == ["c"]
        assert ids(await broker.ask("clients", client_ids=["writer", "gone", "a"])) == ["writer", "a"]


async def test_a_client(opened: Opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as broker:
        detail = msgspec.convert(await broker.ask("client", client_id="a"), structs.ClientDetail)
        assert msgspec.json.decode(msgspec.json.encode(detail.subscription_list)) == [FILTER]
        assert (detail.subscriptions, detail.principal, detail.version) == (1, "dev-a", "5.0")
        assert await broker.ask("kick", client_id="a") == {"client_id": "a"}
        for question in ("client", "kick"):
            with pytest.raises(NotFound) as caught:
                await broker.ask(question, client_id="a")
            assert caught.value.code == "client_unknown"


async def test_a_client_that_is_away(opened: Opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as broker:
        assert ids(await broker.ask("clients", state="away")) == ["c"]
        assert ids(await broker.ask("clients", state="connected")) == ["a", "b", "writer"]
        detail = msgspec.convert(await broker.ask("client", client_id="c"), structs.ClientDetail)
        assert (detail.is_connected, detail.address, detail.session_expiry_s) == (False, None, 3_600)
        assert detail.expires_at_ms is not None
        assert detail.receive_maximum is None
        with pytest.raises(Conflict) as caught:
            await broker.ask("kick", client_id="c")
        assert caught.value.code == "client_away"
        assert await broker.ask("end_session", client_id="c") == {"client_id": "c", "was_connected": False}
        assert await broker.ask("end_session", client_id="b") == {"client_id": "b", "was_connected": True}
        assert ids(await broker.ask("clients")) == ["a", "writer"]
        with pytest.raises(NotFound):
            await broker.ask("end_session", client_id="c")


async def test_publishing(opened: Opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as broker:
        fields = {"topic": "alarms/x", "payload": b"{}", "key": "k", "is_retained": False}
        answer = await broker.ask("publish", **fields)
        assert set(answer) == {"seq"}
        assert answer["seq"] > 0
        with pytest.raises(UsageError) as caught:
            await broker.ask("publish", **{**fields, "topic": "alarms/#"})
        assert caught.value.code == "question_invalid"


async def test_retained(opened: Opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as broker:
        page = await broker.ask("retained", q="", cursor=None, limit=1)
        assert (topics(page), page["total"]) == (["plant/Y"], 2)
        assert topics(await broker.ask("retained", q="", cursor=page["next_cursor"], limit=1)) == ["plant/x"]
        assert topics(await broker.ask("retained", q="/y")) == ["plant/Y"]
        seq = page["retained"][0]["seq"]
        assert await broker.ask("clear_retained", topic="plant/Y", seq=seq) == {
            "topic": "plant/Y",
            "seq": seq,
        }
        for fields in ({"topic": "plant/Y"}, {"topic": "plant/x", "seq": seq}):
            with pytest.raises(NotFound) as caught:
                await broker.ask("clear_retained", **fields)
            assert caught.value.code == "retained_unknown"


async def test_the_next_reading_of_a_device_is_traced(opened: Opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as broker:
        assert await broker.ask("trace_next", device="dev-a") == {"waits_ms": 900_000}
