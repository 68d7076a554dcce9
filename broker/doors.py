"""The broker's listening sockets, as the configuration asks for them."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

from appliance.core.config import BrokerConfig
from appliance.core.errors import ConfigError
from appliance.core.settings import Bind

from .arrival import Door
from .listener import open_listener, open_unix_listener
from .tls import TlsContexts


def open_doors(
    config: BrokerConfig, tls: TlsContexts | None, stack: ExitStack
) -> list[tuple[socket.socket, Door]]:
    """All of them, listening; `stack` closes them.

    Args:
        tls: None where there is no certificate: then nothing is opened over TLS.
    Raises:
        ConfigError: one can't be opened.
    """
    asked: list[tuple[Bind | None, str, Door]] = [
        (config.tcp_bind, "tcp_bind", Door(name="tcp")),
        (config.ws_bind, "ws_bind", Door(name="ws")),
    ]
    if tls is not None:
        asked.append((config.tls_bind, "tls_bind", Door(name="tls", context=tls.mqtt)))
        asked.append((config.wss_bind, "wss_bind", Door(name="wss", context=tls.web)))
    doors = [(_open(bind, f"broker.{key}", stack), door) for bind, key, door in asked if bind is not None]
    if config.unix_path is not None:
        doors.append((_open_unix(config.unix_path, stack), Door(name="unix")))
    return doors


def _open(bind: Bind, key: str, stack: ExitStack) -> socket.socket:
    try:
        return stack.enter_context(open_listener(bind.host, bind.port))
    except OSError as error:
        raise ConfigError(
            f"{key} = {bind} can't be listened on: {error.strerror}.",
            hint="Stop what has the port (ss -ltnp shows it), or choose another in homeport.toml.",
        ) from error


def _open_unix(path: Path, stack: ExitStack) -> socket.socket:
    try:
        sock = stack.enter_context(open_unix_listener(path))
    except OSError as error:
        raise ConfigError(
            f"broker.unix_path = {path} can't be listened on: {error.strerror}.",
            hint="Name a socket in a folder that is there, that Homeport may write and that others may not.",
        ) from error
    stack.callback(path.unlink, missing_ok=True)
    return sock
