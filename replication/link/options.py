"""What replication takes from the configuration and the box, in the words that its parts use.

Must not know: files, sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from appliance.core.config_replication import ReplicationConfig
from appliance.core.limits import KIB
from appliance.core.limits_replication import NODE_ADDRESS_COUNT_MAX
from appliance.core.settings import Bind
from appliance.management.fleet import Domain


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationOptions:
    """See the module's docstring.

    Attributes:
        bind: Where peers connect; None where none do.
        addresses: What this box's card says.
        safe_at: A copy counts when it lies in another one of these.
        backlog_bytes_s: What a link may carry of backlog and repair; 0 is no bound.
    """

    bind: Bind | None
    addresses: tuple[str, ...]
    region: str
    safe_at: Domain
    backlog_bytes_s: int


def options_of(config: ReplicationConfig, own_addresses: Sequence[str]) -> ReplicationOptions:
    """Read the section.

    Args:
        own_addresses: Of this box's interfaces, for a card that nobody configured.
    """
    addresses: tuple[str, ...] = tuple(str(each) for each in config.addresses)
    if not addresses and config.bind is not None and config.bind.port:
        port = config.bind.port
        addresses = tuple(str(Bind(host=host, port=port)) for host in own_addresses)
    return ReplicationOptions(
        bind=config.bind,
        addresses=addresses[:NODE_ADDRESS_COUNT_MAX],
        region=config.region,
        safe_at=cast(Literal["node", "site", "region"], config.safe_at),
        backlog_bytes_s=config.backlog_kib_s * KIB,
    )
