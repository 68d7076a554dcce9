"""One node of bench_replication: links and copies in a process of its own, as the replicator has them.

`python -m tests.bench.replication_node FOLDER NAME`; ends when its input does, and says then what it took.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from pathlib import Path

import msgspec
import trio

from appliance.core.clock import SystemClock
from appliance.core.config import Config, NodeConfig, ReplicationConfig
from appliance.core.settings import Bind
from appliance.identity.keys import SiteKeys
from appliance.run.copying_wiring import make_replicator
from appliance.run.fleet_node import FleetNode


class Place(msgspec.Struct, frozen=True):
    """Where a node of the benchmark is. `threads`: seconds of processor time are of the whole process."""

    name: str
    data_dir: str
    run_dir: str
    port: int

    def config(self) -> Config:
        bind = Bind(host="127.0.0.1", port=self.port)
        return Config(
            node=NodeConfig(name=self.name, data_dir=Path(self.data_dir), run_dir=Path(self.run_dir)),
            replication=ReplicationConfig(bind=bind, addresses=(bind,)),
        )


async def serve(config: Config) -> dict[str, float]:
    clock = SystemClock()
    keys = SiteKeys.load_existing(config.node.data_dir)
    node = FleetNode.open(config, keys, clock=clock, random=random.Random())
    replicator = make_replicator(config, node, clock=clock, random=random.Random())
    async with trio.open_nursery() as nursery:
        await nursery.start(replicator.run)
        await nursery.start(node.run)
        begun = resource.getrusage(resource.RUSAGE_SELF)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        ended = resource.getrusage(resource.RUSAGE_SELF)
        links = node.links.statistics().links
        numbers = replicator.gossip.statistics(clock.mono_ms())
        nursery.cancel_scope.cancel()
    return {
        "cpu_s": ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime,
        "memory_mib": ended.ru_maxrss / 1024,
        "sent_bytes": sum(link.sent_bytes for link in links),
        "received_bytes": sum(link.received_bytes for link in links),
        "duplicates": numbers.duplicates_total,
        "dropped": numbers.dropped_total,
        "rpo_worst_ms": numbers.rpo["node"].worst_24h_ms,
    }


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    place = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Place)
    print(json.dumps(trio.run(serve, place.config())), flush=True)


if __name__ == "__main__":
    main()
