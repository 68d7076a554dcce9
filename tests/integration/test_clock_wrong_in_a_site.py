"""Two boxes of one site, real processes, while the clock of one is wrong: they keep together, and nothing wins for being of 2099."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import HomeportError
from tests.false_time import IN_1970, IN_2099, FalseTime
from tests.fleet_boxes import FleetBox, joined_boxes
from tests.integration.test_broker_verbs import until

DEVICE = "press-4"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[FleetBox, FleetBox]]:
    with ExitStack() as stack:
        first, second = joined_boxes(tmp_path, "first", "second")
        for box in (first, second):
            stack.callback(box.stop)
        yield first, second


def name_on(box: FleetBox) -> Any:
    try:
        return box.answer("device", "show", DEVICE)["name"]
    except (HomeportError, AssertionError):
        return None


def is_called_everywhere(boxes: tuple[FleetBox, FleetBox], name: str) -> bool:
    return all(name_on(box) == name for box in boxes)


def doubt(box: FleetBox) -> Any:
    return box.api().get("/api/v1/status")["clock"]["doubt"]


@pytest.mark.long
def test_a_box_of_1970_and_of_2099_keeps_with_the_other(
    tmp_path: Path, site: tuple[FleetBox, FleetBox]
) -> None:
    first, second = site
    false_time = FalseTime(tmp_path)
    first.answer("device", "add", DEVICE, "--name", "new")
    until(lambda: is_called_everywhere(site, "new"))

    second.stop()
    false_time.set(IN_1970)
    with false_time.starting():
        second.start()
    second.wait_until_ready()
    until(lambda: doubt(second) == "before")
    until(lambda: first.links() == {"second": "up"} and second.links() == {"first": "up"})
    # Written in 1970 over what was of 2026: later is what had seen the other.
    second.answer("device", "edit", DEVICE, "--name", "of 1970")
    until(lambda: is_called_everywhere(site, "of 1970"))
    first.answer("device", "edit", DEVICE, "--name", "of today")
    until(lambda: is_called_everywhere(site, "of today"))

    false_time.set(IN_2099)
    until(lambda: doubt(second) == "ahead")
    second.stop()
    with false_time.starting():
        second.start()
    second.wait_until_ready()
    assert doubt(second) == "ahead"
    second.answer("device", "edit", DEVICE, "--name", "of 2099")
    # By its clock the certificates of all links have ended, and it says so; it makes itself none that would end all others'.
    until(lambda: "expired" in second.run("peer", "list", "--json").output)
    false_time.put_right()
    until(lambda: doubt(second) == "")
    until(lambda: first.links() == {"second": "up"} and second.links() == {"first": "up"})
    until(lambda: is_called_everywhere(site, "of 2099"))
    first.answer("device", "edit", DEVICE, "--name", "put right")
    until(lambda: is_called_everywhere(site, "put right"))
    for box in site:
        assert box.answer("conflict", "list")["conflicts"] == []
        assert box.run("log", "verify").exit_code == 0
