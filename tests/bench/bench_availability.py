"""The share of a fault-filled hour in which devices were served, and what each kind of fault costs.

Two boxes of one site that copy each other and ship to an object store, devices that know of both, and every minute one fault: a process
killed, a box without power, a box restarted, the store away. A device is served while none of its readings waits longer than 2 s for
its acknowledgement, which a box gives when the reading is on its disk. At the end every acknowledged reading is in both stores once.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import click

from tests.bench import harness
from tests.bench.fault_hour import Counted, Faults, Watch, is_whole
from tests.bench.harness import BenchError, Goal
from tests.fleet.rig import Devices, SiteBox, register, within
from tests.tier_servers import object_store_region

METRIC = "temperature_celsius"
SERVED_MS = 2_000
SERVED_SHARE = 0.999
MEND_S = 180.0
"""Longest time until a box that comes back is linked."""


@click.command("availability")
@click.option("--minutes", default=60, show_default=True, type=click.IntRange(2, 24 * 60))
@click.option("--devices", default=50, show_default=True, type=click.IntRange(1, 500))
@click.option(
    "--every",
    "every_s",
    default=60,
    show_default=True,
    type=click.IntRange(30, 3_600),
    help="Seconds between faults.",
)
@click.option(
    "--interval",
    "interval_ms",
    default=500,
    show_default=True,
    type=click.IntRange(50, 1_000),
    help="Milliseconds between readings of a device.",
)
@click.option("--seed", default=1, show_default=True)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def availability(
    minutes: int,
    devices: int,
    every_s: int,
    interval_ms: int,
    seed: int,
    data: Path | None,
    json_path: Path | None,
) -> None:
    """Share of the time in which devices were served while processes, boxes and the store fail."""
    with harness.data_folder(data) as folder, ExitStack() as stack:
        store = stack.enter_context(object_store_region(folder, "store"))
        boxes = [SiteBox(folder, name, more=f"[tier]\n{store.config}") for name in ("one", "other")]
        for box in boxes:
            box.last_resort_s = minutes * 60 + 1_800
            if box is not boxes[0]:
                joined = box.join(boxes[0].invite())
                if joined.exit_code:
                    raise BenchError(joined.output)
            box.start_and_wait()
            stack.callback(box.stopped)
        within(MEND_S, lambda: is_whole(boxes), "both boxes are linked")
        fleet = Devices.at(boxes[0], register(boxes[0], devices), interval_ms=interval_ms)
        within(MEND_S, lambda: min(fleet.acknowledged().values(), default=0) > 2, "all devices are served")
        watch = Watch(boxes, fleet, interval_ms=interval_ms, served_ms=SERVED_MS)
        faults = Faults(boxes, fleet, store, seed)
        watch.until(time.monotonic() + 30, "none")
        quiet = watch.by_fault.pop("none")
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            kind, mend_after_s = faults.next()
            began = time.monotonic()
            watch.by_fault.setdefault(kind, Counted()).count += 1
            watch.until(began + mend_after_s, kind)
            faults.mend()
            watch.until(began + every_s, kind)
            while not is_whole(boxes):
                if time.monotonic() > began + MEND_S:
                    said = "\n".join(f"{box.name}:\n{box.log_text()[-3_000:]}" for box in boxes)
                    raise BenchError(f"After “{kind}” the site is not whole within {MEND_S:.0f} s.\n{said}")
                watch.until(time.monotonic() + 1, kind)
        report = fleet.finish()
        if not report.ok:
            raise BenchError("; ".join(report.failures))
        for box in boxes:
            box.has_each_reading_once(METRIC, report.acknowledged)
        machine = harness.machine(folder)
    looks = sum(each.looks for each in watch.by_fault.values())
    unserved = sum(each.unserved for each in watch.by_fault.values())
    share = 1 - unserved / looks
    rows = [
        (
            kind,
            each.count,
            each.unserved / max(1, each.count) / devices,
            each.unserved / max(1, each.looks) * 100,
            each.rpo_ms_max / 1_000,
        )
        for kind, each in sorted(watch.by_fault.items())
    ]
    click.echo(
        harness.table(("fault", "times", "s a device waited, each", "% unserved", "worst RPO s"), rows)
    )
    click.echo(
        f"{devices} devices, {report.acknowledged} readings acknowledged, each once in both stores. Before the first fault {quiet.unserved} of "
        f"{quiet.looks} looks found a device waiting. Nobody answered a person in {watch.api_silent} of {watch.api_looks} looks."
    )
    goals = [
        Goal(
            what="share of the time in which devices were served",
            value=share,
            wanted=SERVED_SHARE,
            reached=share >= SERVED_SHARE,
        )
    ]
    result = {
        "machine": machine,
        "minutes": minutes,
        "devices": devices,
        "acknowledged": report.acknowledged,
        "api_silent": watch.api_silent,
        "api_looks": watch.api_looks,
        "faults": {kind: vars(each) for kind, each in watch.by_fault.items()},
    }
    harness.finish("availability", result, goals, json_path)
