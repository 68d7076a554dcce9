"""Telling systemd how we are: READY, STATUS, WATCHDOG, STOPPING.

Source: sd_notify(3) and sd_watchdog_enabled(3). Without a NOTIFY_SOCKET every call does nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from appliance.core import logs

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Not handed on to children: only the supervisor speaks to systemd."""

_log = logs.get(__name__)


class Notifier:
    """Sends datagrams to systemd's socket.

    Args:
        environ: Where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked for.
        pid: Our process id; a watchdog meant for another process is left alone.
    """

    def __init__(self, environ: Mapping[str, str], *, pid: int | None = None) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failures = 0
        self._watchdog_ms = _watchdog_ms(environ, os.getpid() if pid is None else pid)

    @property
    def watchdog_ms(self) -> int | None:
        """How often systemd wants to hear WATCHDOG=1 at least, ms; None: never."""
        return self._watchdog_ms

    @property
    def failures(self) -> int:
        """How many datagrams could not be sent."""
        return self._failures

    def ready(self) -> None:
        """Everything that others may wait for is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The drain has begun."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Nothing hangs."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def _send(self, message: str) -> None:
        """Send without ever blocking: systemd that doesn't read must not hold the supervisor up."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            self._failures += 1
            if self._failures == 1:
                _log.warning(
                    "systemd can't be notified", error=str(error), hint="Is NOTIFY_SOCKET a live socket?"
                )


def _watchdog_ms(environ: Mapping[str, str], pid: int) -> int | None:
    wanted_us = environ.get("WATCHDOG_USEC", "")
    if not wanted_us.isdigit() or int(wanted_us) < 1000:
        return None
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(wanted_us) // 1000
