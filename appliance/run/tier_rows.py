"""From a region of the configuration to the tables of readings in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from appliance.core.config_tier import TierRegionConfig
from appliance.core.errors import ConfigError
from replication.tier.engines.address import parse_address
from replication.tier.engines.credentials import Credentials, read_credentials


def rows_opening(region: TierRegionConfig) -> Callable[[], AbstractAsyncContextManager[Any]]:
    """What opens the tables of readings of a region; connects to nothing. Blocks for some ms.

    Raises:
        ConfigError: the address or the file of credentials can't be used, or rows and pieces would be in one schema.
    """
    # The database's library is loaded only where rows go somewhere.
    from replication.tier.engines.postgres import connection_of
    from replication.tier.engines.postgres_readings import postgres_readings_in

    credentials = (
        Credentials() if region.credentials_file is None else read_credentials(region.credentials_file)
    )
    conninfo, schema = connection_of(parse_address(region.address), credentials)
    if schema == region.readings_schema:
        raise ConfigError(
            f"The region {region.name} has pieces and readings in one schema, {schema}.",
            hint="Give readings_schema another name than the address's schema: who may read rows need not see pieces.",
            code="tier_address",
        )
    return lambda: postgres_readings_in(conninfo, region.readings_schema)
