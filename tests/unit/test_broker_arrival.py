"""Who is a trusted proxy, and who is at the other end of a Unix socket."""

from __future__ import annotations

import ipaddress
import os
import socket

import pytest

from broker.arrival import Door, Entrance, peer_uid
from broker.identity import NOTHING, Proof
from broker.origins import OriginPolicy
from broker.websocket import WebSockets


@pytest.mark.parametrize(
    ("address", "is_proxy"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.1.2.3", False), ("fe80::1%lo", False)],
)
async def test_who_is_a_proxy(address: str, is_proxy: bool) -> None:
    entrance = Entrance((ipaddress.ip_network("10.0.0.0/8"),), WebSockets(OriginPolicy([], [])))
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs, socket.socket() as unconnected:
        assert peer_uid(ours) == os.getuid()
        if not is_proxy:
            assert await entrance.find_source(unconnected, (address, 1)) == address, "nothing is read"
        assert entrance._is_proxy(address) is is_proxy


@pytest.mark.parametrize(("own_uid", "is_local"), [(None, True), (12_345, os.getuid() == 0)])
async def test_whose_programs_need_no_token(own_uid: int | None, is_local: bool) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        entrance = Entrance((), WebSockets(OriginPolicy([], [])), own_uid=own_uid)
        assert await entrance.find_source(ours, "") == f"uid-{os.getuid()}"
        arrival = await entrance.enter(ours, "uid-0", Door(name="unix"))
        assert arrival.proof == Proof(is_local=is_local)
        assert arrival.transport.name == "unix"
        assert (await entrance.enter(ours, "192.0.2.1", Door(name="tcp"))).proof == NOTHING
