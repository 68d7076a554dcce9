"""Whoever is connected is held to what they may do now, however the broker heard of the change."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import NotAuthorized, Unavailable
from appliance.management.access import Principal, Role
from broker import access_watch
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, Peer, Running, running_broker
from tests.protocol import builder

ROLES = {
    "writer": Role.of(publish=["room/%u/#", "all/+/set"], subscribe=["room/+/state"]),
    "reader": Role.of(subscribe=["room/#", "$SYS/#", "mine/%c/#"]),
}


class Directory:
    """Who everybody is; an authenticator and a source of changes at once."""

    def __init__(self, *principals: Principal) -> None:
        self.known: dict[str, Principal] = {each.name: each for each in principals}
        self.changes: set[str] | None = set()
        self.is_away = False
        self.looks = 0
        self._lock = threading.Lock()

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        principal = self.known.get(username or "")
        if principal is None:
            raise NotAuthorized("Nobody.", code="bad_credentials")
        return principal

    def authenticate_certificate(
        self, common_name: str, proof: bytes, client_id: str, address: str
    ) -> Principal:
        return self.authenticate(common_name, None, client_id, address)

    def change(self, name: str, principal: Principal | None, *, is_noticed: bool = True) -> None:
        with self._lock:
            if principal is None:
                del self.known[name]
            else:
                self.known[name] = principal
            if is_noticed and self.changes is not None:
                self.changes.add(name)

    def take_changes(self) -> frozenset[str] | None:
        with self._lock:
            self.looks += 1
            taken, self.changes = self.changes, set()
            return None if taken is None else frozenset(taken)

    def reconsider(self, principal: Principal) -> Principal | NotAuthorized:
        if self.is_away:
            raise Unavailable("The catalog can't be read.", hint="Wait.")
        found = self.known.get(principal.name)
        return NotAuthorized("The certificate was revoked.", hint="Enrol.") if found is None else found


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_watch, "CHECK_INTERVAL_MS", 20)


async def refused_publish(peer: Peer, topic: str) -> int:
    await peer.send(peer.publish_packet(topic, b"x", packet_id=9))
    puback = await peer.expect(builder.PUBACK)
    return puback.body[2] if len(puback.body) > 2 else 0


async def changed(broker: Running, count: int = 1) -> None:
    await broker.wait_until(lambda: broker.statistics()["access"]["changed"] == count)


@pytest.mark.parametrize("is_noticed", [True, False], ids=["the catalog is noticed", "the node says so"])
async def test_a_role_that_is_taken_ends_what_it_opened(tmp_path: Path, is_noticed: bool) -> None:
    directory = Directory(Principal(name="w", role="writer"), Principal(name="site", access="site"))
    async with running_broker(tmp_path, roles=ROLES, authenticator=directory, access=directory) as broker:
        writer = await broker.connect("cw", username="w", version=5)
        site = await broker.connect("s", username="site")
        assert (await writer.subscribe("room/+/state", "dm/w/#", "room/#")).body[3:] == b"\x01\x01\x87"
        assert await refused_publish(writer, "room/w/x") == 0
        assert await refused_publish(writer, "room/other/x") == 0x87
        await site.publish("room/7/state", b"1")
        assert (await writer.message()).payload == b"1"
        directory.change("w", Principal(name="w"), is_noticed=is_noticed)
        if not is_noticed:
            broker.server.access_changed("w")
        await changed(broker)
        assert broker.statistics()["access"]["subscriptions_ended"] == 1
        assert broker.statistics()["plane"]["subscriptions"] == 1
        assert await refused_publish(writer, "room/w/x") == 0x87, "the topic was remembered as permitted"
        await site.publish("room/7/state", b"2")
        await site.publish("dm/w/hello", b"3", packet_id=2)
        assert (await writer.message()).payload == b"3"


async def test_a_role_that_is_given_opens_at_once(tmp_path: Path) -> None:
    directory = Directory(Principal(name="r"))
    async with running_broker(tmp_path, roles=ROLES, authenticator=directory, access=directory) as broker:
        reader = await broker.connect("c7", username="r", version=5)
        assert (await reader.subscribe("room/#", "$SYS/#", "mine/c7/x")).body[3:] == b"\x87\x87\x87"
        directory.change("r", Principal(name="r", role="reader"))
        await changed(broker)
        answer = await reader.subscribe("room/#", "$SYS/#", "mine/c7/x", "mine/c8/x", "#")
        assert answer.body[3:] == b"\x01\x01\x01\x87\x87"


async def test_whoever_would_not_be_let_in_is_cut_off_and_a_bystander_is_not(tmp_path: Path) -> None:
    directory = Directory(Principal(name="a", proof=b"1"), Principal(name="b"))
    async with running_broker(tmp_path, authenticator=directory, access=directory) as broker:
        a = await broker.connect("a1", username="a", version=5)
        b = await broker.connect("b1", username="b", version=5)
        directory.change("a", None)
        assert await a.disconnected() == 0x87
        assert broker.statistics()["access"]["cut_off"] == 1
        await b.publish("dm/b/x", b"still here")


async def test_another_file_is_held_against_everybody(tmp_path: Path) -> None:
    directory = Directory(Principal(name="a"), Principal(name="b"))
    async with running_broker(tmp_path, authenticator=directory, access=directory) as broker:
        a = await broker.connect("a1", username="a", version=5)
        directory.change("a", None, is_noticed=False)
        directory.changes = None
        assert await a.disconnected() == 0x87


async def test_while_nobody_can_say_whoever_is_in_stays_in(tmp_path: Path) -> None:
    directory = Directory(Principal(name="a"))
    async with running_broker(tmp_path, authenticator=directory, access=directory) as broker:
        a = await broker.connect("a1", username="a", version=5)
        directory.is_away = True
        directory.change("a", None)
        looks = directory.looks
        await broker.wait_until(lambda: directory.looks > looks + 2)
        await a.publish("dm/a/x", b"1")
        directory.is_away = False
        assert await a.disconnected() == 0x87, "it was forgotten while the catalog was away"


async def test_a_will_that_is_not_allowed_any_more_is_not_published(tmp_path: Path) -> None:
    directory = Directory(Principal(name="w", role="writer"))
    async with running_broker(tmp_path, roles=ROLES, authenticator=directory, access=directory) as broker:
        writer = await broker.connect(
            "cw",
            username="w",
            version=5,
            will=builder.props(b"") + builder.text("room/w/will") + builder.text("gone"),
            will_flags=0x04,
        )
        directory.change("w", Principal(name="w", role="reader"))
        await changed(broker)
        writer.drop()
        await broker.wait_until(lambda: broker.statistics()["plane"]["connections"] == 0)
    assert not broker.records(Kind.SERVER_PUBLISH)


async def test_a_change_that_changes_nothing_leaves_everything(tmp_path: Path) -> None:
    directory = Directory(Principal(name="w", role="writer"))
    async with running_broker(tmp_path, roles=ROLES, authenticator=directory, access=directory) as broker:
        writer = await broker.connect("cw", username="w", version=5)
        await writer.subscribe("room/+/state")
        looks = directory.looks
        directory.change("w", Principal(name="w", role="writer"))
        await broker.wait_until(lambda: directory.looks > looks + 2)
        assert broker.statistics()["access"]["changed"] == 0
        assert broker.statistics()["plane"]["subscriptions"] == 1


async def test_a_role_that_is_gone_opens_nothing(tmp_path: Path) -> None:
    directory = Directory(Principal(name="w", role="gone"))
    async with running_broker(tmp_path, roles=ROLES, authenticator=directory, access=directory) as broker:
        writer = await broker.connect("cw", username="w", version=5)
        assert await refused_publish(writer, "room/w/x") == 0x87
        assert await refused_publish(writer, "dm/w/x") == 0


async def test_whom_the_kernel_vouches_for_the_catalog_does_not_end(tmp_path: Path) -> None:
    directory = Directory(Principal(name="w", role="writer"))
    config = replace(CONFIG, unix_path=tmp_path / "mqtt.sock")
    async with running_broker(tmp_path, config=config, authenticator=directory, access=directory) as broker:
        local = await Peer.open_unix(tmp_path / "mqtt.sock")
        broker.peers.append(local)
        await local.connect("local", username=None)
        writer = await broker.connect("cw", username="w")
        directory.changes = None
        directory.known.clear()
        broker.server.access_changed("$local")
        assert await writer.disconnected() is None
        await local.ping()
        assert broker.statistics()["access"]["cut_off"] == 1
