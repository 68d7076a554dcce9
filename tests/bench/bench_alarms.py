"""What alarms cost the catalog: a site of 10,000 devices falls silent, comes back, and people look, with 50,000 alarms there.

Run by hand: python -m tests.bench.bench_alarms DIRECTORY
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from appliance.alarms.book import AlarmBook
from appliance.core.clock import ManualClock
from appliance.management.rule_transition import Transition
from storage.catalog.alarm_lists import OPEN_STATES
from storage.catalog.catalog import Catalog
from tests.alarm_kit import FLAP_MS, NOW_MS, WAIT_MS, found, put_rule

ALARM_COUNT = 50_000
ACTIVE_COUNT = 10_000
BATCH_COUNT = 500
LOOK_COUNT = 20


def timed_ms(fn: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time."""
    wall, cpu = time.perf_counter(), time.thread_time()
    fn()
    return (time.perf_counter() - wall) * 1_000, (time.thread_time() - cpu) * 1_000


def spread(pairs: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "p50_ms": round(statistics.median(wall for wall, _ in pairs), 2),
        "max_ms": round(max(wall for wall, _ in pairs), 2),
        "p50_cpu_ms": round(statistics.median(cpu for _, cpu in pairs), 2),
    }


def main(folder: Path) -> dict[str, object]:
    clock = ManualClock(NOW_MS)
    catalog = Catalog.open(folder / "catalog.db", clock=clock, node_id=b"n" * 16)
    book = AlarmBook(clock=clock, flap_ms=FLAP_MS, wait_ms=WAIT_MS)
    with catalog.transaction():
        put_rule(catalog)

    def apply(transitions: list[Transition]) -> list[tuple[float, float]]:
        pairs = []
        for start in range(0, len(transitions), BATCH_COUNT):
            some = transitions[start : start + BATCH_COUNT]

            def write(some: list[Transition] = some) -> None:
                with catalog.transaction():
                    book.apply(catalog, some)

            pairs.append(timed_ms(write))
        return pairs

    names = [f"device-{number}" for number in range(ALARM_COUNT)]
    answer: dict[str, object] = {
        "new_500": spread(apply([found(name) for name in names])),
        "clear_500": spread(apply([found(name, is_raised=False, at_ms=NOW_MS + 1) for name in names])),
    }
    later_ms = NOW_MS + 2 * FLAP_MS
    raised = [found(name, at_ms=later_ms) for name in names[:ACTIVE_COUNT]]
    answer["raise_again_500"] = spread(apply(raised))
    answer["known_500"] = spread(apply(raised[: 20 * BATCH_COUNT]))
    looks: dict[str, Callable[[], object]] = {
        "list_attention": lambda: catalog.list_alarms(states=OPEN_STATES, limit=100),
        "list_newest": lambda: catalog.list_alarms(order="newest", limit=100),
        "list_of_text": lambda: catalog.list_alarms(q="device-49999", limit=100),
        "list_of_device": lambda: catalog.list_alarms(device_id="device-7", limit=100),
        "counts": catalog.alarm_counts,
    }
    for name, look in looks.items():
        answer[name] = spread([timed_ms(look) for _ in range(LOOK_COUNT)])
    catalog.close()
    return answer


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory", type=Path)
    print(json.dumps(main(arguments.parse_args().directory), indent=2))
