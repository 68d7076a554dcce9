"""A question that would take hours, asked while a device sends: it ends at its time limit, and nothing waits for it."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from appliance.core.errors import HomeportError
from appliance.run.local_api import LocalApi
from tests.crash.rig import Rig, wait_for
from tests.crash.test_store_repaired import Scene, rig

__all__ = ["rig"]
QUESTION = (
    "SELECT count(*) FROM range(1000000) a, range(1000000) b, readings WHERE a.range * b.range = value - 0.5"
)


class Asker(threading.Thread):
    """Asks once, and keeps how that ended and when."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self._api = LocalApi(rig.run_dir / "node.sock", timeout_s=120)
        self.code = ""
        self.took_s = 0.0

    def run(self) -> None:
        began = time.monotonic()
        try:
            self._api.request("POST", "/api/v1/query", {"sql": QUESTION})
        except HomeportError as error:
            self.code = error.code
        self.took_s = time.monotonic() - began


def _has_more(rig: Rig, rows: int) -> bool:
    return bool(rig.pipeline().get("rows_total", 0) > rows)


@pytest.mark.parametrize("limit_s", [5, pytest.param(30, marks=pytest.mark.long)], ids=["five", "thirty"])
def test_readings_are_stored_beside_a_question_that_takes_all_it_can(rig: Rig, limit_s: int) -> None:
    rig.environ["HOMEPORT_STORE__SQL_TIMEOUT_MS"] = str(limit_s * 1_000)
    scene = Scene(rig)
    asker = Asker(rig)
    asker.start()
    until = time.monotonic() + limit_s - 1
    rounds = 0
    while time.monotonic() < until:
        stored = rig.pipeline()["rows_total"]
        scene.is_served()
        wait_for(partial(_has_more, rig, stored), 10, "readings are stored meanwhile")
        assert asker.is_alive(), f"the question ended early: {asker.code}"
        rounds += 1
    asker.join(60)
    assert rounds > 0
    assert asker.code == "sql_timeout"
    assert asker.took_s < limit_s + 10
    scene.end()
    assert scene.set_aside() == []
