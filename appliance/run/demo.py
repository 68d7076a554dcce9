"""The playground of `homeport run --demo`: a configuration that touches nothing outside its folder.

Loopback only; the default ports where they are free, others where not.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Final

from appliance.core.config import RUN_DIR_BYTES_MAX

DEVICE_COUNT_DEFAULT: Final = 12
_CONFIG: Final = """\
# Written anew by every `homeport run --demo`.
[node]
name = "demo"
data_dir = "data"
run_dir = "{run_dir}"

[broker]
tcp_bind = "127.0.0.1:{tcp}"
tls_bind = "127.0.0.1:{tls}"

[devices]
first_contact = "wait"
stale_after_s = 15
https_bind = "127.0.0.1:{devices}"

[ui]
bind = "127.0.0.1:{ui}"
"""


def prepare(folder: Path) -> Path:
    """Write the playground's configuration.

    Args:
        folder: Where everything of the playground lies; made if missing.
    Returns:
        Path of the configuration.
    """
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "homeport.toml"
    tcp, tls, ui, devices = free_ports([1883, 8883, 8443, 8444])
    path.write_text(
        _CONFIG.format(run_dir=_run_dir(folder), tcp=tcp, tls=tls, ui=ui, devices=devices), encoding="utf-8"
    )
    return path


def free_ports(wished: list[int]) -> list[int]:
    """Each wished port if nobody listens on it on 127.0.0.1, else one that the kernel chooses; all different."""
    held: list[socket.socket] = []
    try:
        held.extend(map(_bound, wished))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def _bound(port: int) -> socket.socket:
    for choice in (port, 0):
        trial = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # As servers do: connections of an earlier run that linger in TIME_WAIT don't count.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", choice))
            trial.listen()
        except OSError:
            trial.close()
            if choice == 0:
                raise
        else:
            return trial
    raise AssertionError("the kernel chose no port and said nothing")


def _run_dir(folder: Path) -> str:
    """The sockets' folder: "run" beside the data, or a temporary one where that is too deep for a socket's path."""
    if len(os.fsencode(folder / "run")) <= RUN_DIR_BYTES_MAX:
        return "run"
    return tempfile.mkdtemp(prefix="homeport-demo-")
