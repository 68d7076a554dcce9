"""A node's updates in a process of their own that can be killed: engine, planner, jobs and catalog, asked over a socket.

One process imports everything and forks one for each life of the node, because a life lasts for a few transactions only. A life ends with
SIGKILL, by its own hand, in the transaction that it was told: before the commit or after it.

    python -m tests.crash.updates_process SOCKET CATALOG
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.core.clock import ManualClock
from appliance.management.rollout_plan import Plan, Policy
from tests import update_node
from tests.update_node import StepCatalog, UpdateNode
from tests.update_site import start_rollout


class KilledCatalog(StepCatalog):
    """A catalog whose death is that of the process, at a transition."""

    counts_moves = True

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Life:
    """One life of the node."""

    def __init__(self, path: Path, now_ms: int, mono_ms: int) -> None:
        self.clock = ManualClock(now_ms, mono_ms)
        self.pushed: list[Any] = []
        update_node.STORE = KilledCatalog
        self.node = UpdateNode(path, self.clock, self._push)

    def do(self, name: str, arguments: list[Any]) -> Any:
        node = self.node
        match name, arguments:
            case "dies", [count, after_commit]:
                node.store.dies_at, node.store.dies_after_commit = count, after_commit
            case "settle", []:
                node.settle()
            case "asked", [device_id, topic, payload]:
                return [
                    [topic, data.decode()] for topic, data in node.asked(device_id, topic, payload.encode())
                ]
            case "status", [device_id, payload, at_ms]:
                node.status(device_id, payload.encode(), at_ms)
            case "say_again", [statuses]:
                node.say_again([(device_id, text.encode(), at_ms) for device_id, text, at_ms in statuses])
            case "online", [device_id, is_online]:
                node.online(device_id, is_online)
            case "listening", [device_id, is_listening]:
                node.listening(device_id, is_listening)
            case "begin", [devices, plan, policy]:
                start_rollout(node, devices, Plan.of_json(plan), Policy.of_json(policy))
            case "exists", []:
                return node.store.catalog.find_rollout("r1") is not None
            case "outcome", []:
                return [node.rollout().state, [[each.device_id, each.state] for each in node.executions()]]
            case _:
                raise AssertionError(name)
        return None

    def _push(self, device_id: str, messages: Sequence[tuple[str, bytes]]) -> int:
        own = [[topic, payload.decode()] for topic, payload in messages if topic.startswith("dm/")]
        self.pushed.append([device_id, own])
        return len(own)


def serve(connection: socket.socket, path: Path) -> None:
    """Answer until the peer is gone."""
    with connection.makefile("rwb") as stream:
        life: Life | None = None
        for line in stream:
            name, arguments, now_ms, mono_ms = json.loads(line)
            life = life or Life(path, now_ms, mono_ms)
            life.clock.advance(mono_ms - life.clock.mono_ms())
            result = life.do(name, arguments)
            pushed, life.pushed = life.pushed, []
            stream.write(json.dumps([result, pushed, life.node.next_ms()]).encode() + b"\n")
            stream.flush()


def main() -> None:
    """Fork a life for each connection, until somebody ends this."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                serve(connection, Path(sys.argv[2]))
                os._exit(0)
            connection.close()


if __name__ == "__main__":
    main()
