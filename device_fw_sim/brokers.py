"""Where a device finds a broker: the configured one, and those that the site says it has. Pure.

The site's list comes on a retained topic (docs/DEVICE_CONTRACT.md, "Several brokers"); a broker that stops may name others in
its DISCONNECT (MQTT 5.0 §4.11). A device that speaks TLS goes to no broker without, whoever says so.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from device_fw_sim.broker_address import BrokerAddress

TOPIC: Final = "dm/site/brokers"
BROKER_COUNT_MAX: Final = 64


class Brokers:
    """One device's list, in the order in which it is tried.

    Args:
        configured: The first; it is never forgotten.
    """

    def __init__(self, configured: BrokerAddress) -> None:
        self._configured = configured
        self._known = [configured]
        self._at = 0
        self._referred: list[BrokerAddress] = []

    @property
    def current(self) -> BrokerAddress:
        """Where to connect, or where the connection is."""
        return self._referred[0] if self._referred else self._known[self._at]

    @property
    def known(self) -> tuple[BrokerAddress, ...]:
        return tuple(self._known)

    def failed(self) -> None:
        """The connection ended, or none came about: the next one is tried."""
        if self._referred:
            self._referred.pop(0)
        else:
            self._at = (self._at + 1) % len(self._known)

    def learn(self, payload: bytes) -> None:
        """Take the site's list; one that can't be read changes nothing."""
        try:
            urls = json.loads(payload)["brokers"]
            found = [self._of_url(url) for url in urls[:BROKER_COUNT_MAX]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        now = self.current
        self._known = list(dict.fromkeys([*(each for each in found if each is not None), self._configured]))
        self._referred = []
        self._at = self._known.index(now) if now in self._known else 0

    def refer(self, reference: str) -> None:
        """A broker that stops says where to go: host:port, several with a space between."""
        scheme = "mqtts" if self._configured.tls else "mqtt"
        found = [
            self._of_url(f"{scheme}://{each}") for each in reference.split(" ")[:BROKER_COUNT_MAX] if each
        ]
        # The connection that ends now is the first to be passed over.
        self._referred = [self.current, *(each for each in found if each is not None)]

    def _of_url(self, url: str) -> BrokerAddress | None:
        """A broker that this device can speak to."""
        parts = urlsplit(url)
        if parts.scheme != ("mqtts" if self._configured.tls else "mqtt") or not parts.hostname:
            return None
        try:
            port = parts.port or (8883 if self._configured.tls else 1883)
        except ValueError:
            return None
        return replace(self._configured, host=parts.hostname, port=port)
