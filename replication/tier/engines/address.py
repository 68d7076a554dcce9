"""The address of a tier: which engine, where, and its options. Pure.

    s3://BUCKET/PREFIX?endpoint=https://HOST&region=…
    nats://HOST:PORT,HOST:PORT/PREFIX          tls:// for TLS
    postgresql://USER@HOST:PORT/DATABASE?schema=homeport

An address is shown on pages and in logs, so one with a secret in it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from appliance.core.errors import ConfigError
from appliance.core.limits_replication import TIER_ADDRESS_LENGTH_MAX

_HOST: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?\Z")
_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address in its parts, checked for what all engines have in common.

    Attributes:
        text: As it was given.
        scheme: In small letters.
        user: Before the @; "" where there is none.
        hosts: One or several `HOST` or `HOST:PORT`; for s3:// the bucket alone.
        path: After the hosts, without the slashes around it.
        options: After the question mark; each once.
    """

    text: str
    scheme: str
    user: str
    hosts: tuple[str, ...]
    path: str
    options: dict[str, str] = field(default_factory=dict)

    def take(self, *names: str) -> tuple[str, ...]:
        """The values of all options that there may be, "" for those that are not given.

        Raises:
            ConfigError: there are others.
        """
        if unknown := sorted(set(self.options) - set(names)):
            raise self.refused(f"it has the option {unknown[0]!r}", f"There are {', '.join(names)}.")
        return tuple(self.options.get(name, "") for name in names)

    def refused(self, what: str, hint: str) -> ConfigError:
        """The error that says what is wrong with this address."""
        return ConfigError(
            f"The tier's address {self.text} can't be used: {what}.", hint=hint, code="tier_address"
        )


def parse_address(text: str) -> Address:
    """The parts of an address.

    Raises:
        ConfigError: it is none, or has a password in it, which the message doesn't repeat.
    """
    if len(text) > TIER_ADDRESS_LENGTH_MAX or not text.isascii() or not text.isprintable() or " " in text:
        raise _no_address("it is too long, or has characters that no address has")
    try:
        parts = urlsplit(text)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _no_address("it can't be taken apart") from error
    user, _, hosts = parts.netloc.rpartition("@")
    if ":" in user:
        raise _no_address(
            "there is a password in it",
            "Put the password into the file of credentials; consider it as known.",
        )
    if parts.fragment or not hosts:
        raise _no_address("it has no host, or something after a #")
    found = Address(
        text=text,
        scheme=parts.scheme.lower(),
        user=unquote(user),
        hosts=tuple(hosts.split(",")),
        path=unquote(parts.path).strip("/"),
        options=dict(options),
    )
    if len(found.options) != len(options):
        raise found.refused("an option is given twice", "Give each once.")
    for host in found.hosts:
        match = _HOST.match(host)
        if match is None or (match[2] and not 0 < int(match[2][1:]) <= _PORT_MAX):
            raise found.refused(f"{host!r} is no host", "Write HOST:PORT, several with commas between.")
    return found


def _no_address(what: str, hint: str = "docs/CLOUD.md shows addresses of each engine.") -> ConfigError:
    return ConfigError(f"The tier's address can't be used: {what}.", hint=hint, code="tier_address")
