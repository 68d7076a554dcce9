"""A box out of the cloud: what `homeport restore --from s3://…` does, with the recovery kit and the tier's credentials.

As from peers (peer_restoring.py), but that a region is asked: it says which nodes of the site it has, gives their streams, and lets one box alone
claim the node's next epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import Conflict, HomeportError, NotFound, Unavailable
from appliance.identity.instance import load_instance
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run import layout
from appliance.run.linked_regions import is_linked, not_linked
from appliance.run.peer_restoring import FromPeers, Had, restore_node
from appliance.run.restoring_streams import (
    Copied,
    Lacking,
    Progress,
    catalogs_of,
    copy_branches,
    copy_streams,
    log_of,
)
from replication.sources import Holders
from replication.tier.engine import Opening
from replication.tier.engines.credentials import Credentials, read_credentials
from replication.tier.engines.opening import opening
from replication.tier.keys import SiteTierKeys
from replication.tier.source import TierSource
from storage.log.disk import OsDisk
from storage.replicas.past import begin_without_past
from storage.replicas.streams import StreamHead, StreamId

CONNECT_S: Final = 60.0


def is_tier_address(address: str) -> bool:
    """Whether it is a region's address and no peer's."""
    return "://" in address


def restore_from_tier(
    config: Config,
    address: str,
    credentials_file: Path | None,
    kit: RecoveryKit,
    *,
    clock: Clock,
    node_id: str | None = None,
    replace_there: bool = False,
    is_past_later: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> FromPeers:
    """Restore a lost node out of a region of the tier. Blocks.

    Args:
        is_past_later: Don't wait for the log's past: it comes while devices are served (past_fetching.py).
        credentials_file: None: that of the region with this address in the configuration, if there is one.
    Raises:
        ConfigError: the address or the credentials can't be used. Otherwise as `restore_node`.
    """
    if is_linked(address):
        raise not_linked(address)
    opens = opening(address, _credentials(config, address, credentials_file))

    def obtain(staged: Config, keys: SiteKeys) -> Had:
        return trio.run(partial(_obtain, staged, keys, opens, address, progress, is_past_later=is_past_later))

    return restore_node(
        config, kit, obtain, clock=clock, node_id=node_id, replace_there=replace_there, progress=progress
    )


def _credentials(config: Config, address: str, path: Path | None) -> Credentials:
    if path is None:
        path = next((each.credentials_file for each in config.tier_region if each.address == address), None)
    return Credentials() if path is None else read_credentials(path)


async def _obtain(
    config: Config,
    keys: SiteKeys,
    opens: Opening,
    address: str,
    progress: Progress,
    *,
    is_past_later: bool,
) -> Had:
    errors: list[HomeportError] = []
    had: list[Had] = []
    try:
        with trio.fail_after(CONNECT_S) as time:
            async with opens() as engine:
                time.deadline = float("inf")
                source = TierSource(address.partition("?")[0], engine, SiteTierKeys(keys.derive, 1))
                try:
                    may_have = others_of(config, address)
                    had.append(
                        await _streams(config, keys, source, progress, may_have, is_past_later=is_past_later)
                    )
                except HomeportError as error:  # out of the engine's nursery as itself, not in a group
                    errors.append(error)
    except trio.TooSlowError as error:
        raise Unavailable(
            f"{address} does not answer.", hint="Look at the network and the address.", code="tier_away"
        ) from error
    if errors:
        raise errors[0]
    return had[0]


def others_of(config: Config, address: str) -> str:
    """Who may have what the region at an address lacks, in words."""
    names = [region.name for region in config.tier_region if region.address != address]
    regions = f"the region{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else "another region"
    return f"{regions} or a peer may have them"


async def _streams(
    config: Config,
    keys: SiteKeys,
    source: TierSource,
    progress: Progress,
    may_have: str,
    *,
    is_past_later: bool,
) -> Had:
    own_id = keys.node_id.hex()
    nodes = await source.nodes()
    if own_id not in nodes:
        others = f" It has {', '.join(nodes)}." if nodes else " It has nothing that the kit's site sealed."
        raise NotFound(
            f"{source.region} has nothing of node {own_id}.{others}",
            hint="Name one of those (--node), or look at the address.",
            code="nothing_had",
        )
    mates = tuple(node for node in nodes if node != own_id)
    holders = await source.holders(own_id)
    later = await _later(source, own_id, holders) if is_past_later else None
    copied = await copy_streams(source, catalogs_of(config, own_id, mates), progress, may_have=may_have)
    if later is None:
        copied += await copy_streams(source, [log_of(config, own_id)], progress, may_have=may_have)
    else:
        holders = {stream: held for stream, held in holders.items() if stream.name == "catalog"}
        copied += Copied(heads={StreamId(own_id, "telemetry"): later})
        begin_without_past(OsDisk(), layout.telemetry_log(config), later)
    branches = await copy_branches(source, holders, config, progress)
    copied += branches
    copied += Copied(lacking=tuple(_lacking(source, holders, branches)))
    instance = load_instance(config.node.data_dir)
    assert instance is not None
    known = max(
        head.epoch
        for found in (*holders.values(), {source.region: later} if later else {})
        for head in found.values()
    )
    epoch = await source.claim(own_id, instance.instance_id, known)
    heads: dict[str, StreamHead] = {
        stream.name: head
        for stream, head in copied.heads.items()
        if stream.node_id == own_id and not stream.branch
    }
    return Had(
        epoch=epoch,
        heads=heads,
        mates=mates,
        asked=(source.region,),
        away=(),
        lacking=copied.lacking,
        is_past_later=later is not None,
    )


async def _later(source: TierSource, own_id: str, holders: Holders) -> StreamHead | None:
    """Where a log goes on whose past is to come later; None where there is none.

    Raises:
        Unavailable: `stream_not_had`: its end can't be used. Conflict: `past_forked`: there are two histories, of which readers need both.
    """
    stream = StreamId(own_id, "telemetry")
    if any((each.node_id, each.name) == (own_id, "telemetry") and each.branch for each in holders):
        raise Conflict(
            f"Two boxes have written as node {own_id}: {source.region} has both histories.",
            hint="Restore with the past, without --without-past: readers get each record once only where both are here.",
            code="past_forked",
        )
    return await source.head(stream)


def _lacking(source: TierSource, holders: Holders, branches: Copied) -> Iterator[Lacking]:
    """Later epochs that go on from a history of which the region has not enough."""
    for stream, why in source.parted.items():
        target = holders.get(stream, {}).get(source.region)
        had = [
            head.place
            for branch, head in branches.heads.items()
            if (branch.node_id, branch.name) == (stream.node_id, stream.name)
        ]
        if target is not None and max(had, default=(0, 0)) < target.place:
            yield Lacking(
                what=str(stream),
                why=f"two boxes have shipped as this node; what the later one wrote before its epoch isn't all in {source.region}: {why}",
            )
