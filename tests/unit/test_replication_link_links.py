"""Links over real sockets: one for each pair, who is let in, and what everybody else is told."""

from __future__ import annotations

import dataclasses
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.limits_replication import (
    LINK_CERTIFICATE_DAYS,
    LINK_WAITING_PER_ADDRESS_COUNT_MAX,
    WIRE_MESSAGE_BYTES_MAX,
)
from appliance.core.settings import Bind
from appliance.identity.fleet import Fleet
from appliance.run.fleet_node import FleetNode
from replication.link.greeting import LINK_PATH
from replication.link.messages import (
    Hello,
    LinkMessage,
    Refused,
    RosterDigest,
    RosterEntries,
    decode_link_message,
    encode_link_message,
)
from replication.link.transport import Wire, WireEnded, client_context, joining_context, with_wire
from replication.scheduling import Priority
from tests.fleet_kit import (
    Box,
    Heard,
    begin_fleet,
    entry_at,
    join_fleet,
    make_box,
    make_fleet,
    open_node,
    until,
)

DAY_MS = 86_400_000
MESSAGE = b"\x92\x3c\x00"
"""Of a kind that links pass on."""


@asynccontextmanager
async def running(*nodes: FleetNode) -> AsyncIterator[list[Heard]]:
    heard = []
    async with trio.open_nursery() as nursery:
        for node in nodes:
            node.links.listener = listener = Heard()
            heard.append(listener)
            await nursery.start(node.run)
        yield heard
        nursery.cancel_scope.cancel()


def both(folder: Path, *, is_one_site: bool = False) -> tuple[Box, Box]:
    first, second = make_fleet(folder, "first", "second", is_one_site=is_one_site)
    return first, second


def introduce_running(*nodes: FleetNode) -> None:
    for node in nodes:
        node.keeper.merge([entry_at(other) for other in nodes if other is not node])


async def connected(*nodes: FleetNode) -> None:
    await until(lambda: all(len(node.links.peers()) == len(nodes) - 1 for node in nodes))


async def test_a_link_serves_both_directions_whoever_dialled(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    server, client = open_node(first), open_node(second)
    async with running(server, client) as (at_server, at_client):
        client.keeper.merge([entry_at(server)])
        await connected(server, client)
        left: list[int] = []
        assert server.links.send(client.node_id, MESSAGE, Priority.LIVE, partial(left.append, 1))
        assert client.links.send(server.node_id, MESSAGE, Priority.BACKLOG)
        await until(lambda: at_server.messages and at_client.messages and left)
        assert at_client.messages == [(server.node_id, MESSAGE)]
        assert at_server.messages == [(client.node_id, MESSAGE)]
        (seen,) = server.links.statistics().links
        assert (seen.node_id, seen.is_dialled, seen.received_messages > 0) == (client.node_id, False, True)
        assert not server.links.send("0" * 32, MESSAGE, Priority.LIVE)
        await client.links.stop()
        await until(lambda: not server.links.peers())
    assert at_server.events[:2] == [("up", client.node_id), ("down", client.node_id)]


async def test_where_both_dial_one_link_is_left(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    one, other = open_node(first, seed=1), open_node(second, seed=2)
    async with running(one, other):
        introduce_running(one, other)
        await connected(one, other)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert one.links.link_of(other.node_id) is not None
        (ours,), (theirs,) = one.links.statistics().links, other.links.statistics().links
        assert ours.is_dialled != theirs.is_dialled


async def test_three_nodes_learn_of_each_other_and_dial(tmp_path: Path) -> None:
    founder = make_box(tmp_path, "founder")
    begin_fleet(founder)
    boxes = [founder, make_box(tmp_path, "roof"), make_box(tmp_path, "barn")]
    for box in boxes[1:]:
        join_fleet(founder, box)
    nodes = [open_node(box, seed=number) for number, box in enumerate(boxes)]
    async with running(*nodes):
        for node in nodes:
            # What each says of itself has the port that the kernel chose; only the founder's is told by hand.
            node.keeper.merge([entry_at(node)])
        for node in nodes[1:]:
            node.keeper.merge([entry_at(nodes[0])])
        await until(lambda: all(len(node.keeper.roster) == 3 for node in nodes))
        await nodes[1].keeper.saved()
    assert len(boxes[1].roster) == 3


async def told(
    server: FleetNode, context: ssl.SSLContext, *messages: bytes, path: str = LINK_PATH
) -> LinkMessage | str:
    """What a server answers; the reason why a connection ended where it says nothing."""
    answers: list[LinkMessage] = []

    async def talk(wire: Wire) -> None:
        for message in messages:
            await wire.send(message)
        answers.append(decode_link_message(await wire.receive()))

    stream = await trio.open_tcp_stream("127.0.0.1", server.links.port)
    try:
        with trio.fail_after(60):
            await with_wire(stream, context, talk, path=path, message_bytes_max=1 << 20)
    except WireEnded as ended:
        return ended.refusal.reason
    return answers[0]


def context_of(box: Box) -> ssl.SSLContext:
    fleet = Fleet.load(box.data_dir, box.keys)
    return client_context(fleet.ca_path, fleet.link_path)


def hello_of(box: Box, **change: object) -> bytes:
    node = open_node(box)
    entry = node.keeper.roster.get(node.node_id)
    assert entry is not None
    said = Hello(1, node.node_id, entry.site_id, entry.instance, "5" * 32, "0.1", 5, entry.signed)
    return encode_link_message(msgspec.structs.replace(said, **change))


async def test_a_stranger_is_refused_by_tls_and_both_know_why(tmp_path: Path) -> None:
    first, _ = both(tmp_path)
    stranger = make_box(tmp_path, "stranger")
    begin_fleet(stranger)
    server = open_node(first)
    async with running(server):
        fleet = Fleet.load(stranger.data_dir, stranger.keys)
        trusting = client_context(fleet.ca_path, fleet.link_path)
        trusting.verify_mode = ssl.CERT_NONE
        assert await told(server, trusting, hello_of(stranger)) == "stranger"
        await until(lambda: server.links.statistics().refused == {"stranger": 1})
        # The other way round the stranger's own TLS refuses, and the server hears of that.
        assert await told(server, context_of(stranger), hello_of(stranger)) == "stranger"
        await until(lambda: len(server.links.statistics().newest_refused) == 2)


async def test_nobody_without_a_certificate_gets_further_than_joining(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    server = open_node(first)
    async with running(server):
        answer = await told(server, joining_context(), hello_of(second))
        assert isinstance(answer, Refused)
        assert answer.reason == "stranger"
        answer = await told(server, context_of(second), hello_of(second), path="/elsewhere")
        assert isinstance(answer, Refused)
        assert answer.reason == "protocol"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"version": 9}, "version"),
        ({"site_id": "0" * 32}, "identity"),
        ({"instance": "0" * 32}, "identity"),
    ],
)
async def test_what_is_wrong_with_a_hello_is_said(
    tmp_path: Path, message: dict[str, object], reason: str
) -> None:
    first, second = both(tmp_path)
    server = open_node(first)
    async with running(server):
        answer = await told(server, context_of(second), hello_of(second, **message))
        assert isinstance(answer, Refused)
        assert answer.reason == reason
        await until(lambda: server.links.statistics().refused == {reason: 1})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"nonsense", "protocol"),
        (encode_link_message(Refused("x", "y")), "x"),
        (encode_link_message(RosterEntries(())), "protocol"),
        (b"\x91" * 20_000, "oversize"),
    ],
)
async def test_whoever_does_not_begin_with_hello_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    first, second = both(tmp_path)
    server = open_node(first)
    async with running(server):
        await told(server, context_of(second), data)
        await until(lambda: server.links.statistics().newest_refused)
        assert server.links.statistics().newest_refused[-1].reason == reason


async def test_an_expired_peer_is_refused_and_hears_it(tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now_ms())
    first, second = both(tmp_path)
    server, client = open_node(first, clock=clock), open_node(second)
    clock.advance((LINK_CERTIFICATE_DAYS + 1) * DAY_MS)
    async with running(server, client):
        client.keeper.merge([entry_at(server)])
        await until(lambda: client.links.statistics().dials and client.links.statistics().dials[0].reason)
        (dial,) = client.links.statistics().dials
        assert (dial.reason, dial.is_ours) == ("expired", False)
        assert "new invitation" in dial.message


async def test_links_end_with_their_certificates_and_with_a_farewell(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    server, client = open_node(first), open_node(second)
    async with running(server, client):
        client.keeper.merge([entry_at(server)])
        await connected(server, client)
        gone = await server.decommission(client.node_id, "sold")
        assert gone.decommission is not None
        await until(lambda: not server.links.peers() and not client.links.peers())
        await until(lambda: any(each.reason == "decommissioned" for each in client.links.statistics().dials))
        assert [node.node_id for node in first.roster.admitted()] == [first.node_id]


async def test_a_clone_is_refused_while_the_first_is_there(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    server, client = open_node(first), open_node(second)
    async with running(server, client):
        client.keeper.merge([entry_at(server)])
        await connected(server, client)
        answer = await told(server, context_of(second), hello_of(second))
        assert isinstance(answer, Refused)
        assert answer.reason == "clone"
        assert server.links.peers() == [client.node_id]


async def test_an_older_instance_is_refused_as_a_clone(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    old = tmp_path / "old"
    shutil.copytree(second.data_dir, old / "second")
    hello, context = hello_of(second), context_of(second)
    shutil.rmtree(second.data_dir / "fleet")
    join_fleet(first, second, ManualClock(SystemClock().now_ms() + 5_000))
    server, client = open_node(first), open_node(second)
    async with running(server, client):
        client.keeper.merge([entry_at(server)])
        await connected(server, client)
        await client.links.stop()
        answer = await told(server, context, hello)
        assert isinstance(answer, Refused)
        assert answer.reason == "clone"


async def test_a_restarted_peer_takes_its_dead_link_s_place(tmp_path: Path) -> None:
    first, second = both(tmp_path)
    server = open_node(first)

    async def hang(started: trio.Event, wire: Wire) -> None:
        await wire.send(hello_of(second))
        await wire.receive()
        started.set()
        # Alive as far as TCP knows; nobody reads, so nobody answers pings.
        await trio.sleep_forever()

    async with running(server) as (heard,), trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", server.links.port)
        started = trio.Event()
        nursery.start_soon(
            partial(with_wire, stream, context_of(second), partial(hang, started), path=LINK_PATH)
        )
        await started.wait()
        client = open_node(second)
        async with running(client):
            client.keeper.merge([entry_at(server)])
            await until(lambda: len(heard.events) == 3)
            assert [event for event, _ in heard.events] == ["up", "down", "up"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("which", ["oversize", "protocol", "hello twice"])
async def test_a_message_that_is_too_large_or_not_understood_ends_the_link(
    tmp_path: Path, which: str
) -> None:
    first, second = both(tmp_path)
    server, outcome = open_node(first), []
    hello = hello_of(second)
    large = encode_link_message(Refused("x", "y")) + bytes(WIRE_MESSAGE_BYTES_MAX)
    data = {"oversize": large, "protocol": b"\x91\x07", "hello twice": hello}[which]

    async def talk(wire: Wire) -> None:
        await wire.send(hello)
        await wire.send(data)
        while True:
            message = decode_link_message(await wire.receive())
            if isinstance(message, Refused):
                outcome.append(message.reason)

    async with running(server):
        stream = await trio.open_tcp_stream("127.0.0.1", server.links.port)
        with trio.fail_after(60), pytest.raises(WireEnded) as caught:
            await with_wire(stream, context_of(second), talk, path=LINK_PATH)
        assert [*outcome, caught.value.refusal.reason][0] == which.replace("hello twice", "protocol")
        await until(lambda: not server.links.peers())


async def test_those_who_say_nothing_are_bounded_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = both(tmp_path)
    monkeypatch.setattr("replication.link.listening.LINK_HANDSHAKE_S", 0.5)
    server = open_node(first)
    async with running(server):
        streams = [
            await trio.open_tcp_stream("127.0.0.1", server.links.port)
            for _ in range(LINK_WAITING_PER_ADDRESS_COUNT_MAX + 1)
        ]
        await until(lambda: server.links.statistics().refused.get("full") == 1)
        for stream in streams:
            async with stream:
                with trio.fail_after(60):
                    assert await _end_of(stream) == b""
        assert server.links.statistics().refused["slow"] == LINK_WAITING_PER_ADDRESS_COUNT_MAX
        assert server.links.statistics().waiting == 0


async def test_with_one_more_than_may_wait_the_oldest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = both(tmp_path)
    monkeypatch.setattr("replication.link.listening.LINK_WAITING_COUNT_MAX", 2)
    server = open_node(first)
    async with running(server):
        oldest = await trio.open_tcp_stream("127.0.0.1", server.links.port)
        await until(lambda: server.links.statistics().waiting == 1)
        others = [await trio.open_tcp_stream("127.0.0.1", server.links.port) for _ in range(2)]
        with trio.fail_after(60):
            assert await _end_of(oldest) == b""
        for stream in (oldest, *others):
            await stream.aclose()


async def _end_of(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some(1))
    except trio.BrokenResourceError:
        return b""


async def test_a_certificate_is_renewed_and_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now_ms())
    first, second = both(tmp_path)
    founder, other = open_node(first, clock=clock), open_node(second, clock=clock)
    async with running(founder, other):
        other.keeper.merge([entry_at(founder)])
        await connected(founder, other)
        old = (founder.fleet.identity.fingerprint, other.fleet.identity.fingerprint)
        clock.advance(61 * DAY_MS)
        # The founder's site signs for itself, the other box asks over the link.
        assert await founder.renew_now()
        assert await other.renew_now()
        assert old != (founder.fleet.identity.fingerprint, other.fleet.identity.fingerprint)
        await until(lambda: _fingerprint_at(founder, other) == other.fleet.identity.fingerprint)
        # Both certificates of before are over now, and a new link is made all the same.
        clock.advance(40 * DAY_MS)
        other.keeper.merge([entry_at(founder)])
        await other.links.stop()
        await connected(founder, other)
    assert Fleet.load(second.data_dir, second.keys).identity == other.fleet.identity


def _fingerprint_at(node: FleetNode, other: FleetNode) -> str:
    entry = node.keeper.roster.get(other.node_id)
    return "" if entry is None else entry.fingerprint


async def test_who_can_t_sign_says_so(tmp_path: Path) -> None:
    _, second, third = make_fleet(tmp_path, "first", "second", "third", is_one_site=False)
    one, other = open_node(second), open_node(third)
    async with running(one, other):
        other.keeper.merge([entry_at(one)])
        await connected(one, other)
        before = other.fleet.identity
        assert not await other.renew_now()
        assert other.fleet.identity == before


async def test_silence_ends_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replication.link.connection.LINK_PING_S", 0.02)
    monkeypatch.setattr("replication.link.connection.LINK_SILENCE_S", 0.1)
    first, second = both(tmp_path)
    server = open_node(first)

    async def hang(wire: Wire) -> None:
        await wire.send(hello_of(second))
        await wire.receive()
        await trio.sleep_forever()

    async with running(server) as (heard,), trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", server.links.port)
        nursery.start_soon(partial(with_wire, stream, context_of(second), hang, path=LINK_PATH))
        await until(lambda: ("down", second.node_id) in heard.events)
        nursery.cancel_scope.cancel()


async def test_a_peer_that_asks_on_and_on_about_the_roster_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.link.connection.LINK_ROSTER_BURST", 250)
    first, second = both(tmp_path)
    server, answers = open_node(first), []

    async def talk(wire: Wire) -> None:
        await wire.send(hello_of(second))
        for _ in range(3):
            await wire.send(encode_link_message(RosterDigest({})))
        while True:
            answers.append(decode_link_message(await wire.receive()))

    async with running(server):
        stream = await trio.open_tcp_stream("127.0.0.1", server.links.port)
        with trio.fail_after(60), pytest.raises(WireEnded):
            await with_wire(stream, context_of(second), talk, path=LINK_PATH)
    assert isinstance(answers[-1], Refused)
    assert answers[-1].reason == "protocol"


async def test_where_the_port_is_taken_a_box_connects_to_others_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.link.links.LINK_LISTEN_RETRY_S", 0.05)
    first, second = both(tmp_path)
    server = open_node(first)
    async with running(server):
        taken = Bind(host="127.0.0.1", port=server.links.port)
        config = dataclasses.replace(
            second.config, replication=dataclasses.replace(second.config.replication, bind=taken)
        )
        client = open_node(Box(config=config, keys=second.keys))
        async with running(client):
            client.keeper.merge([entry_at(server)])
            await connected(server, client)
            assert str(taken) in client.links.problem
            assert client.links.port == 0


async def test_no_more_links_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replication.link.links.LINK_COUNT_MAX", 0)
    first, second = both(tmp_path)
    server = open_node(first)
    async with running(server):
        answer = await told(server, context_of(second), hello_of(second))
        assert isinstance(answer, Refused)
        assert answer.reason == "full"
