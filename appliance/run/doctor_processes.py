"""`homeport doctor` on the running processes: who answers, and what the node itself says is wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.run import layout
from appliance.run.doctor_check import Check, Result
from appliance.run.local_api import NODE_STOPPED, LocalApi

SOCKET_TIMEOUT_S: Final = 10.0
"""The node gives each of its dependencies 5 s, all at once, and finds out who asks."""


def check_processes(config: Config) -> Iterable[Check]:
    """Who is running, whether it answers, and which of its dependencies fail or want attention."""
    node = LocalApi(layout.node_socket(config), timeout_s=SOCKET_TIMEOUT_S)
    try:
        readiness = node.request("GET", "/health/ready", accept=(503,))
    except HomeportError as error:
        result = Result.SKIPPED if error.code == NODE_STOPPED else Result.FAILED
        yield Check(name="node", result=result, detail=error.message, hint=error.hint)
    else:
        yield Check(name="node", result=Result.OK, detail="The node answers.")
        yield from _dependencies(readiness)
    if config.node.role != "cloud":
        yield _check_broker(layout.broker_socket(config))


def _dependencies(readiness: Any) -> Iterable[Check]:
    """What the node says of each dependency that is not as it should be."""
    for each in readiness["dependencies"]:
        if each["ok"] and not each.get("degraded", False):
            continue
        yield Check(
            name=f"node: {each['name']}",
            result=Result.WARNING if each["ok"] else Result.FAILED,
            detail=str(each.get("detail") or each.get("code")),
            hint=str(each.get("hint", "")),
        )


def _check_broker(path: Path) -> Check:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(SOCKET_TIMEOUT_S)
        try:
            trial.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            hint = "Start it with `homeport run`."
            return Check(name="broker", result=Result.SKIPPED, detail="The broker doesn't run.", hint=hint)
        except TimeoutError:
            hint = "Look at its log; the supervisor restarts it if it hangs."
            return Check(name="broker", result=Result.FAILED, detail="The broker doesn't answer.", hint=hint)
    return Check(
        name="broker", result=Result.OK, detail="The broker takes connections on its control socket."
    )
