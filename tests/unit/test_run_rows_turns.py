"""When rows may go to a region: behind its pieces, and within the bandwidth."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound, UsageError
from appliance.management.replication_state import TierRowsState
from appliance.run.rows_turns import WAIT_MS, RowsTurns
from replication.replicator import Replicator
from replication.tier.budget import Budget
from replication.tier.views import LaneView
from storage.replicas.streams import StreamId

OWN = "a" * 32
SAID = msgspec.to_builtins(TierRowsState(at_ms=1, schema="readings"))


def lane(*, lag_ms: int, lacks: int = 1, node: str = OWN, problem: str = "") -> LaneView:
    stream = StreamId(node, "telemetry")
    return LaneView(
        region="db", stream=stream, is_known=True, lacks=lacks, lag_ms=lag_ms, gap_count=0, problem=problem
    )


def turns(*lanes: LaneView, bytes_per_s: int = 0) -> tuple[RowsTurns, ManualClock]:
    clock = ManualClock()
    machine = SimpleNamespace(
        states=[SimpleNamespace(name="db")],
        budget=Budget(bytes_per_s, clock.mono_ms()),
        views=lambda _now_ms: iter(lanes),
    )
    tier = SimpleNamespace(shipper=SimpleNamespace(machine=machine), problem="")
    return RowsTurns(cast(Replicator, SimpleNamespace(tier=tier)), OWN, clock), clock


def waits(made: RowsTurns, size_bytes: int) -> int:
    answer: Any = made.ask("db", size_bytes, SAID, is_past_missing=False)
    return int(answer["wait_ms"])


@pytest.mark.parametrize(
    ("view", "wait_ms"),
    [
        (lane(lag_ms=60_000), WAIT_MS),
        (lane(lag_ms=5_000), 0),
        (lane(lag_ms=60_000, lacks=0), 0),
        (lane(lag_ms=60_000, node="b" * 32), 0),
        (lane(lag_ms=60_000, problem="a gap"), 0),
    ],
)
def test_own_pieces_come_first(view: LaneView, wait_ms: int) -> None:
    assert waits(turns(view)[0], 100) == wait_ms


def test_what_goes_counts_in_the_budget() -> None:
    made, clock = turns(bytes_per_s=1_000)
    assert waits(made, 3_000) == 0
    assert 2_900 < waits(made, 1) < 3_100
    assert waits(made, 0) == 0
    clock.advance(3_100)
    assert waits(made, 1) == 0


def test_what_is_no_question_is_refused() -> None:
    made, _ = turns()
    with pytest.raises(NotFound):
        made.ask("other", 1, SAID, is_past_missing=False)
    with pytest.raises(UsageError):
        made.ask("db", 1, {"at_ms": "x"}, is_past_missing=False)
    assert made.ask("db", 0, SAID, is_past_missing=True)["is_past_missing"]
