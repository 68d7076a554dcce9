"""From the address of a tier to its engine: one table of schemes.

An engine's library is loaded when the first address of its kind is opened: a box without a tier has none of them in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.errors import ConfigError
from replication.tier.engine import Opening
from replication.tier.engines.address import Address, parse_address
from replication.tier.engines.credentials import Credentials

Maker = Callable[[Address, Credentials], Opening]
"""Checks what is special about the address and the credentials (ConfigError), and gives what connects. Connects to nothing."""


def opening(address: str, credentials: Credentials) -> Opening:
    """What connects to the engine at an address.

    Raises:
        ConfigError: no engine has such an address, or the credentials lack something.
    """
    parsed = parse_address(address)
    maker = MAKERS.get(parsed.scheme)
    if maker is None:
        raise ConfigError(
            f"No tier has an address that begins with {parsed.scheme}://.",
            hint=f"There are {', '.join(f'{scheme}://' for scheme in sorted(MAKERS))}.",
            code="tier_address",
        )
    return maker(parsed, credentials)


def _object_store(address: Address, credentials: Credentials) -> Opening:
    from replication.tier.engines.object_store import object_store

    return object_store(address, credentials)


def _jetstream(address: Address, credentials: Credentials) -> Opening:
    from replication.tier.engines.jetstream_opening import jetstream

    return jetstream(address, credentials)


def _postgres(address: Address, credentials: Credentials) -> Opening:
    from replication.tier.engines.postgres import postgres

    return postgres(address, credentials)


MAKERS: Final[dict[str, Maker]] = {
    "s3": _object_store,
    "nats": _jetstream,
    "tls": _jetstream,
    "postgresql": _postgres,
}
