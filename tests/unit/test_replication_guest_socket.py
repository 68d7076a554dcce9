"""The replicator's links for another process: heard there, asked from there, and over when either end goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import pytest
import trio

from appliance.core.errors import Unavailable
from appliance.core.limits_replication import GUEST_COUNT_MAX
from replication import guest_socket
from replication.guest_socket import GuestServer, guest_links
from replication.guests import Guests
from replication.messages import AskHeads, Heads, encode_message
from replication.scheduling import Priority
from tests.fleet_kit import until
from tests.unit.test_replication_guests import A, B, Ear, Links

C = "c" * 32


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Path, Guests, Links]]:
    links = Links()
    guests = Guests(links, Ear())
    path = folder / "guests.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(GuestServer(path, guests).serve)
        yield path, guests, links
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_a_process_has_the_links_as_its_own(tmp_path: Path) -> None:
    ear = Ear()
    async with served(tmp_path) as (path, guests, links):
        assert oct(path.stat().st_mode)[-3:] == "600"
        async with guest_links(path, lambda made: ear) as own:
            assert (own.peers(), own.first_request > 2**31) == ([A, B], True)
            left: list[bool] = []
            assert own.send(A, encode_message(AskHeads(B)), Priority.CONTROL, lambda: left.append(True))
            assert not own.send(C, encode_message(AskHeads(B)), Priority.CONTROL)
            assert left == [True]
            await until(lambda: links.sent == [(A, AskHeads(B))])
            guests.link_up(C)
            guests.message(C, encode_message(Heads(False, ())))
            guests.link_down(A)
            await until(lambda: len(ear.heard) == 3)
            assert ear.heard == [("up", C), (C, Heads(False, ())), ("down", A)]
            assert own.peers() == [B, C]
        await until(lambda: not guests._guests)


async def test_when_the_replicator_goes_all_peers_are_gone(tmp_path: Path) -> None:
    ear = Ear()
    path = tmp_path / "guests.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(GuestServer(path, Guests(Links(), Ear())).serve)
        async with guest_links(path, lambda made: ear) as links:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await until(lambda: ear.heard == [("down", A), ("down", B)])
            assert links.peers() == []
            assert not links.send(A, encode_message(AskHeads(B)), Priority.CONTROL)


async def test_nobody_there_too_many_or_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="can't be asked"):
        async with guest_links(tmp_path / "none.sock", lambda made: Ear()):
            pass
    async with served(tmp_path) as (path, guests, _):
        for _ in range(GUEST_COUNT_MAX):
            guests.join(lambda guest: Ear())
        with pytest.raises(Unavailable, match="no room"):
            async with guest_links(path, lambda made: Ear()):
                pass
    monkeypatch.setattr(guest_socket, "GUEST_VERSION", 2)
    async with served(tmp_path) as (path, _, _):
        with pytest.raises(Unavailable, match="another version"):
            async with guest_links(path, lambda made: Ear()):
                pass


async def test_who_talks_nonsense_or_takes_nothing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as (path, guests, _):
        async with await trio.open_unix_socket(str(path)) as stream:
            body = msgpack.packb({"t": "what"})
            await stream.send_all(len(body).to_bytes(4, "big") + body)
            await until(lambda: not guests._guests)
        monkeypatch.setattr(guest_socket, "GUEST_WAITING_BYTES_MAX", 1_000_000)
        async with await trio.open_unix_socket(str(path)):
            await until(lambda: guests._guests)
            data = encode_message(Heads(False, ())).ljust(60_000, b"\0")
            for _ in range(40):
                for guest in list(guests._guests):
                    guest.listener.message(A, data)
            await until(lambda: not guests._guests)


async def test_what_the_replicator_says_and_nobody_understands_ends_it(tmp_path: Path) -> None:
    ear = Ear()
    async with served(tmp_path) as (path, guests, _), guest_links(path, lambda made: ear):
        await until(lambda: guests._guests)
        told = guests._guests[0].listener
        assert isinstance(told, guest_socket._Told)
        told.waiting.put({"t": "what"})
        await until(lambda: ("down", A) in ear.heard)
