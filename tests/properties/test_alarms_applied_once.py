"""However often, in whatever pieces and between whatever people do transitions are applied, each is applied once.

The model is the closed table: an alarm's state after any history is what its transitions and acts, each once and in order, make of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.alarms.book import AlarmBook
from appliance.core.clock import ManualClock
from appliance.management.alarms import AlarmEvent, AlarmState, target
from appliance.management.rule_transition import Transition
from storage.catalog.catalog import Catalog
from tests.alarm_kit import NOW_MS, found, id_of, put_rule
from tests.sampling import examples

DEVICES = ("d1", "d2")
Step = tuple[str, int]
"""A device's next transition, somebody's act, or a replay of so many of the last rows of the outbox."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["find", "acknowledge", "replay", "anew", "shelve", "unshelve"]), st.integers(0, 7)
    ),
    max_size=25,
)


class Model:
    """What the table says."""

    def __init__(self) -> None:
        self.states = dict.fromkeys(DEVICES, AlarmState.NORMAL)
        self.is_raised = dict.fromkeys(DEVICES, False)
        self.raised_count = dict.fromkeys(DEVICES, 0)
        self.stood = dict.fromkeys(DEVICES, False)
        self.shelved = dict.fromkeys(DEVICES, False)

    def move(self, device: str, event: AlarmEvent) -> None:
        state = target(self.states[device], event)
        if state is not None:
            self.states[device] = state


@settings(max_examples=examples(100), deadline=None)
@given(STEPS)
def test_each_transition_is_applied_once(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock(NOW_MS)
        catalog = Catalog.open(Path(folder) / "catalog.db", clock=clock, node_id=b"n" * 16)
        try:
            _check(catalog, clock, steps)
        finally:
            catalog.close()


def _check(catalog: Catalog, clock: ManualClock, steps: list[Step]) -> None:
    with catalog.transaction():
        put_rule(catalog)
    # Raised again a millisecond after it was seen and over: what is known of it is all that tells the two apart.
    book, model = AlarmBook(clock=clock, flap_ms=0, wait_ms=0), Model()
    rows: list[tuple[int, Transition]] = []
    store, at_ms = "s1", NOW_MS
    for what, number in steps:
        device = DEVICES[number % 2]
        clock.advance(1)
        with catalog.transaction():
            if what == "find":
                at_ms += 1
                is_raised = not model.is_raised[device]
                model.is_raised[device] = is_raised
                rows.append((len(rows) + 1, found(device, is_raised=is_raised, at_ms=at_ms, seq=len(rows))))
                book.take_over(catalog, store, rows[-1:])
                model.move(device, AlarmEvent.RAISE if is_raised else AlarmEvent.CLEAR)
                model.raised_count[device] += is_raised
            elif what == "acknowledge":
                book.acknowledge(catalog, [id_of(device)], actor="anna")
                model.move(device, AlarmEvent.ACKNOWLEDGE)
            elif what == "replay":
                book.take_over(catalog, store, rows[max(0, len(rows) - number) :])
            elif what == "anew":
                # Another store, whose numbers begin again: it has found all of it once more.
                store = f"s{clock.now_ms()}"
                book.take_over(catalog, store, rows)
            elif model.raised_count[device]:
                # Raised while it is shelved nobody is told, which is the subject of other tests: here only of what is active.
                if what == "shelve" and model.is_raised[device]:
                    book.shelve(
                        catalog, [id_of(device)], until_ms=clock.now_ms() + 9, reason="x", actor="anna"
                    )
                book.unshelve(catalog, [id_of(device)], actor="anna")
        known = catalog.alarms_of_ids([id_of(each) for each in DEVICES])
        for each in DEVICES:
            alarm = known.get(id_of(each))
            assert (alarm.state if alarm else AlarmState.NORMAL) is model.states[each]
            assert (alarm.raised_total if alarm else 0) == model.raised_count[each]
            events = [row.event for row in catalog.alarm_events(id_of(each), limit=1_000)]
            assert events.count("raise") == model.raised_count[each]
