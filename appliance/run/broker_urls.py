"""Where devices reach this box's broker, as the site's other boxes tell theirs (`dm/site/brokers`). Pure.

A door that listens everywhere is told under the hosts by which peers reach this box. One on this machine only is told only where the
peers are on this machine, too: to a device elsewhere it would lead nowhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from appliance.core.config import BrokerConfig
from appliance.core.limits_replication import NODE_ADDRESS_COUNT_MAX
from appliance.core.settings import BadValueError, Bind

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def broker_urls(config: BrokerConfig, addresses: Iterable[str]) -> tuple[str, ...]:
    """URLs of the doors for devices, those over TLS first.

    Args:
        addresses: Where peers reach this box, host:port.
    """
    hosts = list(dict.fromkeys(filter(None, map(_host, addresses))))
    urls: list[str] = []
    for scheme, bind in (("mqtts", config.tls_bind), ("mqtt", config.tcp_bind)):
        if bind is not None and bind.port:
            urls += [f"{scheme}://{Bind(host=host, port=bind.port)}" for host in _told(bind.host, hosts)]
    return tuple(urls[:NODE_ADDRESS_COUNT_MAX])


def _told(host: str, hosts: Sequence[str]) -> Sequence[str]:
    if host in EVERYWHERE:
        return hosts
    if _is_loopback(host) and not any(_is_loopback(each) for each in hosts):
        return ()
    return (host,)


def _host(address: str) -> str | None:
    try:
        return Bind.parse(address).host
    except BadValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
