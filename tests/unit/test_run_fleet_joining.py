"""Joining over a real connection: what each end must prove, and what a box gets."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.config import Config
from appliance.core.errors import Conflict, HomeportError, NotAuthorized, Unavailable, UsageError
from appliance.core.limits_replication import INVITATION_LIFE_MS, LINK_CERTIFICATE_DAYS
from appliance.core.settings import Bind
from appliance.identity.ca import SiteCa
from appliance.identity.fleet import Fleet
from appliance.identity.fleet_invitations import Kind, Token, read_token
from appliance.identity.fleet_inviting import invite
from appliance.identity.instance import load_instance
from appliance.identity.keys import SiteKeys
from appliance.run.fleet_inviting import Inviting
from appliance.run.fleet_joining import Joined, join
from appliance.run.fleet_node import FleetNode
from tests.fleet_kit import Box, make_box, open_node, until
from tests.ports import free_port


@pytest.fixture
def inviter(tmp_path: Path) -> Box:
    address = Bind(host="127.0.0.1", port=free_port())
    box = make_box(tmp_path, "inviter", bind=address, addresses=(address,))
    SiteCa.load_or_create(box.data_dir, box.keys, clock=SystemClock())
    return box


def invited(box: Box, kind: Kind) -> Token:
    token, _ = invite(box.config, box.keys, kind, note="", clock=SystemClock())
    return read_token(token.text())


@asynccontextmanager
async def answering(box: Box, clock: ManualClock | None = None) -> AsyncIterator[FleetNode]:
    node = open_node(box, clock=clock)
    node.links.join = Inviting(node, box.config, clock=clock or SystemClock()).talk
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield node
        nursery.cancel_scope.cancel()


def fresh(folder: Path, name: str = "new") -> Config:
    box = make_box(folder / "aside", name)
    config = dataclasses.replace(
        box.config,
        node=dataclasses.replace(box.config.node, data_dir=folder / name, run_dir=folder / f"{name}-run"),
    )
    config.node.data_dir.mkdir(mode=0o700)
    config.node.run_dir.mkdir(mode=0o700)
    return config


async def joined(config: Config, token: Token, *, replace: bool = False) -> Joined:
    return await trio.to_thread.run_sync(partial(join, config, token, clock=SystemClock(), replace=replace))


async def refused(config: Config, token: Token) -> str:
    with pytest.raises(HomeportError) as caught:
        await joined(config, token)
    assert not (config.node.data_dir / "fleet").exists()
    return caught.value.code


async def test_a_box_of_the_same_site_gets_its_secrets_and_an_id_of_its_own(
    inviter: Box, tmp_path: Path
) -> None:
    token, config = invited(inviter, "site"), fresh(tmp_path)
    async with answering(inviter) as node:
        done = await joined(config, token)
        keys = SiteKeys.load_existing(config.node.data_dir)
        assert (done.node_id, done.is_same_site, done.replaced) == (keys.node_id.hex(), True, None)
        assert keys.derive("x") == inviter.keys.derive("x")
        assert keys.signer.key_id != inviter.keys.signer.key_id
        shared = SiteCa.load_or_create(config.node.data_dir, keys, clock=SystemClock())
        assert (
            shared.issuing
            == SiteCa.load_or_create(inviter.data_dir, inviter.keys, clock=SystemClock()).issuing
        )
        fleet = Fleet.load(config.node.data_dir, keys)
        assert fleet.can_sign
        instance = load_instance(config.node.data_dir)
        assert instance is not None
        assert instance.is_bound
        new = open_node(Box(config=config, keys=keys))
        async with trio.open_nursery() as nursery:
            await nursery.start(new.run)
            await until(lambda: node.links.peers() == [done.node_id])
            nursery.cancel_scope.cancel()


async def test_another_site_proves_to_be_itself_and_keeps_what_it_has(inviter: Box, tmp_path: Path) -> None:
    token, other = invited(inviter, "other"), make_box(tmp_path, "other")
    async with answering(inviter):
        done = await joined(other.config, token)
    assert done.node_id == other.node_id
    fleet = Fleet.load(other.data_dir, other.keys)
    assert not fleet.can_sign
    assert (
        fleet.identity.site_id == done.site_id != Fleet.load(inviter.data_dir, inviter.keys).identity.site_id
    )
    assert [node.node_id for node in other.roster] == [inviter.node_id]
    with pytest.raises(Conflict) as caught:
        await joined(other.config, token)
    assert caught.value.code == "fleet_there"


async def test_an_invitation_is_for_one_box(inviter: Box, tmp_path: Path) -> None:
    token = invited(inviter, "other")
    async with answering(inviter) as node:
        await joined(make_box(tmp_path, "one").config, token)
        assert await refused(make_box(tmp_path, "two").config, token) == "invitation_used"
        never = dataclasses.replace(token, secret=b"?" * 24)
        assert await refused(make_box(tmp_path, "three").config, never) == "invitation_unknown"
        assert node.links.peers() == []


async def test_an_invitation_ends(inviter: Box, tmp_path: Path) -> None:
    token, clock = invited(inviter, "other"), ManualClock(SystemClock().now_ms())
    clock.advance(INVITATION_LIFE_MS)
    async with answering(inviter, clock):
        assert await refused(make_box(tmp_path, "other").config, token) == "invitation_unknown"


async def test_whoever_knows_the_invitation_but_not_its_secret_gets_nothing(
    inviter: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = invited(inviter, "site")
    monkeypatch.setattr("appliance.run.fleet_joining.proof_of", lambda key, said: bytes(32))
    async with answering(inviter):
        assert await refused(fresh(tmp_path), token) == "invitation_unproved"
    monkeypatch.undo()
    async with answering(inviter):
        assert (await joined(fresh(tmp_path, "right"), token)).is_same_site


async def test_a_box_tells_nothing_to_whoever_is_not_the_inviter(inviter: Box, tmp_path: Path) -> None:
    token = invited(inviter, "other")
    async with answering(inviter):
        other = dataclasses.replace(token, authority="0" * 64)
        assert await refused(make_box(tmp_path, "one").config, other) == "inviter_false"
        kind = dataclasses.replace(token, kind="site")
        assert await refused(fresh(tmp_path), kind) == "inviter_false"


async def test_an_inviter_whose_certificate_is_over_is_none(inviter: Box, tmp_path: Path) -> None:
    token, box = invited(inviter, "other"), make_box(tmp_path, "other")
    late = ManualClock(SystemClock().now_ms())
    late.advance((LINK_CERTIFICATE_DAYS + 1) * 86_400_000)
    async with answering(inviter):
        with pytest.raises(NotAuthorized) as caught:
            await trio.to_thread.run_sync(partial(join, box.config, token, clock=late))
    assert caught.value.code == "inviter_false"


async def test_nobody_takes_another_site_s_node_or_comes_back_from_a_farewell(
    inviter: Box, tmp_path: Path
) -> None:
    token, one = invited(inviter, "other"), make_box(tmp_path, "one")
    async with answering(inviter) as node:
        await joined(one.config, token)
        second = open_node(one)
        node.keeper.merge([second.entry])
        thief = make_box(tmp_path, "thief", node_id=one.node_id)
        assert await refused(thief.config, invited(inviter, "other")) == "node_id_taken"
        await node.decommission(one.node_id, "")
        again = make_box(tmp_path / "again", "one", mate=one, node_id=one.node_id)
        assert await refused(again.config, invited(inviter, "other")) == "node_decommissioned"
        with pytest.raises(HomeportError):
            await node.decommission("0" * 32, "")
        with pytest.raises(Conflict):
            await node.decommission(inviter.node_id, "")


async def test_a_site_that_can_t_be_proved_is_refused(
    inviter: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Fleet.load
    token = invited(inviter, "other")
    founder_site = own(inviter.data_dir, inviter.keys).identity.site_id
    monkeypatch.setattr("appliance.run.fleet_joining.site_id_of", lambda keys: founder_site)
    async with answering(inviter):
        assert await refused(make_box(tmp_path, "liar").config, token) == "site_unproved"


async def test_nobody_answers(tmp_path: Path) -> None:
    token = Token(
        kind="other", secret=bytes(24), authority="0" * 64, addresses=("nonsense", f"127.0.0.1:{free_port()}")
    )
    with pytest.raises(Unavailable) as caught:
        await joined(make_box(tmp_path, "box").config, token)
    assert caught.value.code == "inviter_unreachable"


async def test_a_box_in_use_is_not_begun_anew_unless_that_is_said(inviter: Box, tmp_path: Path) -> None:
    token, used = invited(inviter, "site"), make_box(tmp_path, "used")
    async with answering(inviter):
        assert await refused(used.config, token) == "data_dir_in_use"
        done = await joined(used.config, token, replace=True)
    assert done.replaced is not None
    assert (done.replaced / "identity" / "node.id").read_text() == used.node_id
    assert done.node_id != used.node_id


async def test_who_can_t_sign_or_be_reached_invites_nobody(inviter: Box, tmp_path: Path) -> None:
    token, other = invited(inviter, "other"), make_box(tmp_path, "other")
    async with answering(inviter):
        await joined(other.config, token)
    nowhere = dataclasses.replace(
        inviter.config, replication=dataclasses.replace(inviter.config.replication, bind=None, addresses=())
    )
    with pytest.raises(UsageError):
        invite(nowhere, inviter.keys, "other", note="", clock=SystemClock())
    with pytest.raises(NotAuthorized) as caught:
        invite(other.config, other.keys, "other", note="", clock=SystemClock())
    assert caught.value.code == "fleet_key_missing"
