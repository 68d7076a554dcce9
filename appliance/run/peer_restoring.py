"""A box out of its peers: what `homeport restore --from PEER` does, with nothing but the recovery kit and a peer's address.

    1  keys, authority and a place in the fleet are made again of the kit, under the node's old id, as a new instance
    2  peers say who has what of the node's streams; the catalog's are copied, and the catalog is made of them
    3  the log is copied; or, where devices are to be served first, begun where it ended, and its past is had later
    4  all of it takes the place of what is in the data folder, as a backup's restore does

Both streams go on in a new epoch. Until the last step nothing of the box has changed; what was there is moved aside.
"""

from __future__ import annotations

import datetime as dt
import random
import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, NotFound, StorageError, Unavailable
from appliance.core.settings import Bind
from appliance.identity import files, recovery
from appliance.identity.fleet import Fleet
from appliance.identity.instance import INSTANCE_BYTES, Instance, instance_content, instance_path
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.management.audit import LOCAL, Act
from appliance.management.fleet import NodeEntry
from appliance.run import layout
from appliance.run.first_run import lock
from appliance.run.fleet_node import FleetNode
from appliance.run.node_or_catalog import sign
from appliance.run.restore_pending import HOLDER, finish_pending
from appliance.run.restoring_streams import (
    Lacking,
    Progress,
    catalogs_of,
    copy_branches,
    copy_streams,
    log_of,
    make_catalog,
    mates_of,
)
from appliance.run.tier_key import generation_in, keep_generation
from appliance.updates.fence import raise_fence
from replication.fences import Claim
from replication.fetching import Fetcher
from storage.backup import switch
from storage.catalog.catalog import Catalog
from storage.catalog_stream.stream_writer import last_position
from storage.log import new_epoch
from storage.log.disk import OsDisk
from storage.replicas.past import begin_without_past
from storage.replicas.streams import StreamHead, StreamId

CONNECT_S: Final = 20.0
"""For the peer that was named: two handshakes over a bad link."""
OTHERS_S: Final = 5.0
"""For the others of which it tells."""
CLAIM_S: Final = 15.0
LINK_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FromPeers:
    """What came of it.

    Attributes:
        telemetry, catalog: How far the node's own streams are had, up to `next_seq`; the new epochs go on there.
        is_past_later: The log's past is still to be had.
        asked: Names of the nodes that were asked.
        away: Names of nodes that could not be reached: they may have more.
        replaced: Where what was there before lies; None where there was nothing.
    """

    node_id: str
    telemetry: StreamHead | None
    catalog: StreamHead | None
    records: int
    is_past_later: bool
    asked: tuple[str, ...]
    away: tuple[str, ...]
    lacking: tuple[Lacking, ...]
    replaced: Path | None


def restore_from_peers(
    config: Config,
    address: Bind,
    kit: RecoveryKit,
    *,
    clock: Clock,
    node_id: str | None = None,
    replace_there: bool = False,
    is_past_later: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> FromPeers:
    """Restore a lost node out of its peers' copies. Blocks.

    Args:
        address: Of any node of the fleet.
        is_past_later: Don't wait for the log's past.
    Raises:
        As `restore_node`.
    """

    def obtain(staged: Config, keys: SiteKeys) -> Had:
        copy = partial(
            _copy_all, staged, keys, address, clock=clock, is_past_later=is_past_later, progress=progress
        )
        return trio.run(copy)

    return restore_node(
        config, kit, obtain, clock=clock, node_id=node_id, replace_there=replace_there, progress=progress
    )


def restore_node(
    config: Config,
    kit: RecoveryKit,
    obtain: Callable[[Config, SiteKeys], Had],
    *,
    clock: Clock,
    node_id: str | None = None,
    replace_there: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> FromPeers:
    """Restore a lost node into the data folder of a stopped box, whose folders are there. Blocks.

    Args:
        obtain: Gets the node's streams into a data folder beside the real one, and an epoch.
        node_id: Which node this is to be; the one that the kit was made on if not given.
        replace_there: What is in the data folder may be moved aside.
    Raises:
        Conflict: the box runs, or its data folder is in use. Unavailable: nobody could be reached, or had the catalog.
        NotFound: `nothing_had`: nobody has anything of this node. StorageError: the disk failed. Nothing was changed by any of them.
    """
    data_dir = config.node.data_dir
    with ExitStack() as held:
        held.enter_context(lock(layout.supervisor_lock(config), holder=HOLDER))
        held.enter_context(lock(layout.node_lock(config), holder=HOLDER))
        finish_pending(config, is_locked=True)
        switch.check_replaceable(data_dir, replace=replace_there)
        staging = data_dir / switch.STAGING
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(mode=0o700)
            keys, instance_id = _identity(staging, kit, node_id, clock)
            staged = replace(
                config,
                node=replace(config.node, data_dir=staging),
                replication=replace(config.replication, bind=None, addresses=()),
            )
            had = obtain(staged, keys)
            records, damaged = _make_catalog(staged, keys, had.mates, clock, progress)
            for name in ("catalog", "telemetry"):
                directory = staging / "log" / name
                if directory.is_dir():
                    new_epoch.ask(OsDisk(), directory, at_least=had.epoch)
            files.replace(instance_path(staging), instance_content(data_dir, instance_id))
        except HomeportError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise StorageError(
                f"{staging} can't be written: {error.strerror}.",
                hint="Look at the disk's free space and health, then restore again: nothing was changed.",
                code="restore_failed",
            ) from error
        stamp = dt.datetime.fromtimestamp(clock.now_ms() / 1000, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        plan = switch.decide(data_dir, f"of node {keys.node_id.hex()}", stamp=stamp)
        switch.finish(data_dir, plan)
    aside = data_dir / plan.aside
    return FromPeers(
        node_id=keys.node_id.hex(),
        telemetry=had.heads.get("telemetry"),
        catalog=had.heads.get("catalog"),
        records=records,
        is_past_later=had.is_past_later,
        asked=had.asked,
        away=had.away,
        lacking=(*had.lacking, *(Lacking(what="catalog", why=error.message) for error in damaged)),
        replaced=aside if aside.exists() else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Had:
    """What a source gave.

    Attributes:
        epoch: In which the node's streams go on.
        heads: How far its own streams are had, by name.
        mates: The other nodes of its site.
        asked, away: Who was asked, and who could not be.
    """

    epoch: int
    heads: dict[str, StreamHead]
    mates: tuple[str, ...]
    asked: tuple[str, ...]
    away: tuple[str, ...]
    lacking: tuple[Lacking, ...]
    is_past_later: bool = False


def _identity(staging: Path, kit: RecoveryKit, node_id: str | None, clock: Clock) -> tuple[SiteKeys, str]:
    """Keys, authority, instance and a place in the fleet; the instance fits where the folder is now."""
    if node_id is not None:
        identity = staging / "identity"
        identity.mkdir(mode=0o700)
        files.create(identity / "node.id", node_id.encode() + b"\n")
    recovery.restore(staging, kit, clock=clock)
    keys = SiteKeys.load_existing(staging)
    instance_id = secrets.token_hex(INSTANCE_BYTES)
    files.replace(instance_path(staging), instance_content(staging, instance_id))
    Fleet.begin(staging, keys, Instance(instance_id=instance_id, is_bound=True), clock=clock)
    return keys, instance_id


async def _copy_all(
    config: Config,
    keys: SiteKeys,
    address: Bind,
    *,
    clock: Clock,
    is_past_later: bool,
    progress: Progress,
) -> Had:
    """Connect, and copy what peers have of this node, and of its site's catalog."""
    node = FleetNode.open(config, keys, clock=clock, random=random.Random())
    fetcher = node.links.listener = Fetcher(node.links)
    own_id = keys.node_id.hex()
    had: list[Had] = []
    errors: list[HomeportError] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        refused: list[str] = []
        nursery.start_soon(_dial, node, address, refused)
        try:
            await _wait_for_peers(node, fetcher, address, refused)
            had.append(
                await _copy_streams(
                    config, own_id, node, fetcher, is_past_later=is_past_later, progress=progress
                )
            )
        except HomeportError as error:  # out of the nursery as itself, not in a group
            errors.append(error)
        await node.links.stop()
        nursery.cancel_scope.cancel()
    if errors:
        raise errors[0]
    return had[0]


async def _wait_for_peers(node: FleetNode, fetcher: Fetcher, address: Bind, refused: list[str]) -> None:
    try:
        await fetcher.first_peer(CONNECT_S)
    except Unavailable as error:
        raise Unavailable(
            f"{address} did not take this box: {refused[-1]}" if refused else error.message,
            hint="It has to be a node of a fleet that the kit's site began, and this box's clock right; of another fleet, join anew.",
            code="no_peer",
        ) from error
    with trio.move_on_after(OTHERS_S):
        while _away(node):  # noqa: ASYNC110 - links come and go beside this
            await trio.sleep(LINK_LOOK_S)


async def _dial(node: FleetNode, address: Bind, refused: list[str]) -> None:
    """Dial the address that was named until it is a link; its roster then says the others'."""
    while True:
        outcome = await node.links.dial(address)
        if not isinstance(outcome, int):
            refused.append(outcome.message)
        await trio.sleep(1)


def _away(node: FleetNode) -> list[NodeEntry]:
    """Nodes of the fleet that are not connected."""
    connected = set(node.links.peers())
    return [entry for entry in node.keeper.roster.peers_of(node.node_id) if entry.node_id not in connected]


async def _copy_streams(
    config: Config, own_id: str, node: FleetNode, fetcher: Fetcher, *, is_past_later: bool, progress: Progress
) -> Had:
    roster = node.keeper.roster
    own = node.fleet.identity
    mates = mates_of(roster, own.site_id, own_id)
    holders = await fetcher.holders(own_id)
    if not holders:
        raise NotFound(
            f"Nobody who could be reached has anything of node {own_id}.",
            hint="Name the node (--node), or a peer that held its copies; a new node of the site joins by an invitation.",
            code="nothing_had",
        )
    copied = await copy_streams(fetcher, catalogs_of(config, own_id, mates), progress)
    if not is_past_later:
        copied += await copy_streams(fetcher, [log_of(config, own_id)], progress)
    # What another body changed is in the catalog from the first moment; what it published comes as any branch does, once there are links.
    branches = {
        stream: held for stream, held in holders.items() if not is_past_later or stream.name == "catalog"
    }
    copied += await copy_branches(fetcher, branches, config, progress)
    heads: dict[str, StreamHead] = {
        stream.name: head
        for stream, head in copied.heads.items()
        if stream.node_id == own_id and not stream.branch
    }
    lacking = copied.lacking
    if is_past_later and (found := holders.get(StreamId(own_id, "telemetry"))):
        heads["telemetry"] = max(found.values(), key=lambda head: head.place)
        begin_without_past(OsDisk(), layout.telemetry_log(config), heads["telemetry"])
    claim = Claim(
        own_id,
        own.instance,
        known_epoch=max([0, *(head.epoch for found in holders.values() for head in found.values())]),
        others=[entry.node_id for entry in roster.admitted()],
        rng=random.Random(),
        now_ms=0,
    )
    if not await fetcher.claim(claim, within_s=CLAIM_S):
        status = claim.status
        why = f"{len(status.voters)} of the {status.needed_count} nodes that are needed promised epoch {status.epoch} to this box"
        lacking = (*lacking, Lacking(what="epoch", why=f"{why}: make sure that the old box is off"))
    names = {entry.node_id: entry.name for entry in roster.admitted()}
    return Had(
        epoch=claim.status.epoch,
        heads=heads,
        mates=mates,
        asked=tuple(sorted(names.get(peer, peer) for peer in node.links.peers())),
        away=tuple(sorted(entry.name for entry in _away(node))),
        lacking=lacking,
        is_past_later=is_past_later and "telemetry" in heads,
    )


def _make_catalog(
    config: Config, keys: SiteKeys, mates: tuple[str, ...], clock: Clock, progress: Progress
) -> tuple[int, list[StorageError]]:
    """The catalog out of the site's streams, with a word about it in its audit."""
    own_id = keys.node_id.hex()
    catalog = Catalog.open(layout.catalog(config), clock=clock, node_id=keys.node_id)
    try:
        records, damaged = make_catalog(config, catalog, own_id, mates, progress)
        # What is changed from here on goes behind what the stream has, or it would be taken for written.
        catalog.outbox_raise(last_position(layout.catalog_log(config), node_id=keys.node_id))
        with catalog.transaction(Act(action="peer.restore", actor=LOCAL)):
            catalog.note("peer.restore", object_kind="node", object_id=own_id)
            catalog.fail_interrupted_backups()
            if catalog.list_rollouts(limit=1).rollouts:
                # What the box of before may still say to devices must be of no effect.
                raise_fence(catalog, clock.now_ms())
        sign(catalog, keys, config.node.data_dir, clock)
        # Before anything is shipped: not a piece is to be sealed with a key that was given up.
        keep_generation(config.node.data_dir, generation_in(catalog))
    finally:
        catalog.close()
    return records, list(damaged)
