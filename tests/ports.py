"""Ports on loopback for servers under test."""

from __future__ import annotations

import socket
from typing import Final

_GIVEN: Final[set[int]] = set()


def free_port() -> int:
    """A port that nobody has now, and that nobody was given here before: the system may give one twice in a row."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = int(sock.getsockname()[1])
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port
