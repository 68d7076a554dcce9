"""What this machine is called and reached by, for the names in its certificate."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

_SIOCGIFADDR = 0x8915
"""linux/sockios.h: an interface's IPv4 address."""
_IF_INET6 = Path("/proc/net/if_inet6")
_LINK_LOCAL = "20"


def machine_addresses() -> tuple[str, ...]:
    """Addresses of the interfaces, loopback first; without IPv6 link-local ones, which can't be written in a URL."""
    found = ["127.0.0.1", "::1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(socket.inet_ntoa(answer[20:24]))
    if _IF_INET6.exists():
        for line in _IF_INET6.read_text("ascii").splitlines():
            digits, _index, _prefix, scope, *_ = line.split()
            if scope != _LINK_LOCAL:
                found.append(str(ipaddress.IPv6Address(bytes.fromhex(digits))))
    return tuple(dict.fromkeys(found))


def machine_names(node_name: str) -> tuple[str, ...]:
    """Host names by which a browser or device on the site may reach this machine."""
    names = [socket.gethostname().split(".")[0], socket.gethostname(), node_name]
    names += [f"{name}.local" for name in names if name and "." not in name]
    names.append("localhost")
    return tuple(dict.fromkeys(name.lower() for name in names if name and len(name) <= 64))
