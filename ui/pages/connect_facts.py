"""How a device reaches this box: addresses, and a line to try it from a shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from appliance.core.config import Config
from appliance.core.settings import Bind

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
SAMPLE_PAYLOAD: Final = '{"temperature_celsius": 21.5}'
CERTIFICATE_NAME: Final = "homeport-ca.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    label: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    id: str
    title: str
    command: str
    needs_certificate: bool = False


def reachable_host(bind: Bind, page_host: str) -> str:
    """The name to type: the bound address, or the one that the page was opened with when bound to all of them."""
    return (page_host or "localhost") if bind.host in _EVERYWHERE else bind.host


def endpoints(config: Config, page_host: str) -> tuple[Endpoint, ...]:
    """MQTT addresses as a device would be configured with."""
    found = []
    for label, scheme, bind in (
        ("MQTT over TLS", "mqtts", config.broker.tls_bind),
        ("MQTT, plain", "mqtt", config.broker.tcp_bind),
    ):
        if bind is not None:
            host = reachable_host(bind, page_host)
            shown = f"[{host}]" if ":" in host else host
            suffix = " (this box only)" if bind.host in _LOOPBACK else ""
            found.append(Endpoint(label=label, address=f"{scheme}://{shown}:{bind.port}{suffix}"))
    return tuple(found)


def examples(config: Config, page_host: str, device_id: str, token: str) -> tuple[Example, ...]:
    """Lines that publish one reading, ready to copy; every part is quoted for a POSIX shell."""
    found = []
    tls, tcp = config.broker.tls_bind, config.broker.tcp_bind
    if tls is not None:
        host = reachable_host(tls, page_host)
        found.append(
            Example(
                id="try-tls",
                title="From any machine, over TLS",
                needs_certificate=True,
                command=_command(host, tls.port, device_id, token, ["--cafile", CERTIFICATE_NAME]),
            )
        )
    if tcp is not None:
        host = reachable_host(tcp, page_host)
        found.append(
            Example(
                id="try-plain",
                title="On this box itself, without TLS"
                if tcp.host in _LOOPBACK
                else "Without TLS: the token is readable on the wire",
                command=_command(host, tcp.port, device_id, token, []),
            )
        )
    return tuple(found)


def connect_uri(config: Config, page_host: str, device_id: str, token: str) -> str:
    """Everything that a device needs to connect, as one address for a QR code: `mqtts://USER:TOKEN@HOST:PORT`.

    User name and token are percent-encoded (RFC 3986 §3.2.1). TLS if that is served, plain otherwise, "" for neither.
    """
    for scheme, bind in (("mqtts", config.broker.tls_bind), ("mqtt", config.broker.tcp_bind)):
        if bind is not None:
            host = reachable_host(bind, page_host)
            shown = f"[{host}]" if ":" in host else host
            return f"{scheme}://{quote(device_id, safe='')}:{quote(token, safe='')}@{shown}:{bind.port}"
    return ""


def _command(host: str, port: int, device_id: str, token: str, more: list[str]) -> str:
    words = [
        "mosquitto_pub",
        "-h",
        host,
        "-p",
        str(port),
        *more,
        "-i",
        device_id,
        "-u",
        device_id,
        "-P",
        token,
    ]
    words += ["-q", "1", "-t", f"dm/{device_id}/telemetry", "-m", SAMPLE_PAYLOAD]
    return shlex.join(words)
