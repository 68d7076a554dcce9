"""The cloud tier of a box: its regions' engines, its keys, and what is held here, put together; and told as a part of one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import ConfigError
from appliance.identity.fleet_inviting import begin_fleet
from appliance.identity.keys import SiteKeys
from appliance.management.replication_state import TierRegionState
from appliance.run.linked_regions import is_linked, not_linked
from appliance.run.tier_claims import TierClaims
from appliance.run.tier_key import kept_generation
from replication.gossip.fleet_view import PeerInfo
from replication.randomness import Randomness
from replication.tier.engine import Opening
from replication.tier.engines.credentials import Credentials, read_credentials
from replication.tier.engines.opening import opening
from replication.tier.feeding import TierFeed
from replication.tier.keys import SiteTierKeys
from replication.tier.pieces import tier_holder
from replication.tier.shipper import Shipper
from replication.tier.shipping import ShippingOptions
from replication.tier.steps import Tell
from storage.replicas.streams import StreamId

FOLDER: Final = "tier"
"""Below data_dir: what is remembered of audits."""
HOUR_MS: Final = 3_600_000
log = structlog.get_logger(__name__)


def begin_tier(config: Config, keys: SiteKeys, clock: Clock) -> None:
    """What ships is a part of the process for peers, so a box with a tier and no peer begins a fleet of itself alone. Blocks for some ms.

    Raises:
        StorageError: it can't be written.
    """
    if config.tier_region:
        begin_fleet(config, keys, clock=clock)


def openings(config: Config, linked: Callable[[str], Opening] | None = None) -> dict[str, Opening]:
    """What connects each region, in order of preference. Blocks for some ms.

    Args:
        linked: Gives what connects an address behind a cloud node; None where there are no links to go by.
    Raises:
        ConfigError: an address or a file of credentials can't be used.
    """
    found = {}
    for region in config.tier_region:
        if is_linked(region.address):
            if linked is None or config.node.role == "cloud":
                raise not_linked(region.address)
            found[region.name] = linked(region.address)
            continue
        credentials = (
            Credentials() if region.credentials_file is None else read_credentials(region.credentials_file)
        )
        found[region.name] = opening(region.address, credentials)
    return found


def site_tier_keys(config: Config, keys: SiteKeys) -> SiteTierKeys:
    """The keys with which this box's site seals what it ships: of the generation that the file names, or the site's catalog if that is a later one."""
    if config.tier.encrypt == "off":
        return SiteTierKeys(keys.derive, 0)
    return SiteTierKeys(keys.derive, max(config.tier.key_generation, kept_generation(config.node.data_dir)))


def tier_infos(config: Config) -> list[PeerInfo]:
    """The regions as holders in the fleet: each apart from every node and site, and in a region of its own name."""
    return [
        PeerInfo(
            node_id=tier_holder(region.name),
            site_id=tier_holder(region.name),
            region=region.name,
            is_tier=True,
        )
        for region in config.tier_region
    ]


def make_tier(
    config: Config,
    keys: SiteKeys,
    *,
    clock: Clock,
    random: Randomness,
    linked: Callable[[str], Opening] | None = None,
    tier_keys: SiteTierKeys | None = None,
) -> TierFeed:
    """What ships to the tier; nothing on a box without one. Blocks for some ms.

    Args:
        tier_keys: That seal, and may be raised to a later generation; None for those of `site_tier_keys`.
        linked: As of `openings`.
    A region that is configured wrongly keeps the tier away, which is told (`problem`), and not the peers.
    """
    if not config.tier_region:
        return TierFeed()
    try:
        regions = openings(config, linked)
    except ConfigError as error:
        log.error("the cloud tier can't be used", error=error.message, hint=error.hint)
        return TierFeed(problem=f"The cloud tier can't be used: {error.message} {error.hint}")
    options = ShippingOptions(
        pace_ms=config.tier.pace_s * 1_000,
        is_filling=config.tier.others == "filled",
        bytes_per_s=config.tier.kib_s * 1_024,
        audit_ms=config.tier.audit_hours * HOUR_MS,
    )

    def make(*, directory: Callable[[StreamId], Path], on_tell: Callable[[Tell], None]) -> Shipper:
        return Shipper(
            regions,
            directory=directory,
            folder=config.node.data_dir / FOLDER,
            keys=tier_keys or site_tier_keys(config, keys),
            options=options,
            on_tell=on_tell,
            clock=clock,
            random=random,
        )

    return TierFeed(tier_infos(config), make)


def make_claims(
    config: Config, keys: SiteKeys, *, linked: Callable[[str], Opening] | None = None
) -> TierClaims:
    """What claims epochs in the tier; without regions where there are none, or they are configured wrongly. Blocks for some ms."""
    try:
        regions = openings(config, linked) if config.tier_region else {}
    except ConfigError:
        regions = {}  # make_tier tells
    return TierClaims(regions, keys.node_id.hex(), config.node.data_dir, SiteTierKeys(keys.derive, 1))


def tier_states(shipper: Shipper, node_id: str, now_ms: int) -> tuple[TierRegionState, ...]:
    """The regions, in order of preference.

    Args:
        now_ms: Monotonic.
    """
    machine = shipper.machine
    views = list(machine.views(now_ms))
    waits = machine.budget.waits_ms(now_ms)
    found = []
    for state in machine.states:
        lanes = [view for view in views if view.region == state.name]
        own = [view for view in lanes if view.stream.node_id == node_id and not view.stream.branch]
        is_known = bool(own) and all(view.is_known for view in own)
        counts, requests = machine.counts[state.name], shipper.requests[state.name]
        per_day = requests.per_day(now_ms)
        found.append(
            TierRegionState(
                name=state.name,
                holder=tier_holder(state.name),
                is_live=state.name == machine.regions.live,
                problem=state.reason or next((view.problem for view in own if view.problem), ""),
                is_unfit=state.is_unfit,
                lag_ms=max(view.lag_ms for view in own) if is_known else None,
                lag_entries=sum(view.lacks for view in own) if is_known else None,
                gap_count=sum(view.gap_count for view in lanes),
                pieces=counts.pieces,
                bytes=counts.bytes,
                fenced=counts.fenced,
                failed=counts.failed,
                mended=counts.mended,
                lost_entries=counts.lost,
                requests={str(kind): count for kind, count in requests.so_far().items()},
                requests_per_day=None
                if per_day is None
                else {str(kind): count for kind, count in per_day.items()},
                key_generation=shipper.key_generation,
                budget_wait_ms=None if waits is None else waits[0],
                budget_wait_worst_ms=None if waits is None else waits[1],
            )
        )
    return tuple(found)
